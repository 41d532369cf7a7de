"""Where the sequences of a batch start: at the end of the previous batch, or afresh at h_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn import _checks
from jaxrnn.types import Batch, Carry, Params, State

__all__ = ["InitState", "Start", "start"]

InitState: TypeAlias = Callable[[Params], State]


class Start(NamedTuple):
    """How an estimator that carries nothing but the states [B, ...] begins and ends a batch."""

    init: Callable[..., Carry]
    """``init(params, h_0) -> carry``, the estimator's own."""
    begin: Callable[[Params, Carry, Batch], tuple[State, Callable[[Params, State], Params]]]
    """``(h_0, add)``, where ``add(grads, ∂L/∂h_0)`` adds h_0's share of the gradient."""
    end: Callable[[State], Carry]
    """From h_T to the carry."""


def start(function: str, init_state: InitState | None) -> Start:
    """A stream, whose states are the carry, or a fresh start at `init_state(params)`, without a carry."""
    return _stream(function) if init_state is None else _fresh(function, init_state)


def _stream(function):
    def init(params, h_0=None):
        del params
        if h_0 is None:
            raise ValueError(
                f"{function}: init got no h_0; give the states [B, ...] that the stream starts from, or "
                "build the estimator with init_state=cell.init_state to start every batch afresh."
            )
        return jax.tree.map(jnp.asarray, h_0)

    def begin(params, carry, batch):
        del params, batch
        return lax.stop_gradient(carry), lambda grads, _: grads

    return Start(init, begin, lambda h_T: h_T)


def _fresh(function, init_state):
    def init(params, h_0=None):
        del params, h_0
        return ()

    def begin(params, carry, batch):
        del carry
        size, _ = _checks.batch_shape(function, batch)

        def initial_states(params):
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), init_state(params))

        h_0, pull = jax.vjp(initial_states, params)
        return h_0, lambda grads, h_0_cotangent: jax.tree.map(jnp.add, grads, pull(h_0_cotangent)[0])

    return Start(init, begin, lambda _: ())
