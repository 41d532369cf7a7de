"""The sweep behind the tables of norms, with every device computing the rows t of its own step Jacobians."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float

from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._error import log_error, log_rounding, over_table
from jaxrnn.jacobians._products import View, multiply, seen_of, start_slots
from jaxrnn.jacobians._scaled import Chain

__all__ = ["sweep_over_steps"]

_BLOCK = 16


def sweep_over_steps(
    factors: Chain, axes: str | tuple[str, ...], views: tuple[View, ...], top: int
) -> tuple[Float[Array, "V T T top"], Float[Array, "V T T top"]]:
    """(ln σ_i, its error) at [view, t - 1, lag - 1, i] for all pairs, sharded over t along Auto axes.

    Where ``P_{t,k} = P_{t,k+1} J_{k+1}`` goes from one lag to the next, every row t needs the factor that row
    t - 1 has just used: the factors pass from device to device, one matrix a lag. That is T n² in all, as
    much as it takes to hand all of them to every device, but none ever holds more than two shares. Beside
    them go T scalars, and the T² logarithms of the norms for the error bound.
    """
    run = partial(_of_device, axes=axes, views=views, top=top)
    rows = Spec(None, axes)
    return jax.shard_map(run, in_specs=Spec(axes), out_specs=(rows, rows), check_vma=False)(factors)


def _of_device(factors, *, axes, views, top):
    S, n = factors.mantissas.shape[:2]
    T, first = S * lax.axis_size(axes), (S * lax.axis_index(axes)).astype(int)
    lags = np.arange(1, T + 1)
    seen, log_frobenius = _sweep(factors, axes, first, lags, views, top)
    *log_sigma, residual, log_abs = jnp.transpose(seen, (2, 3, 1, 0))
    log_sigma = jnp.stack(log_sigma, axis=-1)

    own_norms = _scaled.log_scaled(jnp.linalg.norm(factors.mantissas, axis=(1, 2)), factors.exponents)
    log_J = lax.all_gather(own_norms, axes, tiled=True)
    log_norm = lax.all_gather(log_sigma[0, ..., 0], axes, tiled=True)
    at = first + 1 + jnp.arange(S)
    moved = over_table(log_rounding(n, log_J, log_frobenius, at), log_norm, at)
    error = jax.vmap(lambda *of_view: log_error(moved, *of_view, jnp.asarray(lags), n))
    return log_sigma, error(log_sigma, log_abs, residual)


def _sweep(factors, axes, first, lags, views, top):
    """([L, S, top + 2, V], [S, L]): what is seen of the rows ``first + 1, ..., first + S``, and ln ‖P‖_F."""
    S, n = factors.mantissas.shape[:2]
    size = next(size for size in range(min(_BLOCK, S), 0, -1) if S % size == 0)
    devices = lax.axis_size(axes)
    to_next = [(i, (i + 1) % devices) for i in range(devices)]

    def one_lag(carry, lag):
        slots, factors = carry

        def advance(b, slots):
            some, own = jax.tree.map(
                lambda leaf: lax.dynamic_slice_in_dim(leaf, b * size, size), (slots, factors)
            )
            some = multiply(some, *own)
            some = some._replace(seen=seen_of(some, views, top))
            return jax.tree.map(
                lambda leaf, new: lax.dynamic_update_slice_in_dim(leaf, new, b * size, 0), slots, some
            )

        # Rows t < lag are done.
        slots = lax.fori_loop(jnp.clip((lag - first - 1) // size, 0, S // size), S // size, advance, slots)
        last = lax.ppermute(jax.tree.map(lambda leaf: leaf[-1:], factors), axes, to_next)
        factors = jax.tree.map(lambda new, leaf: jnp.concatenate([new, leaf[:-1]]), last, factors)
        return (slots, factors), (slots.seen, slots.log_frobenius)

    start = start_slots(S, n, factors.mantissas.dtype, views, top), factors[:3]
    _, (seen, log_frobenius) = lax.scan(one_lag, start, jnp.asarray(lags))
    return seen, log_frobenius.T
