"""Products ∂h_t/∂h_{t-lag} of many pairs, streamed by lag: the sweep behind every table of norms."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxrnn._pytree import after
from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._precise import precise_matmul
from jaxrnn.jacobians._scaled import Chain
from jaxrnn.jacobians._top import top_singular_values

__all__ = ["Sweep", "View", "multiply", "seen_of", "start_slots", "sweep"]

_BLOCK = 16
# Times t that advance together: large enough for a batched product, small enough that little is computed
# for lags beyond t.


class View(NamedTuple):
    """A block of the product: ∂(these entries of h_t)/∂(those entries of h_k)."""

    rows: slice
    cols: slice


class Sweep(NamedTuple):
    """What was seen of P_{t,t-lag}, t in `at` and 1 <= lag <= max(lags); entries lag > t are leftovers."""

    log_sigma: Float[Array, "V A L top"]
    """ln σ₁ and what else was wanted of every view's singular values, at the lags that were asked for."""
    residual: Float[Array, "V A L"]
    """How far the iteration for σ₁ was from its end, relative to σ₁."""
    log_abs: Float[Array, "V A L"]
    """ln of a bound on the norm of that view of |J_t|...|J_{k+1}|."""
    log_frobenius: Float[Array, "A maxlag"]
    """ln ‖P‖_F at every lag: an upper bound of ln σ₁ that costs next to nothing."""
    mantissas: Float[Array, "A n n"]
    """The products at the last lag."""
    exponents: Int[Array, " A"]


class _Slots(NamedTuple):
    """One slot a time t: the running product, the sums that bound it, and the latest logarithms."""

    P: Float[Array, "S n n"]
    P_exponent: Int[Array, " S"]
    a: Float[Array, "S R n"]
    a_exponent: Int[Array, "S R"]
    log_frobenius: Float[Array, " S"]
    seen: Float[Array, "S top2 V"]


def sweep(chain: Chain, at: np.ndarray, lags: np.ndarray, views: tuple[View, ...], top: int = 1) -> Sweep:
    """Advance ``P_{t,k} = P_{t,k+1} J_{k+1}`` for all t in `at` at once, lag by lag.

    `at` and `lags` are ascending NumPy integers, lags >= 1. Time: one product for every pair with
    lag <= min(t, max(lags)), and the `top` singular values of every view for those that were asked for.
    Without views, only the Frobenius norms are wanted, and plain products do.
    """
    n, dtype = chain.mantissas.shape[-1], chain.mantissas.dtype
    block = min(_BLOCK, len(at))
    # Slots that fill the first block up are never active: t = 0 is below every lag.
    times = np.concatenate([np.zeros(-len(at) % block, int), at])
    all_lags = np.arange(1, lags[-1] + 1)

    def one_lag(slots, inputs):
        lag, first, wanted = inputs

        def advance(b, slots):
            t = lax.dynamic_slice_in_dim(jnp.asarray(times), b * block, block)
            some = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, b * block, block), slots)
            factor = jnp.maximum(t - lag, 0)
            some = multiply(some, *(leaf[factor] for leaf in chain[:3]))
            seen = lax.cond(wanted, lambda some: seen_of(some, views, top), lambda some: some.seen, some)
            return jax.tree.map(
                lambda leaf, new: lax.dynamic_update_slice_in_dim(leaf, new, b * block, 0),
                slots,
                some._replace(seen=seen),
            )

        slots = lax.fori_loop(first, len(times) // block, advance, slots)
        return slots, (slots.seen, slots.log_frobenius)

    start = start_slots(len(times), n, dtype, views, top)
    first_blocks = np.searchsorted(times, all_lags) // block
    inputs = (jnp.asarray(all_lags), jnp.asarray(first_blocks), jnp.asarray(np.isin(all_lags, lags)))
    end, (seen, log_frobenius) = lax.scan(one_lag, start, inputs)
    here = slice(len(times) - len(at), None)
    *log_sigma, residual, log_abs = jnp.transpose(seen[lags - 1][:, here], (2, 3, 1, 0))
    log_sigma = jnp.stack(log_sigma, axis=-1)
    return Sweep(log_sigma, residual, log_abs, log_frobenius[:, here].T, end.P[here], end.P_exponent[here])


def start_slots(S: int, n: int, dtype, views: tuple[View, ...], top: int) -> _Slots:
    """S products of no factors."""
    groups = _groups(views)
    a = np.zeros((S, len(groups), n))
    for row, (start, stop) in enumerate(groups):
        a[:, row, start:stop] = 1
    return _Slots(
        jnp.broadcast_to(jnp.eye(n, dtype=dtype), (S, n, n)),
        jnp.zeros(S, jnp.int32),
        jnp.asarray(a, dtype),
        jnp.zeros((S, len(groups)), jnp.int32),
        jnp.zeros(S, dtype),
        jnp.zeros((S, top + 2, len(views)), dtype),
    )


def _groups(views):
    return sorted({(view.rows.start, view.rows.stop) for view in views})


def multiply(slots: _Slots, J, exponent, support) -> _Slots:
    """Every slot after one more factor on its right, ``J · 2^exponent`` with its support."""
    tracked = slots.a.shape[1] > 0
    P = precise_matmul(slots.P, J, slices=1) if tracked else _scaled.matmul(slots.P, J)
    P, grown = _scaled.normalise(P)
    P_exponent = slots.P_exponent + grown + exponent
    size = jnp.sqrt(jnp.sum(P * P, axis=(1, 2)))
    slots = slots._replace(P=P, P_exponent=P_exponent, log_frobenius=_scaled.log_scaled(size, P_exponent))
    if not tracked:
        return slots
    a, grown_a = _scaled.advance_column_sums(slots.a, J, support)
    return slots._replace(a=a, a_exponent=slots.a_exponent + grown_a + exponent[:, None])


def seen_of(slots: _Slots, views: tuple[View, ...], top: int) -> Float[Array, "S top2 V"]:
    """[S, top + 2, V]: ln σ_i, the residual of σ₁ and the bound by absolute values, for every view."""
    if not views:
        return slots.seen
    groups = _groups(views)
    # Blocks of one shape go through one batched call: one each takes long to compile with many layers.
    shapes = {}
    for place, view in enumerate(views):
        shapes.setdefault((view.rows.stop - view.rows.start, view.cols.stop - view.cols.start), []).append(
            place
        )
    looks = []
    for places in shapes.values():
        some = [views[place] for place in places]
        blocks = jnp.stack([slots.P[:, view.rows, view.cols] for view in some], axis=1)
        in_group = np.array([groups.index((view.rows.start, view.rows.stop)) for view in some])
        sums = jnp.stack([slots.a[:, g, view.cols] for g, view in zip(in_group, some, strict=True)], axis=1)
        exponents = slots.P_exponent[:, None], slots.a_exponent[:, in_group]
        looks.append(_look_at_blocks(after(blocks, looks[-1:]), sums, *exponents, top))
    order = np.argsort(np.concatenate(list(shapes.values())))
    return jnp.concatenate(looks, axis=2)[:, :, order]


def _look_at_blocks(blocks, sums, exponents, sum_exponents, top):
    """[S, top + 2, V] of blocks [S, V, rows, cols] and the sums of absolute values in their columns."""
    S, V = blocks.shape[:2]
    # A block may be so small beside the others that its squares underflow.
    blocks, smaller = _scaled.normalise(blocks.reshape(S * V, *blocks.shape[2:]))
    sigma, residual = top_singular_values(blocks, top)
    sigma, residual, smaller = sigma.reshape(S, V, top), residual.reshape(S, V), smaller.reshape(S, V)
    # ‖A‖₂ <= sqrt(columns)·‖A‖₁.
    bound = jnp.sqrt(jnp.asarray(sums.shape[-1], sums.dtype)) * jnp.max(sums, axis=-1)
    log_sigma = _scaled.log_scaled(sigma, (exponents + smaller)[..., None])
    rest = jnp.stack([residual, _scaled.log_scaled(bound, sum_exponents)], axis=1)
    return jnp.concatenate([jnp.moveaxis(log_sigma, -1, 1), rest], axis=1)
