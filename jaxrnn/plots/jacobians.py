"""Pictures of ∂h_t/∂h_k against the lag: its norm, that of its blocks, the fan of singular values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from jaxrnn import _checks
from jaxrnn.jacobians import NormByLag, Norms, Spectrum
from jaxrnn.plots.style import CYCLE, axes, finite, to_log10

__all__ = ["plot_block_norms", "plot_norm_by_lag", "plot_spectrum_fan"]

_STYLES = ("-", "--", ":", "-.")


@_checks.signature("plots.plot_norm_by_lag")
def plot_norm_by_lag(
    result: NormByLag,
    *,
    log_bound_rate: float | None = None,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """log10 ‖∂h_t/∂h_k‖₂ against the lag: median, band from 10 % to 90 %, and the bounds of E14.

    Parameters
    ----------
    result : of `jacobians.norm_by_lag`.
    log_bound_rate : ln(γλ); draws the line (γλ)^lag.
    label : a name for the legend; call again with the same `ax` to compare networks.
    ax : axes to draw into.
    """
    ax = axes(ax)
    color = CYCLE[sum(line.get_linestyle() == "-" for line in ax.lines) % len(CYCLE)]
    lags = np.arange(len(result.median))
    ax.plot(lags, finite(to_log10(result.median)), "-", color=color, label=label or "median")
    ax.fill_between(
        lags, finite(to_log10(result.low)), finite(to_log10(result.high)), color=color, alpha=0.2, linewidth=0
    )
    if log_bound_rate is not None:
        rate = to_log10(log_bound_rate)
        name = rf"bound $(\gamma\lambda)^{{t-k}}$, {rate:+.2f} a step"
        ax.plot(lags, lags * rate, "--", color=color, label=name)
    _fit_to_bands(ax)
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(xlabel="lag t − k (steps)", ylabel=r"$\log_{10}\,\|\partial h_t/\partial h_k\|_2$")
    ax.legend(fontsize="small")
    return ax


def _fit_to_bands(ax):
    """Leave room above the measured norms, but not for a bound that is dozens of decades away."""
    ends = [band.get_datalim(ax.transData) for band in ax.collections]
    low, high = min([0.0, *(end.y0 for end in ends)]), max([0.0, *(end.y1 for end in ends)])
    room = max(0.4 * (high - low), 0.5)
    ax.set_ylim(low - 0.2 * room, high + room)


@_checks.signature("plots.plot_block_norms")
def plot_block_norms(blocks: dict[str, dict[str, Norms]], *, ax: Axes | None = None) -> Axes:
    """Median of log10 ‖∂(part of h_t)/∂(part of h_k)‖₂ against the lag, one line a block (E16).

    Colour is the part that is differentiated by, line style the part that is reached. Takes what
    `block_norms` returns as it is, so that no block has to be named twice; each line is the median of
    `norm_by_lag`. A block that is zero at all lags, or NaN, is in the legend only.

    Parameters
    ----------
    blocks : of `jacobians.block_norms` of all pairs: tables [T+1, T+1], or [S, T+1, T+1] of a batch.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If a table is not of all pairs.
    """
    if not blocks:
        raise ValueError("plots.plot_block_norms: blocks is empty; expected those of jacobians.block_norms.")
    ax = axes(ax)
    for i, (to, row) in enumerate(blocks.items()):
        for j, (of, block) in enumerate(row.items()):
            median = _median_by_lag(block.log_norm)
            label = rf"$\partial {_symbol(to)}_t/\partial {_symbol(of)}_k$"
            if np.isnan(median).any():
                label += " (NaN at some lags)"
            elif np.all(median[1:] == -np.inf):
                label += " (zero)"
            ax.plot(
                np.arange(len(median)),
                finite(to_log10(median)),
                _STYLES[i % len(_STYLES)],
                color=CYCLE[j % len(CYCLE)],
                label=label,
            )
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(xlabel="lag t − k (steps)", ylabel=r"$\log_{10}$ of the block's norm, median")
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _median_by_lag(log_norm):
    """As the median of `norm_by_lag`, which is of JAX: that of the nearest pair, NaN where one is."""
    tables = np.asarray(log_norm)
    if tables.ndim < 2 or tables.shape[-2] != tables.shape[-1]:
        raise ValueError(
            f"plots.plot_block_norms: a table has shape {tables.shape}; expected all pairs, [T+1, T+1] or "
            "[S, T+1, T+1]. Call block_norms without at and lags."
        )
    size = tables.shape[-1]
    by_lag = [np.sort(np.diagonal(tables, -lag, -2, -1), axis=None) for lag in range(size)]
    middle = np.array([pairs[round((len(pairs) - 1) / 2)] for pairs in by_lag])
    # NaN is sorted last.
    return np.where([np.isnan(pairs[-1]) for pairs in by_lag], np.nan, middle)


def _symbol(name):
    """The part's name as mathtext: c, h^{(0)} of layer 0, or the path as it is."""
    layer, _, leaf = name.rpartition(".")
    if name.isdigit():
        layer, leaf = name, "h"
    if len(leaf) == 1 and (layer.isdigit() or not layer):
        return f"{leaf}^{{({layer})}}" if layer else leaf
    return rf"\mathrm{{{name}}}".replace("_", r"\_")


@_checks.signature("plots.plot_spectrum_fan")
def plot_spectrum_fan(lags: Num[np.ndarray, " F"], result: Spectrum, *, ax: Axes | None = None) -> Axes:
    """All certified singular values of ∂h_T/∂h_{T-lag} against the lag, one line an index.

    Values that rounding has spoilt are left out; the fan ends where they begin.

    Parameters
    ----------
    lags : [F], such as ``Diagnosis.fan_lags``.
    result : Spectrum [F, n], such as ``Diagnosis.fan``.
    ax : axes to draw into.
    """
    ax = axes(ax)
    decades = np.where(np.asarray(result.certified), finite(to_log10(result.log_sigma)), np.nan)
    n = decades.shape[1]
    # From ½, so that the first line is not in the palest colour.
    colors = ScalarMappable(norm=LogNorm(0.5, max(n, 2)), cmap="viridis_r")
    for i in range(n):
        ax.plot(
            lags,
            decades[:, i],
            "-",
            marker=".",
            markersize=3,
            linewidth=0.8,
            color=colors.to_rgba(np.array(i + 1.0)),
        )
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    bar = ax.figure.colorbar(colors, ax=ax, label="index i of the singular value")
    ticks = [2**i for i in range(int(np.log2(n)) + 1)]
    bar.set_ticks(ticks, labels=[str(tick) for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.set_ylim(1, max(n, 2))
    ax.set(xlabel="lag T − k (steps)", ylabel=r"$\log_{10}\,\sigma_i(\partial h_T/\partial h_k)$")
    hidden = int(np.isnan(decades).sum())
    if hidden:
        ax.set_title(f"{hidden} of {decades.size} values lost in rounding, not drawn", fontsize="small")
    return ax
