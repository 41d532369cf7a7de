"""How fast a set of directions grows under a chain of linear maps, by repeated QR."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn._pytree import after

__all__ = ["growth_of_directions", "random_directions", "running_mean"]

_INTERVAL = 10
# Steps between two QRs where that is safe: they then cost little against the products.
_NATS = 8.0
# How far noise may outgrow a direction between two QRs: about 3 of the dtype's digits.
_LONG = 100
# Shorter chains get a QR every step: nothing is gained, and the error estimate needs the blocks.

Advance = Callable[[Float[Array, "n k"], Any], Float[Array, "n k"]]
"""(directions, step's input) -> J_t directions."""


def random_directions(n: int, k: int, dtype) -> Float[Array, "n k"]:
    """k orthonormal directions, the same in every call; none is orthogonal to what grows but by accident."""
    return jnp.linalg.qr(jax.random.normal(jax.random.key(0), (n, k), dtype))[0]


def growth_of_directions(
    advance: Advance, Q: Float[Array, "n k"], inputs: PyTree, warm_up: int
) -> tuple[Float[Array, " k"], Float[Array, " k"], Float[Array, "M k"], Int[Array, " M"]]:
    """(rates, standard errors, running rates, after how many steps) of ``ln |R_t[i, i]|`` per step."""
    total = len(jax.tree.leaves(inputs)[0])
    T = total - warm_up
    interval = 1 if T < _LONG else _INTERVAL
    n_blocks = T // interval

    # Steps are looked up by number: blocks of inputs would be copied.
    def step(Q, t):
        return advance(
            Q, jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, t, keepdims=False), inputs)
        )

    Q, _ = _every_step(step, Q, jnp.arange(warm_up))
    starts = warm_up + interval * jnp.arange(n_blocks)
    if interval == 1:
        Q, logs = lax.scan(lambda Q, t: _every_step(step, Q, t[None]), Q, starts)
    else:
        (Q, _), logs = lax.scan(
            lambda carry, start: _adaptive(step, *carry, start + jnp.arange(interval)),
            (Q, jnp.zeros((), bool)),
            starts,
        )
    sizes = [interval] * n_blocks
    if T % interval:
        _, rest = _every_step(step, Q, jnp.arange(total - T % interval, total))
        logs, sizes = jnp.concatenate([logs, rest[None]]), [*sizes, T % interval]
    trace = running_mean(logs, jnp.asarray(sizes))
    return trace[-1], _standard_error(logs[:n_blocks], interval, T), trace, jnp.cumsum(jnp.asarray(sizes))


def _every_step(step, Q, times):
    """(Q, Σ ln |R_ii|) after one QR a step."""

    def orthonormalise(carry, t):
        Q, total = carry
        Q, R = jnp.linalg.qr(step(Q, t))
        return (Q, total + jnp.log(jnp.abs(jnp.diagonal(R)))), None

    return lax.scan(orthonormalise, (Q, jnp.zeros(Q.shape[1], Q.dtype)), times)[0]


def _adaptive(step, Q, at_once, times):
    """One block with one QR at its end if the block before was fit for that and this one is too."""

    def try_once(_):
        new_Q, logs, noise = _at_once(step, Q, times)
        return new_Q, logs, noise - jnp.min(logs) < _NATS

    def give_up(_):
        return Q, jnp.zeros(Q.shape[1], Q.dtype), jnp.zeros((), bool)

    once_Q, once_logs, fit = lax.cond(at_once, try_once, give_up, None)
    Q, logs = lax.cond(
        fit, lambda _: (once_Q, once_logs), lambda _: _every_step(step, after(Q, once_logs), times), None
    )
    # Half of what is allowed: it leaves room for what these logarithms cannot show.
    return (Q, fit | (jnp.max(logs) - jnp.min(logs) < _NATS / 2)), logs


def _at_once(step, Q, times):
    """(Q, Σ ln |R_ii|, ln of what noise of the directions' size has come to) with a QR at the end only.

    What is lost in between is the rounding of every product, carried on by the steps that follow. One more
    column carries noise along that is 1/eps times as large.
    """
    n, k = Q.shape
    direction = jnp.pad(random_directions(n, 1, Q.dtype), ((0, 0), (k, 0)))

    def disturb(V, pair):
        # Every other step, and by the norm of two columns, not always the same: more would cost a fifth.
        some = jnp.stack([V[:, 0], lax.dynamic_index_in_dim(V, pair[1] % k, axis=1, keepdims=False)])
        V = V + jnp.linalg.norm(some) * direction
        return step(step(V, pair[0]), pair[1]), None

    V, _ = lax.scan(disturb, jnp.pad(Q, ((0, 0), (0, 1))), times.reshape(-1, 2))
    Q, R = jnp.linalg.qr(V[:, :-1])
    return Q, jnp.log(jnp.abs(jnp.diagonal(R))), jnp.log(jnp.linalg.norm(V[:, -1]))


def running_mean(sums: Float[Array, "M k"], counts: Int[Array, " M"]) -> Float[Array, "M k"]:
    """Σ sums / Σ counts up to each row, with Kahan summation; -inf from a row on that holds -inf."""

    def add(carry, inputs):
        total, lost, count, zero = carry
        new, more = inputs
        zero = zero | (new == -jnp.inf)
        term = jnp.where(zero, 0, new) - lost
        new_total = total + term
        lost, count = (new_total - total) - term, count + more
        mean = new_total / count.astype(sums.dtype)
        return (new_total, lost, count, zero), jnp.where(zero, -jnp.inf, mean)

    nothing = jnp.zeros(sums.shape[1], sums.dtype)
    start = (nothing, nothing, jnp.zeros((), counts.dtype), nothing > 0)
    return lax.scan(add, start, (sums, counts))[1]


def _standard_error(logs, interval, T):
    """Of the mean over about √T groups of consecutive blocks; inf for fewer than two groups."""
    n_blocks, k = logs.shape
    groups = min(isqrt(T), n_blocks)
    if groups < 2:
        return jnp.full(k, jnp.inf, logs.dtype)
    size = n_blocks // groups
    means = jnp.mean(logs[: groups * size].reshape(groups, size, k), axis=1) / interval
    spread = jnp.std(jnp.where(jnp.isfinite(means), means, 0), axis=0, ddof=1)
    error = spread / jnp.sqrt(jnp.asarray(groups, logs.dtype))
    return jnp.where(jnp.all(jnp.isfinite(means), axis=0), error, jnp.inf)
