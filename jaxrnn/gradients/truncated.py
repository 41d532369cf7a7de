"""Truncated BPTT in its two forms, which are two different estimators, E18."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn import _checks
from jaxrnn.gradients.full import segment_gradients
from jaxrnn.gradients.lags import adjoints_by_lag
from jaxrnn.gradients.loss import time_major
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, StepFn, StepLoss

__all__ = ["chunked", "sliding"]


def chunked(
    step: StepFn, step_loss: StepLoss, *, window: int, init_state: InitState | None = None
) -> Estimator:
    """Truncated BPTT as practised: chunks of `window` steps with a carried, constant state (E18).

    Within a chunk the gradient is exact; nothing flows across its left border, so a loss at the start
    of a chunk reaches back one step and a loss at its end reaches back `window` steps. The last chunk
    may be short; ``window >= T`` equals `full`.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    window : K, the chunk's length.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`.

    Raises
    ------
    ValueError
        If window < 1.

    Notes
    -----
    Time as `full`; memory K steps, not T.

    Reference
    ---------
    Williams & Peng, An efficient gradient-based algorithm for on-line training, 1990 (BPTT(h; h')).
    """
    window = _checks.at_least("gradients.chunked", "window", window, 1)
    starts = start("gradients.chunked", init_state)

    def estimate(params, carry, batch, key):
        del key
        h_0, add_h_0 = starts.begin(params, carry, batch)
        segment = time_major("gradients.chunked", h_0, batch)
        n_chunks, rest = divmod(segment.weights.shape[0], window)
        cut = n_chunks * window

        def add_chunk(carry, chunk):
            h, grads = carry
            loss, h, chunk_grads, h_cotangent = segment_gradients(step, step_loss, params, h, chunk)
            return (h, jax.tree.map(jnp.add, grads, chunk_grads)), (loss, h_cotangent)

        carry, parts = (h_0, jax.tree.map(jnp.zeros_like, params)), []
        if n_chunks:
            chunks = jax.tree.map(lambda x: x[:cut].reshape(n_chunks, window, *x.shape[1:]), segment)
            carry, (losses, h_cotangents) = lax.scan(add_chunk, carry, chunks)
            parts.append((jnp.sum(losses), jax.tree.map(lambda leaf: leaf[0], h_cotangents)))
        if rest:
            carry, part = add_chunk(carry, jax.tree.map(lambda x: x[cut:], segment))
            parts.append(part)
        h_T, grads = carry
        loss = jnp.sum(jnp.stack([loss for loss, _ in parts]))
        return GradientEstimate(loss, add_h_0(grads, parts[0][1])), starts.end(h_T)

    return Estimator(starts.init, estimate)


def sliding(
    step: StepFn, step_loss: StepLoss, *, window: int, init_state: InitState | None = None
) -> Estimator:
    """Truncated BPTT as defined: exactly the terms of E10 with ``t - k < window`` (E18).

    Every loss ℓ_t reaches back the same `window` steps. ``window = 1`` keeps only the immediate term;
    ``window > T`` equals `full`, and so does ``window = T`` unless h_0 is learned.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    window : K, the number of lags kept, 0..K-1.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`.

    Raises
    ------
    ValueError
        If window < 1.

    Notes
    -----
    Time about 2 + K vector-Jacobian products of a step for all T steps at once; memory T steps.

    Reference
    ---------
    Williams & Peng, An efficient gradient-based algorithm for on-line training, 1990 (BPTT(h)).
    """
    window = _checks.at_least("gradients.sliding", "window", window, 1)
    starts = start("gradients.sliding", init_state)

    def estimate(params, carry, batch, key):
        del key
        h_0, add_h_0 = starts.begin(params, carry, batch)
        segment = time_major("gradients.sliding", h_0, batch)
        adjoints = adjoints_by_lag(step, step_loss, params, h_0, segment)

        def add_lag(carry, _):
            adjoint, total = carry
            adjoint = adjoints.earlier(adjoint)
            return (adjoint, jax.tree.map(jnp.add, total, adjoint)), None

        # Lags beyond T have no terms: h_0 is the earliest state.
        n_lags = min(window - 1, segment.weights.shape[0])
        total = jax.tree.map(jnp.zeros_like, adjoints.lag_1)
        if n_lags:
            first = (adjoints.lag_1, adjoints.lag_1)
            (_, total), _ = lax.scan(add_lag, first, length=n_lags - 1)
        grads = jax.tree.map(jnp.add, adjoints.lag_0, adjoints.pull(total))
        h_0_cotangent = jax.tree.map(lambda leaf: leaf[0], total)
        return GradientEstimate(adjoints.loss, add_h_0(grads, h_0_cotangent)), starts.end(adjoints.h_T)

    return Estimator(starts.init, estimate)
