"""Full backpropagation through time: the exact gradient, E17."""

from __future__ import annotations

import jax

from jaxrnn import _checks
from jaxrnn.gradients.loss import segment_loss, time_major
from jaxrnn.gradients.sharded import by_sequence
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, StepFn, StepLoss

__all__ = ["full", "segment_gradients"]


@_checks.signature("gradients.full")
def full(
    step: StepFn,
    step_loss: StepLoss,
    *,
    init_state: InitState | None = None,
    segment: int | None = None,
) -> Estimator:
    """Full BPTT: the exact gradient of the batch's loss by `jax.grad` (E17).

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    init_state : where sequences start. By default at the states in the carry, which continue the
        previous batch (a stream; no gradient flows into it). With a cell's ``init_state`` every batch
        starts afresh there, the gradient reaches a learned h_0, and the carry is empty.
    segment : steps that are computed again at a time, as for `unroll`: less memory for a second forward pass.

    Returns
    -------
    Estimator
        ``init(params, h_0 [B, ...]) -> carry`` and ``estimate(params, carry, batch, key)``, where the
        key is not used. A stream's carry is the states [B, ...] at the end of the batch; with
        `init_state`, ``init(params)`` is enough.

    Notes
    -----
    Time about 3 forward passes; memory T states and pre-activations. In segments of S steps: T/S states, and
    the intermediate values of S steps.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from jaxrnn.losses import squared_error
    >>> from jaxrnn.types import Batch
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> estimator = full(running_sum, squared_error)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> carry = estimator.init(1.0, jnp.zeros((1, 1)))
    >>> estimate, carry = estimator.estimate(1.0, carry, batch, jax.random.key(0))
    >>> estimate.loss, estimate.grads
    (Array(1.25, dtype=float32), Array(2.5, dtype=float32, weak_type=True))
    """
    starts = start("gradients.full", init_state)

    def estimate(params, carry, batch, key, noise):
        del key, noise
        h_0, add_h_0 = starts.begin(params, carry, batch)
        rows = time_major("gradients.full", h_0, batch)
        loss, h_T, grads, h_0_cotangent = segment_gradients(
            step, step_loss, params, h_0, rows, recompute=segment
        )
        return GradientEstimate(loss, add_h_0(grads, h_0_cotangent)), starts.end(h_T)

    return Estimator(starts.init, by_sequence(estimate, step, starts.states))


def segment_gradients(step, step_loss, params, h_0, segment, *, recompute=None):
    """(loss, h_T, ∂L/∂params, ∂L/∂h_0) of a segment, by reverse mode through all of it."""

    def objective(params, h_0):
        return segment_loss(step, step_loss, params, h_0, segment, recompute=recompute)

    (loss, h_T), grads = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(params, h_0)
    return loss, h_T, *grads
