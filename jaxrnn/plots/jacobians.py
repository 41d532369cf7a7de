"""Pictures of ∂h_t/∂h_k: the heatmap, the norm against the lag, the fan of singular values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, TwoSlopeNorm

from jaxrnn.jacobians import NormByLag, Norms, Spectrum
from jaxrnn.plots.style import CYCLE, axes, finite, to_log10

__all__ = ["plot_norm_by_lag", "plot_norms", "plot_spectrum_fan"]


def plot_norms(result: Norms, *, log_bound_rate: float | None = None, ax: Axes | None = None) -> Axes:
    """Heatmap of log10 ‖∂h_t/∂h_k‖₂ over all pairs of one sequence (E15).

    Red grows, blue decays, white keeps the norm. Pairs that are not certified are grey.

    Parameters
    ----------
    result : Norms of ONE sequence, [T+1, T+1].
    log_bound_rate : ln(γλ); draws the contours where the bound (γλ)^(t-k) of E14 passes powers of ten.
    ax : axes to draw into.
    """
    log_norm = np.asarray(result.log_norm)
    if log_norm.ndim != 2:
        raise ValueError(
            f"plots.plot_norms: log_norm has shape {log_norm.shape}; expected one sequence, [T+1, T+1]. "
            "Index the batch first."
        )
    ax = axes(ax, 6.2, 5.0)
    decades = np.where(np.asarray(result.certified), finite(to_log10(log_norm)), np.nan)
    decades = np.where(np.tri(len(decades), dtype=bool), decades, np.nan)
    largest = np.nanmax(np.abs(decades), initial=1e-3)
    low, high = (
        min(np.nanmin(decades, initial=0), -0.05 * largest),
        max(np.nanmax(decades, initial=0), 0.05 * largest),
    )
    ax.set_facecolor("#dddddd")
    above = np.ma.masked_where(np.tri(len(decades), dtype=bool), np.ones_like(decades))
    ax.imshow(above, cmap="gray", vmin=0, vmax=1, origin="lower")
    image = ax.imshow(
        decades, cmap="RdBu_r", norm=TwoSlopeNorm(0.0, low, high), origin="lower", interpolation="nearest"
    )
    bar = ax.figure.colorbar(image, ax=ax, label=r"$\log_{10}\,\|\partial h_t/\partial h_k\|_2$")
    # White is 0 and the two sides have scales of their own, so each needs its ticks.
    ticks = [*np.linspace(low, 0, 4)[:-1], 0, *np.linspace(0, high, 3)[1:]]
    bar.set_ticks(ticks, labels=[f"{tick:+.1f}".replace("-", "−") if tick else "0" for tick in ticks])
    if log_bound_rate is not None:
        _bound_contours(ax, len(decades), to_log10(log_bound_rate))
    ax.set(xlabel="k (step of the earlier state)", ylabel="t (step of the later state)")
    return ax


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
