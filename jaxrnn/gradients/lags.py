"""The adjoints of E10 by lag, which the sliding window cuts and the decomposition lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn._sharding import constrained
from jaxrnn.gradients.loss import Segment, batch_step, weighted_sum
from jaxrnn.recurrence import unroll
from jaxrnn.types import Params, State, StepFn, StepLoss

__all__ = ["Adjoints", "adjoints_by_lag", "sum_of_lags"]


class Adjoints(NamedTuple):
    """What every term ``∂ℓ_t/∂h_t · ∂h_t/∂h_k · ∂⁺h_k/∂w`` of E10 is made of.

    An adjoint of lag s is a state tree [T, B, ...] whose row i holds ``∂ℓ_{i+s}/∂h_i``.
    """

    loss: Float[Array, ""]
    h_T: State
    reach: Float[Array, " T"]
    """The share of the losses' weights at steps t > s, for s = 0..T-1: those that have terms of lag s."""
    lag_0: Params
    """``Σ_t ∂⁺ℓ_t/∂w``, with h_{t-1} held fixed: the terms t = k, and all of a readout's gradient."""
    lag_1: State
    """The adjoint of lag 1, ``∂ℓ_{i+1}/∂h_i``."""
    every_lag: Callable[[], State]
    """The sum of the adjoints of all lags s >= 1: row i is ``∂L/∂h_i``, what full BPTT computes."""
    earlier: Callable[[State], State]
    """From the adjoint of lag s to that of lag s + 1: one product with every J_tᵀ."""
    pull: Callable[[State], Params]
    """From an adjoint of lag s >= 1 to the sum of its terms, ``Σ_k ∂ℓ_{k+s}/∂h_k · ∂⁺h_k/∂w``."""
    terms_of_lag_0: Callable[[], Params]
    """The terms of `lag_0`, leaves [T, ...], row k - 1."""
    terms: Callable[[State], Params]
    """The terms of `pull`, leaves [T, ...], row k - 1; zero for k > T - s."""


def adjoints_by_lag(
    step: StepFn,
    step_loss: StepLoss,
    params: Params,
    h_0: State,
    segment: Segment,
    over: str | tuple[str, ...] | None = None,
) -> Adjoints:
    """Unroll a segment once and prepare the recursion ``∂ℓ_t/∂h_{k-1} = ∂ℓ_t/∂h_k · J_k``.

    All t of one lag are done at once, so that a lag costs one batched step however long the sequence. With
    `over`, Auto axes of a mesh, the steps lie along them, and the compiler decides what the devices exchange.
    """
    batched = batch_step(step)
    trajectory = unroll(batched, params, h_0, segment.xs)
    h_tm1s = trajectory.h_tm1s
    if over:
        h_tm1s, segment = constrained((h_tm1s, segment), over)

    every_step = jax.vmap(batched, in_axes=(None, 0, 0))

    def losses(params, h_tm1s, segment):
        return weighted_sum(step_loss, params, every_step(params, h_tm1s, segment.xs)[1], segment)

    def from_next(adjoint):
        """Row i becomes ∂/∂h_{i+1}, where step i + 1 can be pulled back; h_T gets no more loss."""
        return jax.tree.map(lambda leaf: jnp.concatenate([leaf[1:], jnp.zeros_like(leaf[:1])]), adjoint)

    def every_lag():
        def back(of_next, row):
            h, x, own = row
            _, pull = jax.vjp(lambda h: batched(params, h, x)[0], h)
            total = jax.tree.map(jnp.add, own, pull(of_next)[0])
            return total, total

        nothing = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), lag_1)
        return lax.scan(back, nothing, (h_tm1s, segment.xs, lag_1), reverse=True)[1]

    def one_step(leaf_or_tree):
        return jax.tree.map(lambda leaf: leaf[None], leaf_or_tree)

    def terms_of_lag_0():
        grad = jax.grad(losses)
        return jax.vmap(lambda h, row: grad(params, one_step(h), one_step(row)))(h_tm1s, segment)

    def terms(adjoint):
        def pull_one(h, x, cotangent):
            _, pull = jax.vjp(lambda params: batched(params, h, x)[0], params)
            return pull(cotangent)[0]

        return jax.vmap(pull_one)(h_tm1s, segment.xs, from_next(adjoint))

    mass = jnp.sum(jnp.abs(segment.weights), axis=1)
    all_mass = jnp.where(jnp.any(mass > 0), jnp.sum(mass), 1)
    loss, (lag_0, lag_1) = jax.value_and_grad(losses, argnums=(0, 1))(params, h_tm1s, segment)
    _, pull_state = jax.vjp(lambda h_tm1s: every_step(params, h_tm1s, segment.xs)[0], h_tm1s)
    _, pull_params = jax.vjp(lambda params: every_step(params, h_tm1s, segment.xs)[0], params)
    return Adjoints(
        loss=loss,
        h_T=jax.tree.map(lambda leaf: leaf[-1], trajectory.hs),
        reach=(lax.cumsum(mass, reverse=True) / all_mass).astype(loss.dtype),
        lag_0=lag_0,
        lag_1=lag_1,
        every_lag=every_lag,
        earlier=lambda adjoint: pull_state(from_next(adjoint))[0],
        pull=lambda adjoint: pull_params(from_next(adjoint))[0],
        terms_of_lag_0=terms_of_lag_0,
        terms=terms,
    )


def sum_of_lags(adjoints: Adjoints, window) -> State:
    """The sum of the adjoints of the lags 1..window - 1; `window` may be traced."""

    def add_lag(_, carry):
        adjoint, total = carry
        return adjoints.earlier(adjoint), jax.tree.map(jnp.add, total, adjoint)

    nothing = jax.tree.map(jnp.zeros_like, adjoints.lag_1)
    return lax.fori_loop(1, window, add_lag, (adjoints.lag_1, nothing))[1]
