"""The loss of a batch, E2, with the step vmapped over the batch and one unroll."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn.gradients.sharded import by_sequence
from jaxrnn.recurrence import scan
from jaxrnn.types import BATCH_AXIS, Batch, Params, State, StepFn, StepLoss

__all__ = ["Segment", "batch_step", "loss", "segment_loss", "time_major", "weighted_sum"]


@_checks.signature("gradients.loss")
def loss(
    step: StepFn, step_loss: StepLoss, params: Params, h_0: State, batch: Batch
) -> tuple[Float[Array, ""], State]:
    """``L = (1/B) Σ_b Σ_t weights[b, t]·ℓ(y_t, target_t)`` and the states h_T (E2).

    Parameters
    ----------
    step, step_loss : of ONE sequence and one step; both are vmapped here.
    params : parameters.
    h_0 : initial states, leaves [B, ...].
    batch : B sequences of T steps; ``weights=None`` means 1/T each, the mean form.

    Returns
    -------
    (loss, h_T) : a scalar, and the last states, leaves [B, ...].

    Raises
    ------
    ValueError
        If the batch is empty, its leading axes disagree, or h_0 is not [B, ...].

    Notes
    -----
    Steps of weight 0 contribute exactly 0: their targets are not read, and behind the last weighted
    step of a sequence the inputs are not read either, so that padding may hold anything, NaN included.

    Example
    -------
    >>> from jaxrnn.losses import squared_error
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> loss(running_sum, squared_error, 1.0, jnp.zeros((1, 1)), batch)[0]  # (½ 1² + ½ 2²) / 2
    Array(1.25, dtype=float32)
    """

    def local(params, h_0, batch, key, noise):
        del key, noise
        return segment_loss(step, step_loss, params, h_0, time_major("gradients.loss", h_0, batch))

    return by_sequence(local, step, lambda _, h_0, __: h_0)(params, h_0, batch, None)


class Segment(NamedTuple):
    """Consecutive steps of a checked batch, time first; the weights carry the 1/B of the mean."""

    xs: PyTree
    targets: PyTree
    weights: Float[Array, "T B"]


def segment_loss(
    step: StepFn,
    step_loss: StepLoss,
    params: Params,
    h_0: State,
    segment: Segment,
    *,
    recompute: int | None = None,
) -> tuple[Float[Array, ""], State]:
    """The segment's share of the loss, and the states at its end; `recompute` is the segment= of `unroll`."""
    weighted = _weighted(step_loss)

    def step_with_loss(params, h_tm1, row):
        h_t, y_t = _checks.stepped("unroll", step(params, h_tm1, row.xs))
        return h_t, weighted(params, y_t, row.targets, row.weights)

    h_T, losses = scan(batch_step(step_with_loss), params, h_0, segment, segment=recompute)
    return jnp.sum(losses), h_T


def batch_step(step: StepFn) -> StepFn:
    """The step of one sequence as a step of B of them: one matrix product a step, not B.

    The axis has a name, for steps that look at the whole batch (`cells.batch_norm`).
    """
    return jax.vmap(step, in_axes=(None, 0, 0), axis_name=BATCH_AXIS)


def time_major(function: str, h_0: State, batch: Batch) -> Segment:
    """A checked batch with leaves [T, B, ...].

    What no weight lets count is zeroed here, because 0 · NaN is NaN in a gradient: targets of weight 0,
    and inputs behind the last weighted step of their sequence.
    """
    size, length = _checks.batch_shape(function, batch)
    _checks.states_of_batch(function, h_0, size)
    xs, targets = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), (batch.xs, batch.targets))
    if batch.weights is None:
        return Segment(xs, targets, jnp.full((length, size), 1.0 / (length * size)))
    weights = jnp.swapaxes(batch.weights, 0, 1)
    counts = weights != 0
    followed = lax.cumsum(counts.astype(jnp.int32), reverse=True) > 0
    return Segment(_where(followed, xs), _where(counts, targets), weights / size)


def weighted_sum(step_loss: StepLoss, params: Params, ys: PyTree, segment: Segment) -> Float[Array, ""]:
    """``Σ_t Σ_b weights[t, b]·ℓ_t``."""
    in_axes = (None, 0, 0, 0)
    losses = jax.vmap(jax.vmap(_weighted(step_loss), in_axes), in_axes)
    return jnp.sum(losses(params, ys, segment.targets, segment.weights))


def _weighted(step_loss):
    """``weight·ℓ_t`` of one step, exactly 0 where the weight is."""

    def weighted(params, y_t, target_t, weight):
        loss = step_loss(params, y_t, target_t)
        if jnp.shape(loss):
            raise ValueError(
                f"step_loss returned shape {jnp.shape(loss)} for one step; expected a scalar, (). "
                "Sum or average over the outputs inside step_loss."
            )
        return jnp.where(weight != 0, weight.astype(loss.dtype) * loss, 0)

    return weighted


def _where(keep, tree):
    """Floating leaves [T, B, ...] with zeros where `keep` [T, B] is False."""

    def mask(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.where(keep.reshape(keep.shape + (1,) * (leaf.ndim - 2)), leaf, 0)

    return jax.tree.map(mask, tree)
