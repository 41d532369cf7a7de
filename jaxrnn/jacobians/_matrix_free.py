"""J_t and J_tᵀ applied to a block of directions, without forming J_t."""

from __future__ import annotations

from collections.abc import Callable

import jax
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
        return jax.vmap(tangent, in_axes=1, out_axes=1)(V)

    return push


def pull_back(
    step: StepFn, params: Params, state: State
) -> Callable[[tuple[PyTree, PyTree], Directions], Directions]:
    """``((h_{t-1}, x_t), U) -> J_tᵀ U`` by k cotangents of the step."""
    flat_step = state_step(step, params, state)

    def pull(at, U):
        h_tm1, x_t = at
        _, cotangent = jax.vjp(lambda h: flat_step(h, x_t), ravel(h_tm1))
        return jax.vmap(lambda u: cotangent(u)[0], in_axes=1, out_axes=1)(U)

    return pull
