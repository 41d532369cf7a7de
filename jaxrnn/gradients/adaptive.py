"""Truncated BPTT that chooses its window, so that the bias stays below a given part of the gradient."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn.gradients.decay import geometric_decay
from jaxrnn.gradients.lags import Adjoints, adjoints_by_lag
from jaxrnn.gradients.loss import time_major
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, State, StepFn, StepLoss

__all__ = ["AdaptiveCarry", "adaptive"]


class AdaptiveCarry(NamedTuple):
    """Where a stream is, and the window found for it."""

    h: State
    """The states [B, ...]; () where the estimator has its own start."""
    window: Int[Array, ""]
    """K, the window used last; 0 before the first batch and where `refused`."""
    refused: Bool[Array, ""]
    """Whether no window could be vouched for; the full gradient was used."""
    age: Int[Array, ""]
    """How many batches ago the window was measured."""

    def raise_if_bad(self) -> AdaptiveCarry:
        """The carry itself; NumericalError if a window was refused. Not under jit."""
        if bool(self.refused):
            raise _checks.NumericalError(
                "gradients.adaptive: no window within max_window keeps the bias below the tolerance, or "
                "the terms do not decay geometrically there; the full gradient was used. Give a larger "
                "max_window, or do not truncate."
            )
        return self


def adaptive(
    step: StepFn,
    step_loss: StepLoss,
    *,
    tolerance: float,
    max_window: int,
    every: int = 1,
    init_state: InitState | None = None,
) -> Estimator:
    """The sliding window of the smallest K whose relative bias is at most δ (E18).

    The terms g_s of the first R = `max_window` lags are measured; if they decay geometrically, the line that
    they follow gives the sum β of all later norms, and
    ``‖g - ĝ_K‖ / ‖g‖ <= (Σ_{K <= s < R} ‖g_s‖ + β) / (‖Σ_{s < R} g_s‖ - β)``.
    The smallest K with a right side of at most δ is used. If there is none, or the decay is not geometric, no
    window is vouched for: the full gradient is used, and the carry says so.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    tolerance : δ, of the relative bias, between 0 and 1.
    max_window : R, how many lags are measured, and the largest window.
    every : in a stream, measure at every so manieth batch and keep the window in between.
    init_state : where sequences start, as for `full`. Then every batch is measured.

    Returns
    -------
    Estimator
        Its carry is an `AdaptiveCarry`; no gradient flows into it.

    Raises
    ------
    ValueError
        If tolerance is not between 0 and 1, or max_window or every is below 1.

    Notes
    -----
    Time about 2 + K vector-Jacobian products of a step for all T steps at once, and 2R more where it is
    measured; under `vmap` always both, and those of the full gradient. Memory T steps.
    The bound holds for the batch that was measured, as far as later terms follow the line.

    Reference
    ---------
    Aicher, Foti & Fox, Adaptively truncating backpropagation through time to control gradient bias, 2019.
    (There from the norms of ∂ℓ_t/∂h_k, times a constant that is not known; here from those of the terms.)
    """
    function = "gradients.adaptive"
    if not 0 < tolerance < 1:
        raise ValueError(f"{function}: tolerance is {tolerance}; expected 0 < tolerance < 1.")
    _checks.at_least(function, "max_window", max_window, 1)
    _checks.at_least(function, "every", every, 1)
    starts = start(function, init_state)

    def init(params, h_0=None):
        return AdaptiveCarry(starts.init(params, h_0), jnp.int32(0), jnp.bool_(False), jnp.int32(0))

    def estimate(params, carry, batch, key):
        del key
        h_0, add_h_0 = starts.begin(params, carry.h, batch)
        segment = time_major(function, h_0, batch)
        R = min(max_window, len(segment.weights))
        adjoints = adjoints_by_lag(step, step_loss, params, h_0, segment)
        window, refused = lax.cond(
            carry.age % every == 0,
            lambda: _choose(adjoints, R, R == len(segment.weights), tolerance),
            lambda: (carry.window, carry.refused),
        )
        total = lax.cond(refused, adjoints.every_lag, lambda: _sum_of_lags(adjoints, window))
        grads = jax.tree.map(jnp.add, adjoints.lag_0, adjoints.pull(total))
        h_0_cotangent = jax.tree.map(lambda leaf: leaf[0], total)
        end = AdaptiveCarry(starts.end(adjoints.h_T), window, refused, carry.age + 1)
        return GradientEstimate(adjoints.loss, add_h_0(grads, h_0_cotangent)), end

    return Estimator(init, estimate)


def _choose(adjoints: Adjoints, R: int, all_lags: bool, tolerance: float):
    """(K, refused) from the terms of the lags 0..R-1."""

    def add_lag(carry, _):
        adjoint, total = carry
        term = adjoints.pull(adjoint)
        return (adjoints.earlier(adjoint), jax.tree.map(jnp.add, total, term)), tree_norm(term)

    (_, total), later = lax.scan(add_lag, (adjoints.lag_1, adjoints.lag_0), length=R - 1)
    norm = jnp.concatenate([tree_norm(adjoints.lag_0)[None], later])
    bound, geometric = _bias_bound(norm, adjoints.reach[:R], tree_norm(total), all_lags)
    good = geometric & (bound <= tolerance)
    window = jnp.where(jnp.any(good), jnp.argmax(good) + 1, 0).astype(jnp.int32)
    return window, window == 0


def _bias_bound(norm, reach, size, all_lags: bool):
    """(the bound of the relative bias of K = 1..R, whether it may be used)."""
    # Σ_{s >= K}, from the far end so that nothing cancels.
    lost = jnp.append(lax.cumsum(norm, reverse=True)[1:], jnp.zeros((), norm.dtype))
    if all_lags:
        return lost / jnp.where(size > 0, size, 1), jnp.all(jnp.isfinite(norm))
    decay = geometric_decay(norm, reach)
    beyond = decay.beyond * jnp.sum(norm)
    known = size - beyond
    return (lost + beyond) / jnp.where(known > 0, known, 1), decay.geometric & (known > 0)


def _sum_of_lags(adjoints, window):
    """The sum of the adjoints of the lags 1..window - 1."""

    def add_lag(_, carry):
        adjoint, total = carry
        return adjoints.earlier(adjoint), jax.tree.map(jnp.add, total, adjoint)

    nothing = jax.tree.map(jnp.zeros_like, adjoints.lag_1)
    return lax.fori_loop(1, window, add_lag, (adjoints.lag_1, nothing))[1]
