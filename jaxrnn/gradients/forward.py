"""Forward gradients: the derivative along random directions, by forward mode alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.gradients.loss import segment_loss, time_major
from jaxrnn.gradients.sharded import by_sequence
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, StepFn, StepLoss

__all__ = ["forward"]


@_checks.signature("gradients.forward", random=True)
def forward(
    step: StepFn, step_loss: StepLoss, *, directions: int = 1, init_state: InitState | None = None
) -> Estimator:
    """``ĝ = (g·v) v`` with random signs v, by one forward pass with a tangent: unbiased, since E v vᵀ = I.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    directions : how many v are drawn; ĝ is the mean over them.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`. As there, no gradient flows into the carry: it is unbiased for `full`.

    Raises
    ------
    ValueError
        If directions < 1.

    Notes
    -----
    Time one forward pass with a tangent a direction; memory one step a direction, however long the sequence.
    For P parameters ``E‖ĝ - g‖² = (P - 1)/directions · ‖g‖²``.

    Reference
    ---------
    Baydin, Pearlmutter, Syme, Wood & Torr, Gradients without backpropagation, 2022.
    """
    _checks.at_least("gradients.forward", "directions", directions, 1)
    starts = start("gradients.forward", init_state)

    def estimate(params, carry, batch, key, noise):
        del noise
        params = jax.tree.map(jnp.asarray, params)

        segment = time_major("gradients.forward", starts.begin(params, carry, batch)[0], batch)

        def objective(params):
            return segment_loss(step, step_loss, params, starts.begin(params, carry, batch)[0], segment)

        def along(v):
            loss, slope, h_T = jax.jvp(objective, (params,), (v,), has_aux=True)
            return loss, h_T, jax.tree.map(lambda leaf: slope.astype(leaf.dtype) * leaf, v)

        signs = _random_signs(key, params, directions)
        loss, h_T, grads = jax.vmap(along, out_axes=(None, None, 0))(signs)
        grads = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), grads)
        return GradientEstimate(loss, grads), starts.end(h_T)

    return Estimator(starts.init, by_sequence(estimate, step, starts.states))


def _random_signs(key, params, count):
    """Leaves [count, ...] of independent ±1."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    signs = [
        jax.random.rademacher(k, (count, *leaf.shape), leaf.dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, signs)
