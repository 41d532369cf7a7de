"""Pictures of the loss gradient: its terms by lag, and the units' saturation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from jaxrnn import _checks
from jaxrnn.diagnosis import Saturation
from jaxrnn.plots.style import CYCLE, axes, finite

__all__ = ["plot_gradient_by_lag", "plot_saturation"]

_FLOOR = 1e-8
# Shares below this many per cent are not shown: they would squeeze the part that matters.


@_checks.signature("plots.plot_gradient_by_lag")
def plot_gradient_by_lag(
    lag_profile: Float[np.ndarray, " T"],
    *,
    horizon: int | None = None,
    windows: Sequence[int] = (),
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the gradient's norm that comes from each lag (E10), with the 99 % horizon and windows' cuts.

    Parameters
    ----------
    lag_profile : [T], such as ``Diagnosis.lag_profile``.
    horizon : such as ``Diagnosis.horizon``; drawn as a vertical line.
    windows : truncation windows K; a vertical line at lag K, the first that a sliding window K loses.
    label : a name for the legend; call again with the same `ax` to compare networks.
    ax : axes to draw into.
    """
    if horizon is not None:
        _checks.at_least("plots.plot_gradient_by_lag", "horizon", horizon, 0)
    windows = list(_checks.iterated("plots.plot_gradient_by_lag", "windows", windows, "windows K"))
    for window in windows:
        _checks.at_least("plots.plot_gradient_by_lag", "windows", window, 1)
    ax = axes(ax)
    profile = finite(lag_profile)
    total = np.nansum(profile)
    share = np.where(profile > 0, 100 * profile / total if total > 0 else np.nan, np.nan)
    color = CYCLE[sum(line.get_linestyle() == "-" for line in ax.lines) % len(CYCLE)]
    ax.plot(
        np.arange(len(share)),
        share,
        "-",
        marker=".",
        markersize=3,
        color=color,
        label=label or "terms of one lag",
    )
    if horizon is not None:
        ax.axvline(horizon, color=color, linestyle="--", label=f"99 % within lag {horizon}")
    for window in windows:
        ax.axvline(window, color="0.4", linewidth=0.8, linestyle=":")
        ax.annotate(
            f"K = {window}",
            (window, 0),
            xycoords=ax.get_xaxis_transform(),
            xytext=(2, 3),
            textcoords="offset points",
            rotation=90,
            verticalalignment="bottom",
            fontsize="x-small",
            color="0.3",
        )
    ax.set_yscale("log")
    if np.nanmin(share, initial=1.0) < _FLOOR:
        ax.set_ylim(bottom=_FLOOR)
    ax.set(xlabel="lag t − k (steps)", ylabel="share of the gradient's norm (%)")
    ax.legend(fontsize="small")
    return ax


@_checks.signature("plots.plot_saturation")
def plot_saturation(
    saturation: dict[str, Saturation], *, names: dict[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Distribution of the units' values, one line a state leaf, with the saturated share |h| > 0.95.

    The axis shows [-1, 1] if any leaf is bounded there; the range of an unbounded one is in the legend.

    Parameters
    ----------
    saturation : such as ``Diagnosis.saturation``.
    names : legend names of the leaf paths.
    ax : axes to draw into.
    """
    ax = axes(ax)
    for path, leaf in saturation.items():
        color = CYCLE[sum(line.get_linestyle() == "-" for line in ax.lines) % len(CYCLE)]
        widths = np.diff(leaf.edges)
        density = np.asarray(leaf.counts) / max(np.sum(leaf.counts), 1) / widths
        note = f"from {leaf.edges[0]:.3g} to {leaf.edges[-1]:.3g}"
        if leaf.fraction is not None:
            note = f"{leaf.fraction:.1%} saturated"
        label = f"{(names or {}).get(path, path) or 'h'}: {note}"
        centres = 0.5 * (leaf.edges[1:] + leaf.edges[:-1])
        ax.plot(centres, density, "-", drawstyle="steps-mid", color=color, label=label)
    if any(leaf.fraction is not None for leaf in saturation.values()):
        ax.set_xlim(-1.05, 1.05)
    ax.set(xlabel="value of a unit", ylabel="density over units and steps (per unit value)", ylim=(0, None))
    ax.legend(fontsize="small")
    return ax
