"""J_t and J_tᵀ applied to a block of directions, without forming J_t."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn._pytree import ravel, state_step
from jaxrnn.types import Params, State, StepFn

__all__ = ["pull_back", "push_forward"]

Directions = Float[Array, "n k"]


def push_forward(
    step: StepFn, params: Params, state: State
) -> Callable[[tuple[PyTree, PyTree], Directions], Directions]:
    """``((h_{t-1}, x_t), V) -> J_t V`` by k tangents of the step."""
    flat_step = state_step(step, params, state)

    def push(at, V):
        h_tm1, x_t = at
        _, tangent = jax.linearize(lambda h: flat_step(h, x_t), ravel(h_tm1))
        return _as_rows(tangent, V)

    return push


def pull_back(
    step: StepFn, params: Params, state: State
) -> Callable[[tuple[PyTree, PyTree], Directions], Directions]:
    """``((h_{t-1}, x_t), U) -> J_tᵀ U`` by k cotangents of the step."""
    flat_step = state_step(step, params, state)

    def pull(at, U):
        h_tm1, x_t = at
        _, cotangent = jax.vjp(lambda h: flat_step(h, x_t), ravel(h_tm1))
        return _as_rows(lambda u: cotangent(u)[0], U)

    return pull


def _as_rows(apply, V):
    """The map applied to every column of V.

    Left to itself, XLA's CPU backend folds transposes into the products so that the weights are transposed
    anew at every step, which takes five to ten times as long at n in the thousands.
    """
    return lax.optimization_barrier(jax.vmap(apply)(lax.optimization_barrier(V.T))).T
