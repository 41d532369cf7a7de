"""Where the sequences of a batch start: at the end of the previous batch, or afresh at h_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from jaxrnn import _checks
from jaxrnn.types import Batch, Carry, Estimator, Params, State

__all__ = ["InitState", "Start", "restart", "start"]

InitState: TypeAlias = Callable[[Params], State]


class Start(NamedTuple):
    """How an estimator that carries nothing but the states [B, ...] begins and ends a batch."""

    init: Callable[..., Carry]
    """``init(params, h_0) -> carry``, the estimator's own."""
    begin: Callable[[Params, Carry, Batch], tuple[State, Callable[[Params, State], Params]]]
    """``(h_0, add)``, where ``add(grads, ∂L/∂h_0)`` adds h_0's share of the gradient."""
    end: Callable[[State], Carry]
    """From h_T to the carry."""

    def states(self, params: Params, carry: Carry, batch: Batch) -> State:
        """h_0 [B, ...]."""
        return self.begin(params, carry, batch)[0]


def start(function: str, init_state: InitState | None) -> Start:
    """A stream, whose states are the carry, or a fresh start at `init_state(params)`, without a carry."""
    return _stream(function) if init_state is None else _fresh(function, init_state)


@_checks.signature("gradients.restart")
def restart(
    estimator: Estimator, params: Params, carry: Carry, h_0: State, ended: Bool[Array, " B"]
) -> Carry:
    """The carry of a stream in which some sequences begin anew, between two batches.

    Parameters
    ----------
    estimator : of a stream, built without init_state.
    params, carry : as for its ``estimate``.
    h_0 : states [B, ...] to begin at; those of the sequences that go on are not read.
    ended : [B], True for the sequences that begin anew: their states, and what is known of dh/dw.

    Returns
    -------
    Carry
        What does not belong to single sequences, such as the window of `adaptive`, stays.

    Raises
    ------
    ValueError
        If ended is not [B] of bool, with the B of h_0.

    Notes
    -----
    For a sequence that ends within a batch let the step do it, which every estimator respects: hand it
    ``(x_t, new)`` and start from ``jnp.where(new, h_0, h_tm1)``.

    Example
    -------
    >>> from jaxrnn.gradients import full
    >>> from jaxrnn.losses import squared_error
    >>> estimator = full(lambda w, h, x: (h + w * x, h), squared_error)
    >>> restart(estimator, 1.0, jnp.array([3.0, 4.0]), jnp.zeros(2), jnp.array([True, False]))
    Array([0., 4.], dtype=float32)
    """
    size = _checks.leading_axis("gradients.restart", "h_0", h_0)
    _checks.array_leaves("gradients.restart", "carry", carry)
    if ended.dtype != bool or ended.shape != (size,):
        raise ValueError(
            f"gradients.restart: ended is {ended.dtype}{list(ended.shape)}; expected one bool a sequence, "
            f"[B] = [{size}]."
        )

    begun = estimator.init(params, h_0)
    found, expected = (
        jax.tree.map(lambda leaf: (jnp.shape(leaf), leaf.dtype), tree) for tree in (carry, begun)
    )
    if found != expected:
        raise ValueError(
            f"gradients.restart: carry holds {found}; expected {expected}, as init gives for h_0."
        )

    def choose(new, old):
        if not jnp.ndim(old):
            return old
        return jnp.where(ended.reshape(-1, *[1] * (jnp.ndim(old) - 1)), new, old)

    return jax.tree.map(choose, begun, carry)


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
        _checks.floating_leaves(function, "carry", carry, "It is what init or the last estimate returned.")
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
