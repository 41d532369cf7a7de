"""From numbers to a verdict: does the gradient vanish or explode, and how far back does it reach?"""

from __future__ import annotations

from functools import partial
from math import log
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxrnn import _checks
from jaxrnn._pytree import after, leaf_paths, tree_norm
from jaxrnn._result_type import result_type
from jaxrnn.diagnosis.verdict import Verdict, judge
from jaxrnn.gradients import LagProfile, lag_profile
from jaxrnn.jacobians import (
    GrowthRates,
    NormByLag,
    Norms,
    Spectrum,
    growth_rates,
    norm_by_lag,
    norms,
    spectrum_fan,
    step_jacobians,
)
from jaxrnn.recurrence import unroll
from jaxrnn.types import Batch, Params, State, StepFn, StepLoss

__all__ = ["Diagnosis", "Saturation", "diagnose", "horizon", "recurrent_profile", "verdict_with_rate"]

_SATURATED = 0.95
_BINS = 40


@result_type
class Saturation(NamedTuple):
    """How the units of one state leaf are spread over its range."""

    counts: Float[np.ndarray, " bins"]
    edges: Float[np.ndarray, " bins1"]
    fraction: float | None
    """The share of |h| > 0.95; None where the leaf leaves [-1, 1] and cannot saturate there."""


@result_type
class Diagnosis(NamedTuple):
    """Where the gradient of a recurrent network goes. Host-side: NumPy arrays and strings."""

    verdict: str
    """``vanishing``, ``exploding``, ``stable`` or ``unknown``."""
    reason: str
    advice: tuple[str, ...]
    horizon: int | None
    """The lag within which 99 % of the gradient's norm lies; None where that is not finite."""
    lam: float | None
    """λ = ‖W_hh‖₂, if W_hh was given."""
    gamma: float | None
    """γ = sup|φ'|, if given."""
    norms: Norms
    """[S, T+1, T+1], one table a sequence."""
    norm_by_lag: NormByLag
    growth_rates: GrowthRates
    """[S, n]."""
    fan_lags: Int[np.ndarray, " F"]
    fan: Spectrum
    """[F, n]: the singular spectra of ∂h_T/∂h_{T-lag} of the first sequence, at `fan_lags`."""
    lag_profile: Float[np.ndarray, " T"]
    """‖Σ_t term(t, t-s)‖ (E10) at lag s, over the leaves that the state depends on."""
    window_error: Float[np.ndarray, " T"]
    """‖Σ_{s<K} - g‖ / ‖g‖ for the windows K = 1..T: what a sliding window loses (E18)."""
    saturation: dict[str, Saturation]

    @property
    def log_bound_rate(self) -> float | None:
        """``ln(γλ)``, the slope of the bound (γλ)^lag of E14 in nats per step; None without λ and γ."""
        if not self.lam or not self.gamma:
            return None
        return log(self.lam * self.gamma)

    def __str__(self) -> str:
        """Verdict, reason and advice, for a terminal."""
        return "\n".join([f"{self.verdict}: {self.reason}", *(f"  - {line}" for line in self.advice)])


@_checks.signature("diagnose", gradient=True)
def diagnose(
    step: StepFn,
    step_loss: StepLoss,
    params: Params,
    h_0: State,
    batch: Batch,
    *,
    W_hh: Float[Array, "n n"] | None = None,
    gamma: float | None = None,
    sequences: int = 4,
    threshold: float = 100.0,
) -> Diagnosis:
    """Join norms, growth rates, bounds, gradient terms and saturation into one verdict (E10-E15, E18).

    The verdict looks at the median m(s) of ``ln ‖∂h_t/∂h_k‖₂`` at lag s: *exploding* if m rises above
    ln(threshold) at some lag, *vanishing* if m(T) lies below -ln(threshold), else *stable*. It is
    *unknown*, with the reason, if anything is not finite, if T < 2, or if more than a quarter of the
    sequences would be judged differently, by themselves or within the norms' error bounds.

    Parameters
    ----------
    step, step_loss, params, h_0, batch : as for `gradients.lag_profile`; h_0 is [B, ...].
    W_hh, gamma : of an Elman cell, for λ, γ and the bound (γλ)^lag (E14).
    sequences : how many of the batch's sequences the Jacobian tables are made for.
    threshold : the factor from which a gain counts as exploding, and its inverse as vanishing.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If the batch or h_0 is empty or ill-shaped, sequences < 1, threshold <= 1, or gamma is negative.

    Notes
    -----
    Compiles once per step function and shapes. Time: the norms of T²/2 pairs a sequence (an SVD each) and
    T batched steps for the gradient's terms.

    Example
    -------
    >>> from jaxrnn import cells, losses, tasks
    >>> task = tasks.series(length=12, batch_size=2)
    >>> cell = cells.stack(cells.elman(4, 4, activation="sigmoid"), cells.dense(4, 1))
    >>> params = cell.init(jax.random.key(0))
    >>> h_0 = cell.initial_states(params, 2)
    >>> batch = task.sample(jax.random.key(1))
    >>> diagnose(cell.step, losses.squared_error, params, h_0, batch).verdict
    'vanishing'
    """
    size, length = _checks.batch_shape("diagnose", batch)
    _checks.states_of_batch("diagnose", h_0, size)
    sequences = min(_checks.at_least("diagnose", "sequences", sequences, 1), size)
    if not threshold > 1:
        raise ValueError(f"diagnose: threshold is {threshold}; expected a factor above 1.")
    if gamma is not None and not gamma >= 0:
        raise ValueError(f"diagnose: gamma is {gamma}; a supremum of |φ'| is at least 0.")
    fan_lags = np.unique(np.geomspace(1, length, num=min(length, 10)).round().astype(int))
    measured = jax.tree.map(
        np.asarray, _measure(step, step_loss, params, h_0, batch, jnp.asarray(fan_lags), sequences)
    )
    table, by_lag, rates, fan, hs, profile, window_error = measured
    verdict = judge(table, by_lag.median, log(threshold))
    return Diagnosis(
        *verdict_with_rate(verdict, rates),
        horizon=horizon(profile),
        lam=None if W_hh is None else float(jnp.linalg.norm(W_hh, 2)),
        gamma=gamma,
        norms=table,
        norm_by_lag=by_lag,
        growth_rates=rates,
        fan_lags=fan_lags,
        fan=fan,
        lag_profile=profile,
        window_error=window_error,
        saturation={
            path: _saturation(leaf) for path, leaf in zip(leaf_paths(hs), jax.tree.leaves(hs), strict=True)
        },
    )


def verdict_with_rate(verdict: Verdict, rates: GrowthRates) -> Verdict:
    """The verdict whose reason also names the leading growth rate, if there is one."""
    rate = float(np.median(rates.rates[:, 0]))
    if np.isnan(rate):
        return verdict
    return verdict._replace(reason=f"{verdict.reason} Leading growth rate {rate:+.3f} nats per step.")


@partial(jax.jit, static_argnames=("step", "step_loss", "sequences"))
def _measure(step, step_loss, params, h_0, batch, fan_lags, sequences):
    """Everything that needs JAX, in one program."""
    xs, h_0_few = jax.tree.map(lambda leaf: leaf[:sequences], (batch.xs, h_0))

    def of_one(h_0, xs):
        trajectory = unroll(step, params, h_0, xs)
        js = step_jacobians(step, params, trajectory)
        table = norms(js)
        return js, table, growth_rates(after(js, table.log_norm)), trajectory.hs

    js, table, rates, hs = jax.vmap(of_one)(h_0_few, xs)
    fan = spectrum_fan(after(js[0], (rates.rates, rates.log_abs_det_rate)), fan_lags)
    profile = lag_profile(step, step_loss, params, h_0, batch)
    return table, norm_by_lag(table), rates, fan, hs, recurrent_profile(profile), profile.sliding_error


def recurrent_profile(profile: LagProfile) -> Float[Array, " L"]:
    """‖g_s‖ over the leaves with terms beyond lag 0, or else over all."""
    leaves = jax.tree.leaves(profile.leaf_norm)
    recurrent = [jnp.any(leaf[1:] != 0) for leaf in leaves]
    keep = [mask | ~jnp.any(jnp.array(recurrent)) for mask in recurrent]
    return jax.vmap(tree_norm)([jnp.where(mask, leaf, 0) for mask, leaf in zip(keep, leaves, strict=True)])


def horizon(profile: Float[np.ndarray, " L"]) -> int | None:
    """The lag within which 99 % of the gradient's norm lies; None where that is not finite."""
    if not np.isfinite(profile).all() or not profile.any():
        return None
    reached = np.cumsum(profile / profile.max())
    return int(np.argmax(reached >= 0.99 * reached[-1]))


def _saturation(leaf):
    values = leaf[np.isfinite(leaf)].astype(float)
    bounded = values.size > 0 and np.abs(values).max() <= 1
    span = (-1.0, 1.0) if bounded or not values.size else (values.min(), values.max() + 1e-9)
    counts, edges = np.histogram(values, bins=_BINS, range=span)
    return Saturation(counts, edges, float((np.abs(values) > _SATURATED).mean()) if bounded else None)
