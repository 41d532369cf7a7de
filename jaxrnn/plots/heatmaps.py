"""Heatmaps of log-norms: all pairs of steps, and depth against time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import TwoSlopeNorm, to_rgb
from matplotlib.patches import Patch

from jaxrnn import _checks
from jaxrnn.jacobians import Norms
from jaxrnn.plots.style import axes, finite, to_log10

__all__ = ["plot_depth_time", "plot_norms"]

_ZERO, _NAN, _NOTHING = "#dddddd", "#F0E442", "#ffffff"
_FLAGGED: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.15", "hatch": "////", "linewidth": 0}


@_checks.signature("plots.plot_norms")
def plot_norms(result: Norms, *, log_bound_rate: float | None = None, ax: Axes | None = None) -> Axes:
    """Heatmap of log10 ‖∂h_t/∂h_k‖₂ over all pairs of one sequence (E15).

    Red grows, blue decays, white keeps the norm. Pairs that are not certified are hatched; exact zeros are
    grey and NaN yellow. A legend names those of the three that occur.

    Parameters
    ----------
    result : Norms of ONE sequence, [T+1, T+1].
    log_bound_rate : ln(γλ); draws the contours where the bound (γλ)^(t-k) of E14 passes powers of ten.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If the table is not that of one sequence.
    """
    log_norm = np.asarray(result.log_norm)
    if log_norm.ndim != 2:
        raise ValueError(
            f"plots.plot_norms: log_norm has shape {log_norm.shape}; expected one sequence, [T+1, T+1]. "
            "Index the batch first."
        )
    ax = axes(ax, 6.2, 5.0)
    below = np.tri(len(log_norm), dtype=bool)
    found = _heatmap(
        ax, log_norm, result.certified, below, r"$\log_{10}\,\|\partial h_t/\partial h_k\|_2$", aspect="equal"
    )
    if found:
        ax.legend(handles=found, fontsize="small", loc="upper left")
    if log_bound_rate is not None:
        _bound_contours(ax, len(log_norm), to_log10(log_bound_rate))
    ax.set(xlabel="k (step of the earlier state)", ylabel="t (step of the later state)")
    return ax


@_checks.signature("plots.plot_depth_time")
def plot_depth_time(blocks: dict[str, dict[str, Norms]], *, ax: Axes | None = None) -> Axes:
    """Heatmap of log10 ‖∂(top layer at T)/∂(layer l at k)‖₂: depth against time (E16).

    Colours and marks are those of `plot_norms`.

    Parameters
    ----------
    blocks : of ``block_norms(js, state, by="layer")`` of one sequence, or with ``at=[T]``, which is cheaper.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If a table is not that of one sequence, or its last row is not that of T with all k.
    """
    if not blocks:
        raise ValueError("plots.plot_depth_time: blocks is empty; expected those of jacobians.block_norms.")
    top = list(blocks)[-1]
    shape = np.shape(blocks[top][top].log_norm)
    # The last entry is lag 0, whose norm is 1, unless the columns are lags or the row is an earlier time.
    if len(shape) != 2 or shape[1] < 2 or np.asarray(blocks[top][top].log_norm)[-1, -1] != 0:
        raise ValueError(
            f"plots.plot_depth_time: the tables have shape {shape}; expected those of one sequence, "
            "[T+1, T+1] or [1, T+1] with at=[T], T at least 1. Index the batch first; give no lags."
        )
    # Latest first, which is by lag; lag 0 says nothing.
    log_norm = np.stack([np.asarray(block.log_norm)[-1, -2::-1] for block in blocks[top].values()])
    certified = np.stack([np.asarray(block.certified)[-1, -2::-1] for block in blocks[top].values()])
    ax = axes(ax, 6.2, 1.6 + 0.5 * len(log_norm))
    label = r"$\log_{10}\,\|\partial h_T^{\mathrm{top}}/\partial h_k^{(l)}\|_2$"
    found = _heatmap(ax, log_norm, certified, np.ones(log_norm.shape, bool), label, aspect="auto", x=1)
    if found:
        ax.legend(handles=found, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    ax.set_yticks(range(len(log_norm)), labels=list(blocks[top]))
    ax.set(xlabel="lag T − k (steps)", ylabel="layer l")
    return ax


def _heatmap(ax, log_norm, certified, shown, label, *, aspect, x=0):
    """Draw the decades of what is shown, from x on; return legend patches of the marks in it."""
    marks = {
        "not certified": shown & ~np.asarray(certified) & ~np.isnan(log_norm),
        "exactly 0": shown & (log_norm == -np.inf),
        "NaN": shown & np.isnan(log_norm),
    }
    decades = np.where(shown, finite(to_log10(log_norm)), np.nan)
    rows, columns = decades.shape
    frame = {
        "origin": "lower",
        "interpolation": "nearest",
        "extent": (x - 0.5, x + columns - 0.5, -0.5, rows - 0.5),
        "aspect": aspect,
    }
    ground = np.full((rows, columns, 3), to_rgb(_NOTHING))
    ground[marks["exactly 0"]] = to_rgb(_ZERO)
    ground[marks["NaN"]] = to_rgb(_NAN)
    ax.imshow(ground, **frame)
    # A tenth of a decade is what certified means, so less is no full colour.
    largest = np.nanmax(np.abs(decades), initial=0.1)
    low = min(np.nanmin(decades, initial=0), -0.05 * largest)
    high = max(np.nanmax(decades, initial=0), 0.05 * largest)
    image = ax.imshow(decades, cmap="RdBu_r", norm=TwoSlopeNorm(0.0, low, high), **frame)
    bar = ax.figure.colorbar(image, ax=ax, label=label)
    # White is 0 and the two sides have scales of their own, so each needs its ticks.
    ticks = [*np.linspace(low, 0, 4)[:-1], 0, *np.linspace(0, high, 3)[1:]]
    digits = max(1, int(np.ceil(-np.log10(min(-low / 3, high / 2)))))
    bar.set_ticks(ticks, labels=[f"{tick:+.{digits}f}".replace("-", "−") if tick else "0" for tick in ticks])
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    _hatch(ax, marks["not certified"], x)
    styles: dict[str, dict[str, Any]] = {
        "not certified": _FLAGGED,
        "exactly 0": {"color": _ZERO},
        "NaN": {"color": _NAN},
    }
    return [Patch(**styles[name], label=name) for name, where in marks.items() if where.any()]


def _hatch(ax, where, x):
    """Hatch the cells of a mask, a box for every run of a row."""
    edges = np.diff(np.pad(where.astype(int), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(edges == 1)
    _, stop = np.nonzero(edges == -1)
    left, right, low, high = x + start - 0.5, x + stop - 0.5, row - 0.5, row + 0.5
    corners = np.stack([[left, low], [right, low], [right, high], [left, high]])
    if len(row):
        ax.add_collection(PolyCollection(list(corners.transpose(2, 0, 1)), **_FLAGGED), autolim=False)


def _bound_contours(ax, size, rate):
    lag = np.arange(size)[:, None] - np.arange(size)[None, :]
    bound = np.where(lag >= 0, lag * rate, np.nan)
    extent = abs(rate) * (size - 1)
    if extent < 1:
        ax.set_title(
            f"bound $(\\gamma\\lambda)^{{t-k}}$ within one decade: {rate:+.4f} decades a step",
            fontsize="small",
        )
        return
    step = max(1, int(np.ceil(extent / 5)))
    levels = np.sign(rate) * step * np.arange(1, int(extent // step) + 1)
    contours = ax.contour(bound, levels=np.sort(levels), colors="k", linewidths=0.8, linestyles="--")
    ax.clabel(contours, fmt=lambda level: f"bound $10^{{{level:.0f}}}$", fontsize="x-small")
