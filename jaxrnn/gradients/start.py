"""Where the sequences of a batch start: at the end of the previous batch, or afresh at h_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.types import Params, State

__all__ = ["InitState", "add_start", "keep_states"]

InitState: TypeAlias = Callable[[Params], State]


def keep_states(params: Params, h_0: State) -> State:
    """The `init` of an estimator that carries nothing but the states [B, ...]."""
    del params
    return jax.tree.map(jnp.asarray, h_0)


def add_start(init_state: InitState | None, params: Params, carry: State):
    """(h_0, add): the states [B, ...] to start from, and how to add h_0's share of a gradient.

    ``add(grads, ∂L/∂h_0)`` is `grads` itself where the carry is the start, since no gradient flows
    into the previous batch.
    """
    if init_state is None:
        return lax.stop_gradient(carry), lambda grads, _: grads

    def initial_states(params):
        return jax.tree.map(lambda leaf, like: jnp.broadcast_to(leaf, like.shape), init_state(params), carry)

    h_0, pull = jax.vjp(initial_states, params)
    return h_0, lambda grads, h_0_cotangent: jax.tree.map(jnp.add, grads, pull(h_0_cotangent)[0])
