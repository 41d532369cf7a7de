"""The few types that every floor of the library shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxrnn._checks.values import at_least
from jaxrnn._result_type import result_type

__all__ = [
    "BATCH_AXIS",
    "Batch",
    "Carry",
    "Cell",
    "Estimator",
    "GradientEstimate",
    "Key",
    "Params",
    "State",
    "StepFn",
    "StepLoss",
    "Trajectory",
]

BATCH_AXIS = "batch"
"""The name under which the estimators vmap a step over the sequences of a batch."""

Key: TypeAlias = PRNGKeyArray
Params: TypeAlias = PyTree
"""A pytree of floating arrays."""
State: TypeAlias = PyTree
"""A pytree of floating arrays; ``()`` for a layer without memory."""
Carry: TypeAlias = PyTree
"""What a gradient estimator keeps from one chunk of a stream to the next."""
StepFn: TypeAlias = Callable[..., tuple[State, Any]]
"""``step(params, h_tm1, x_t) -> (h_t, y_t)`` for ONE sequence."""
StepLoss: TypeAlias = Callable[..., Float[Array, ""]]
"""``step_loss(params, y_t, target_t) -> scalar`` for ONE step of one sequence."""


class Cell(NamedTuple):
    """A recurrent layer or network: three pure functions.

    ``h_t, y_t = step(params, h_{t-1}, x_t)`` (E1, general form). ``y_t`` is what the layer
    above reads, so cells compose without knowing each other's state.
    """

    init: Callable[[Key], Params]
    init_state: Callable[[Params], State]
    step: StepFn

    def initial_states(self, params: Params, batch_size: int) -> State:
        """h_0 of `batch_size` sequences: `init_state(params)` with a leading axis [B]."""
        batch_size = at_least("Cell.initial_states", "batch_size", batch_size, 1)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (batch_size, *leaf.shape)), self.init_state(params)
        )


@result_type
class Trajectory(NamedTuple):
    """One unrolled sequence: row i of ``hs``, ``ys`` and ``xs`` belongs to t = i + 1."""

    h_0: State
    hs: State
    ys: PyTree
    xs: PyTree

    @property
    def h_tm1s(self) -> State:
        """The states that the steps start from, h_0 ... h_{T-1}: row i is h_i."""
        return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest])[:-1], self.h_0, self.hs)


class Batch(NamedTuple):
    """B sequences of T steps.

    ``xs`` and ``targets`` have leaves [B, T, ...]; ``weights`` is [B, T], used as given in
    L = Σ_t weights[t]·ℓ_t, or None for 1/T each (the mean form of E2). A step of weight 0
    contributes exactly 0, whatever its target holds.
    """

    xs: PyTree
    targets: PyTree
    weights: Float[Array, "B T"] | None = None


class GradientEstimate(NamedTuple):
    """The batch's loss and an estimate of its gradient, shaped as the parameters."""

    loss: Float[Array, ""]
    grads: Params


class Estimator(NamedTuple):
    """A way to compute or approximate ∂L/∂params, as a pair of pure functions.

    ``init(params, h_0) -> carry`` takes the states [B, ...] that the batch's sequences start from (an
    estimator with a start of its own needs none);
    ``estimate(params, carry, batch, key) -> (GradientEstimate, carry)`` returns the carry that
    continues the same sequences in the next batch.
    """

    init: Callable[..., Carry]
    estimate: Callable[[Params, Carry, Batch, Key], tuple[GradientEstimate, Carry]]
