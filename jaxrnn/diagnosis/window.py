"""Which truncation window loses little, or why none can be named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._result_type import result_type
from jaxrnn.gradients import GeometricDecay, chunked, geometric_decay, lag_profile, sliding
from jaxrnn.types import Batch, Cell, Estimator, Params, StepLoss

__all__ = ["WindowAdvice", "suggest_window"]

_KINDS = {"chunked": chunked, "sliding": sliding}
_RESAMPLES = 1000


@result_type
class WindowAdvice(NamedTuple):
    """A window with its evidence, or a refusal with its reason."""

    window: int | None
    """K; None where none can be named."""
    interval: tuple[int, int] | None
    """About 95 % of the windows that other batches of the same kind would give, by resampling these."""
    reason: str
    """The recommendation or the refusal, as a sentence with its figures."""
    tolerance: float
    """The relative bias that was asked for."""
    truncation: str
    """``"chunked"`` or ``"sliding"``."""
    profile: Float[np.ndarray, " L"]
    """‖g_s‖ / ‖g‖ by lag, mean over the batches."""
    bias: Float[np.ndarray, " L"]
    """The measured relative bias of the windows K = 1..L in row K - 1, mean over the batches."""
    bound: Float[np.ndarray, " L"]
    """What the bias is at most by the triangle inequality, terms beyond lag L as the decay continues."""
    decay: GeometricDecay
    """The line through the profile; ``decay.smallest_keep`` is what `gradients.randomized` would need."""

    def raise_if_bad(self) -> WindowAdvice:
        """The advice itself; NumericalError if there is no window."""
        if self.window is None:
            raise _checks.NumericalError(f"suggest_window: {self.reason}")
        return self


@_checks.signature("suggest_window", gradient=True)
def suggest_window(
    cell: Cell,
    params: Params,
    batches: Iterable[Batch],
    step_loss: StepLoss,
    *,
    tolerance: float = 0.1,
    truncation: Callable[..., Estimator] = chunked,
    lags: int | None = None,
) -> WindowAdvice:
    """The smallest truncation window whose gradient is within `tolerance` of the exact one (E18).

    The gradient of every batch is split by lag; ``‖ĝ_K - g‖ / ‖g‖`` follows for every K. A window is named
    only if the terms decay geometrically by the last lags that were looked at, so that what lies beyond them
    is known to be small too.

    Parameters
    ----------
    cell, params : the network as it is now. Sequences start at ``cell.init_state(params)``.
    batches : at least 3 batches of one shape, such as ``[task.sample(k) for k in jax.random.split(key, 8)]``,
        of the size to train with: the smaller a batch, the larger its gradient's noise, which is lost too.
    step_loss : of one step.
    tolerance : the relative bias to accept.
    truncation : `gradients.chunked` (what training loops do; on average over where chunks begin) or
        `gradients.sliding`.
    lags : how many lags to look at; by default all T.

    Returns
    -------
    WindowAdvice
        NumPy arrays; not under `jit`.

    Raises
    ------
    ValueError
        If tolerance is not between 0 and 1, truncation is neither of the two, or there are fewer than 3
        batches.

    Notes
    -----
    Time about 2L gradients a batch; compiled once. Advice for one point of training: ask again later, since
    networks learn to look further back.

    Example
    -------
    >>> from jaxrnn import cells, tasks
    >>> task = tasks.linear_process(length=40)
    >>> cell = cells.stack(cells.gru(1, 4), cells.dense(4, 1))
    >>> batches = [task.sample(k) for k in jax.random.split(jax.random.key(0), 4)]
    >>> advice = suggest_window(cell, cell.init(jax.random.key(1)), batches, task.step_loss)
    >>> 1 < advice.window < 40
    True

    Reference
    ---------
    Aicher, Foti & Fox, Adaptively truncating backpropagation through time to control gradient bias, 2019.
    """
    kind = next((name for name, constructor in _KINDS.items() if constructor is truncation), None)
    if kind is None:
        raise ValueError(
            f"suggest_window: truncation is {truncation!r}; expected gradients.chunked or gradients.sliding."
        )
    if not 0 < tolerance < 1:
        raise ValueError(f"suggest_window: tolerance is {tolerance}; expected 0 < tolerance < 1.")
    batches = [batches] if isinstance(batches, Batch) else batches
    batches = list(_checks.iterated("suggest_window", "batches", batches, "several batches"))
    if len(batches) < 3:
        raise ValueError(
            f"suggest_window: got {len(batches)} batches; expected at least 3, so that they can be compared."
        )
    size, length = _checks.same_batches("suggest_window", batches)
    measured = jax.jit(partial(lag_profile, cell.step, step_loss, lags=lags))
    h_0 = cell.initial_states(params, size)
    found = jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf, float) for leaf in leaves]),
        *[_relative(measured(params, h_0, batch), f"{kind}_error") for batch in batches],
    )
    profiles, reaches, biases = found
    profile, bias = profiles.mean(axis=0), biases.mean(axis=0)
    decay = geometric_decay(jnp.asarray(profile), jnp.asarray(reaches.mean(axis=0)))
    decay = jax.tree.map(np.asarray, decay)
    advice = WindowAdvice(
        window=None,
        interval=None,
        reason="",
        tolerance=tolerance,
        truncation=kind,
        profile=profile,
        bias=bias,
        bound=_bound(profile, decay, kind),
        decay=decay,
    )
    refusal = _refusal(advice, length)
    if refusal:
        return advice._replace(reason=refusal)
    resampled = np.random.default_rng(0).integers(len(biases), size=(_RESAMPLES, len(biases)))
    windows = [_smallest(biases[rows].mean(axis=0), tolerance) for rows in resampled]
    tail = _tail(len(biases))
    low, high = (int(np.quantile(windows, q, method="nearest")) for q in (tail, 1 - tail))
    window = _smallest(bias, tolerance)
    interval = low, min(high, len(bias))
    return advice._replace(window=window, interval=interval, reason=_recommendation(advice, window))


def _tail(count):
    """How much of the resampled windows lies beyond each end of a 95 % interval.

    Resampling a few batches scatters too little; the quantile is moved out as Student's t and the unbiased
    variance would have it (Hesterberg, What teachers should know about the bootstrap, 2015).
    """
    from scipy import stats  # which takes a second to import

    return stats.norm.cdf(-((count / (count - 1)) ** 0.5) * stats.t.ppf(0.975, count - 1))


def _relative(profile, error):
    """(‖g_s‖ / ‖g‖, reach, the bias of every window) of one batch; NaN for a gradient of 0."""
    size = tree_norm(profile.gradient)
    bias = getattr(profile, error)
    return profile.norm / size, profile.reach, jnp.where(size > 0, bias, jnp.nan)


def _bound(profile, decay, kind):
    """Of K = 1..L."""
    later = np.append(np.cumsum(profile[::-1])[::-1][1:], 0.0) + float(decay.beyond) * profile.sum()
    if kind == "sliding":
        return later
    # A chunk's losses reach back 1, ..., K steps.
    return np.cumsum(later) / np.arange(1, len(later) + 1)


def _smallest(bias, tolerance):
    """The smallest K from which on no window has a larger bias; one more than L if there is none."""
    too_much = np.flatnonzero(bias > tolerance)
    return int(too_much[-1]) + 2 if too_much.size else 1


def _refusal(advice, length):
    """Why no window can be named; "" if one can."""
    if not np.isfinite(advice.profile).all():
        return "the gradient of a batch is zero, or its terms are not finite: there is nothing to truncate."
    L = len(advice.profile)
    if L < 8:
        remedy = "give longer sequences" if L == length else "look at more lags"
        return f"{L} lags are too few to tell how the terms decay; {remedy}."
    rate, error = float(advice.decay.log_rate), float(advice.decay.standard_error)
    if not bool(advice.decay.geometric):
        return (
            f"the terms do not decay geometrically: the rate over the later lags is {rate:+.3f} ± "
            f"{error:.3f} nats per step (R² {float(advice.decay.quality):.2f}). A window would cut off what "
            "cannot be seen here; use full BPTT, or longer sequences to see whether a decay follows."
        )
    if np.any(advice.bias > advice.bound * (1 + 1e-6)):
        return (
            f"the terms beyond lag {L} are larger than the decay up to there would have them: a window of "
            f"{L} loses {advice.bias[-1]:.2g}. Look at more lags, or use full BPTT."
        )
    window = _smallest(advice.bias, advice.tolerance)
    beyond = float(advice.decay.beyond) * advice.profile.sum()
    if window > L or beyond > advice.tolerance:
        return (
            f"the terms decay too slowly for {L} lags: the bias of K = {L} is {advice.bias[-1]:.2g}, and "
            f"what would follow makes up to {beyond:.2g} of the gradient, at a tolerance of "
            f"{advice.tolerance:g}. "
            + (
                "Use longer sequences, or full BPTT."
                if L == length
                else "Look at more lags, or use full BPTT."
            )
        )
    return ""


def _recommendation(advice, window):
    rate = float(advice.decay.log_rate)
    return (
        f"{advice.truncation} BPTT with K = {window} has a relative bias of {advice.bias[window - 1]:.2g} "
        f"(at most {advice.bound[window - 1]:.2g}); the terms decay by {rate:+.3f} nats per step "
        f"(R² {float(advice.decay.quality):.2f})."
    )
