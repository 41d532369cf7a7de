"""Pictures of the growth rates as they converge, and of eigenvalues in the complex plane."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from jaxrnn import _checks
from jaxrnn.dynamics import Stability
from jaxrnn.jacobians import Eigenvalues, GrowthRates
from jaxrnn.plots.style import CYCLE, axes, finite

__all__ = ["plot_eigenvalues", "plot_growth_rates"]


@_checks.signature("plots.plot_growth_rates")
def plot_growth_rates(rates: GrowthRates, *, ax: Axes | None = None) -> Axes:
    """The leading rates λ_i as they stood after so many steps, in nats per step: have they converged? (E15).

    The band is ± the standard error that a run of so many steps would have, ``s.e. · sqrt(T / steps)``; the
    last value is marked. Of more than 7 rates the first 7 are drawn. -inf is in the legend only.

    Parameters
    ----------
    rates : of `jacobians.growth_rates` or `jacobians.leading_growth_rates`, of one sequence.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If the rates are those of a batch.
    """
    last = np.asarray(rates.rates)
    if last.ndim != 1:
        raise ValueError(
            f"plots.plot_growth_rates: the rates have shape {last.shape}; expected one sequence, [k]. "
            "Index the batch first."
        )
    ax = axes(ax)
    steps, trace = np.asarray(rates.trace_steps), finite(rates.trace)
    errors = np.asarray(rates.standard_error)
    for i, color in zip(range(len(last)), CYCLE, strict=False):
        error = f" ± {errors[i]:.2g}" if np.isfinite(errors[i]) else ""
        label = rf"$\lambda_{{{i + 1}}}$ = {last[i]:.4g}{error}".replace("-", "−")
        ax.plot(steps, trace[:, i], "-", color=color, linewidth=1, label=label)
        band = finite(errors[i]) * np.sqrt(steps[-1] / steps)
        ax.fill_between(steps, trace[:, i] - band, trace[:, i] + band, color=color, alpha=0.2, linewidth=0)
        ax.plot(steps[-1], finite(last[i]), "o", color=color, markersize=4, clip_on=False)
    _fit_to_later_half(ax, steps, trace[:, : len(CYCLE)])
    if steps[-1] >= 10 * steps[0]:
        ax.set_xscale("log")
        ax.set_xlim(steps[0], steps[-1])
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    if len(last) > len(CYCLE):
        ax.set_title(f"the leading {len(CYCLE)} of {len(last)} rates", fontsize="small")
    ax.set(xlabel="steps counted", ylabel="growth rate (nats per step)")
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _fit_to_later_half(ax, steps, trace):
    """The first steps may lie far off; what matters is where the rates settle."""
    settled = trace[steps >= np.sqrt(steps[0] * steps[-1])]
    low, high = np.nanmin(settled, initial=np.inf), np.nanmax(settled, initial=-np.inf)
    if low <= high:
        room = max(0.3 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-3)
        ax.set_ylim(low - room, high + room)


@_checks.signature("plots.plot_eigenvalues")
def plot_eigenvalues(found: Eigenvalues | Stability, *, ax: Axes | None = None) -> Axes:
    """The eigenvalues of all J_t, or at all fixed points, in the complex plane with the unit circle (E11).

    At fixed points, those outside of the circle are in the second colour: the directions that lead away.

    How far they mislead is in the title: the median of the departure from normality, 0 for orthogonal
    eigenvectors and at most 1.

    Parameters
    ----------
    found : of `jacobians.eigenvalues` or of `dynamics.stability`; a batch is drawn together.
    ax : axes to draw into.
    """
    if not isinstance(found, Eigenvalues | Stability):
        _checks.instance("plots.plot_eigenvalues", "found", found, Eigenvalues)
    at_points = isinstance(found, Stability)
    ax = axes(ax, 4.8, 4.8)
    values = np.asarray(found.eigenvalues if at_points else found.values).ravel()
    angle = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), "--", color="0.4", linewidth=0.8, label="unit circle")
    # Many lie on top of each other; the more there are, the paler each one is.
    alpha = float(np.clip(40 / np.sqrt(max(values.size, 1)), 0.15, 1))
    away = at_points & (np.abs(values) > 1)
    for part, color, label in ((~away, CYCLE[0], None), (away, CYCLE[1], "leads away")):
        if part.any():
            shown = values[part]
            (dots,) = ax.plot(shown.real, shown.imag, ".", color=color, markersize=5, label=label)
            dots.set(alpha=alpha, markeredgewidth=0)
    departure = np.asarray(found.departure_from_normality).ravel()
    known = departure[np.isfinite(departure)]
    median = f"{np.median(known):.2f}" if known.size else "unknown"
    what, of = ("points", "J") if at_points else ("steps", "J_t")
    hidden = f"; {departure.size - known.size} {what} are NaN" if known.size < departure.size else ""
    ax.set_title(f"departure from normality: {median} (median){hidden}", fontsize="small")
    ax.set(xlabel=rf"real part of $\lambda_i({of})$", ylabel=rf"imaginary part of $\lambda_i({of})$")
    edge = 1.08 * np.max(np.abs(values[np.isfinite(values)]), initial=1.0)
    ax.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    ax.legend(fontsize="small", loc="upper right")
    return ax
