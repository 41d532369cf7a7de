"""The loss of a batch, E2, with the step vmapped over the batch and one unroll."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn.recurrence import unroll
from jaxrnn.types import Batch, Params, State, StepFn, StepLoss

__all__ = ["Segment", "batch_step", "loss", "segment_loss", "time_major", "weighted_sum"]


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
    return segment_loss(step, step_loss, params, h_0, time_major("gradients.loss", h_0, batch))


class Segment(NamedTuple):
    """Consecutive steps of a checked batch, time first; the weights carry the 1/B of the mean."""

    xs: PyTree
    targets: PyTree
    weights: Float[Array, "T B"]


def segment_loss(
    step: StepFn, step_loss: StepLoss, params: Params, h_0: State, segment: Segment
) -> tuple[Float[Array, ""], State]:
    """The segment's share of the loss, and the states at its end."""
    trajectory = unroll(batch_step(step), params, h_0, segment.xs)
    h_T = jax.tree.map(lambda leaf: leaf[-1], trajectory.hs)
    return weighted_sum(step_loss, params, trajectory.ys, segment), h_T


def batch_step(step: StepFn) -> StepFn:
    """The step of one sequence as a step of B of them: one matrix product a step, not B."""
    return jax.vmap(step, in_axes=(None, 0, 0))


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
    per_step = jax.vmap(jax.vmap(step_loss, (None, 0, 0)), (None, 0, 0))(params, ys, segment.targets)
    if per_step.shape != segment.weights.shape:
        raise ValueError(
            f"step_loss returned shape {per_step.shape[2:]} for one step; expected a scalar, (). "
            "Sum or average over the outputs inside step_loss."
        )
    weights = segment.weights.astype(per_step.dtype)
    return jnp.sum(jnp.where(weights != 0, weights * per_step, 0))


def _where(keep, tree):
    """Floating leaves [T, B, ...] with zeros where `keep` [T, B] is False."""

    def mask(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.where(keep.reshape(keep.shape + (1,) * (leaf.ndim - 2)), leaf, 0)

    return jax.tree.map(mask, tree)
