"""What truncation loses: the error of its gradient, its loss curve, and what the rest would cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from jaxrnn import _checks
from jaxrnn.diagnosis import Comparison
from jaxrnn.gradients import Fidelity
from jaxrnn.plots.style import CYCLE, axes, finite

__all__ = ["plot_cost", "plot_fidelity", "plot_loss_curves", "plot_window_error"]

_FLOOR = 1e-8
# Relative errors below this are beyond float32 and are not shown.
_COSINE = "cosine"
_SIDES = (("left", 8), ("right", -8))


@_checks.signature("plots.plot_loss_curves")
def plot_loss_curves(
    result: Comparison,
    *,
    against: str = "steps",
    baseline: float | None = None,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Training loss of every estimator, median and range over the seeds, smoothed over 1/30 of the run.

    Parameters
    ----------
    result : of `compare`.
    against : ``"steps"``, or ``"seconds"`` of wall time without compilation.
    baseline : the loss of a naive predictor, drawn as a dotted line.
    unit : of the loss, for the axis.
    ax : axes to draw into.
    """
    if against not in ("seconds", "steps"):
        raise ValueError(f"plots.plot_loss_curves: against is {against!r}; expected 'steps' or 'seconds'.")
    ax = axes(ax)
    for i, (label, run) in enumerate(zip(result.labels, result.results, strict=True)):
        loss = _smooth(finite(run.history.loss))
        x = np.arange(1, loss.shape[1] + 1) if against == "steps" else run.history.seconds
        again, i = divmod(i, len(CYCLE) - 1)
        color, line = ("k", "-") if label == "full" else (CYCLE[i], "--" if again else "-")
        ax.plot(x, np.median(loss, axis=0), line, color=color, label=_name(label))
        ax.fill_between(x, loss.min(axis=0), loss.max(axis=0), color=color, alpha=0.15, linewidth=0)
    if baseline is not None:
        ax.axhline(baseline, color="0.5", linestyle=":", label="naive baseline")
    ax.set(
        xlabel="training step" if against == "steps" else "wall time (s), without compilation",
        ylabel="training loss" + (f" ({unit})" if unit else ""),
    )
    ax.legend(fontsize="small")
    return ax


@_checks.signature("plots.plot_window_error")
def plot_window_error(
    window_error: Float[np.ndarray, " T"],
    *,
    comparison: Comparison | None = None,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """‖ĝ_K - g‖ / ‖g‖ against the window K: the line for a sliding window, points for chunks (E18).

    Parameters
    ----------
    window_error : [T], such as ``Diagnosis.window_error``; row K - 1.
    comparison : of `compare`; its windows are drawn as points with the range over the seeds.
    label : a name for the legend; call again with the same `ax` to compare networks.
    ax : axes to draw into.
    """
    ax = axes(ax)
    color = CYCLE[sum(line.get_linestyle() == "-" for line in ax.lines) % len(CYCLE)]
    error = finite(window_error)
    name = f"{label}, " if label else ""
    drawn = np.where(error > 0, error, np.nan)
    # An empty line has no legend entry, but moves on to the next colour.
    title = f"{name}sliding window" if error.size else None
    ax.plot(np.arange(1, len(error) + 1), drawn, "-", color=color, label=title)
    positive = bool((drawn > 0).any())
    if comparison is not None:
        rows = [i for i, window in enumerate(comparison.windows) if window is not None]
        windows = np.array([window for window in comparison.windows if window is not None])
        values = comparison.relative_error[rows]
        positive = positive or bool((values > 0).any())
        middle = values.mean(axis=1)
        spread = np.abs(np.stack([values.min(axis=1), values.max(axis=1)]) - middle)
        ax.errorbar(
            windows, middle, spread, fmt="o", color=color, markersize=4, label=f"{name}chunks of K steps"
        )
    ax.set_xscale("log")
    # matplotlib refuses a logarithmic axis without a positive value.
    if positive or ax.get_yscale() == "log":
        ax.set_yscale("log")
    if np.nanmin(drawn, initial=1.0) < _FLOOR:
        ax.set_ylim(bottom=_FLOOR)
    ax.set(xlabel="window K (steps)", ylabel="relative error of the gradient")
    ax.legend(fontsize="small")
    return ax


@_checks.signature("plots.plot_fidelity")
def plot_fidelity(
    windows: Sequence[int],
    fidelities: Sequence[Fidelity],
    *,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Relative bias (filled, left axis) and cosine (hollow, right axis) against the window K, ± one s.e.

    A bias of exactly 0 has no place on a logarithmic axis and is not drawn.

    Parameters
    ----------
    windows : K, in steps.
    fidelities : of `gradients.fidelity`, one a window.
    label : a name for the legend; call again with the same `ax` to compare networks.
    ax : axes to draw into; the cosines get a twin of it.

    Raises
    ------
    ValueError
        If there are not as many fidelities as windows, or none.
    """
    windows = list(_checks.iterated("plots.plot_fidelity", "windows", windows, "windows K"))
    for window in windows:
        _checks.at_least("plots.plot_fidelity", "windows", window, 1)
    fidelities = list(_checks.iterated("plots.plot_fidelity", "fidelities", fidelities, "one a window"))
    for found in fidelities:
        _checks.instance("plots.plot_fidelity", "fidelities", found, Fidelity)
    if not 0 < len(windows) == len(fidelities):
        raise ValueError(
            f"plots.plot_fidelity: got {len(windows)} windows and {len(fidelities)} fidelities; expected one "
            "fidelity a window, and at least one."
        )
    ax = axes(ax)
    twin = _twin(ax)
    color = CYCLE[len(ax.containers) % len(CYCLE)]
    for axis, name, line, filling in ((ax, "bias", "-", color), (twin, _COSINE, "--", "none")):
        value, error = (
            finite([getattr(part, name) for part in parts])
            for parts in (fidelities, [found.standard_error for found in fidelities])
        )
        if axis is ax:
            value = np.where(value > 0, value, np.nan)
        axis.errorbar(
            windows,
            value,
            error,
            fmt=f"o{line}",
            color=color,
            markerfacecolor=filling,
            markersize=5,
            capsize=2,
            label=f"{label}, {name}" if label else name,
        )
        # matplotlib refuses a logarithmic axis without a positive value.
        if axis is ax and (value > 0).any():
            ax.set_yscale("log")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    lowest = -1 if twin.dataLim.y0 < 0 else 0
    twin.set(yticks=np.linspace(lowest, 1, 5), ylim=(lowest - 0.05, 1.05))
    ax.set(xlabel="window K (steps)", ylabel="relative bias of the gradient")
    handles = [*ax.containers, *twin.containers]
    ax.legend(
        handles=handles, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False
    )
    return ax


def _twin(ax):
    """The axes of the cosines, of an earlier call if there was one."""
    for other in ax.get_shared_x_axes().get_siblings(ax):
        if other.get_label() == _COSINE and other.bbox.bounds == ax.bbox.bounds:
            return other
    twin = ax.twinx()
    twin.set(label=_COSINE, ylabel="cosine of the angle to the exact gradient")
    return twin


@_checks.signature("plots.plot_cost")
def plot_cost(
    costs: ArrayLike,
    errors: ArrayLike,
    *,
    labels: Sequence[str],
    error_bars: ArrayLike | None = None,
    unit: str = "time of full BPTT",
    ax: Axes | None = None,
) -> Axes:
    """What an estimator costs against how far it is off, one point each, both axes logarithmic.

    An error of 0 stands at the bottom edge, and the legend says so.

    Parameters
    ----------
    costs : such as seconds a gradient over those of full BPTT.
    errors : relative errors of the gradient.
    labels : a name for each point.
    error_bars : ± of the errors.
    unit : of the costs.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If the lengths differ, a cost is not positive and finite, or an error negative or not finite.
    """
    cost, error, bars = (
        _row(name, values)
        for name, values in (("costs", costs), ("errors", errors), ("error_bars", error_bars))
    )
    bars = np.zeros(len(error)) if error_bars is None else finite(bars)
    if not len(cost) == len(error) == len(labels) == len(bars):
        raise ValueError(
            f"plots.plot_cost: got {len(cost)} costs, {len(error)} errors, {len(labels)} labels and "
            f"{len(bars)} error bars; expected as many of each."
        )
    if not np.all((cost > 0) & np.isfinite(cost) & (error >= 0) & np.isfinite(error)):
        raise ValueError(
            "plots.plot_cost: a cost is not positive and finite, or an error is negative or not finite; "
            "leave that estimator out."
        )
    ax = axes(ax)
    some = error > 0
    low, high = 1e-3, 1.0
    if some.any():
        low, high = np.min(error[some]), np.max((error + np.nan_to_num(bars))[some])
    # Room for what stands at the bottom edge.
    ax.set(xscale="log", yscale="log", ylim=(low / (3 if some.all() else 8), 3 * high))
    ax.errorbar(cost[some], error[some], bars[some], fmt="o", color=CYCLE[0], markersize=5, capsize=2)
    if not some.all():
        edge, name = ax.get_xaxis_transform(), "error 0: exact"
        ax.plot(cost[~some], error[~some], "v", color=CYCLE[1], transform=edge, clip_on=False, label=name)
        ax.legend(fontsize="small")
    ax.margins(x=0.2)
    ax.set(xlabel=f"cost ({unit})", ylabel="relative error of the gradient")
    _label(ax, labels, np.stack([cost, error], axis=1), some)
    return ax


def _row(name, values):
    found = _checks.numbers("plots.plot_cost", name, () if values is None else values, "one number a point")
    if found.ndim != 1:
        raise ValueError(f"plots.plot_cost: {name} has shape {found.shape}; expected one number a point.")
    return found.astype(float)


def _label(ax, labels, points, inside):
    """Write each label beside its point, where it covers no other point or label."""
    ax.autoscale_view()  # else the places below are those of the axes as they were
    edge = ax.get_xaxis_transform()
    systems = [ax.transData if here else edge for here in inside]
    places = [system.transform(point) for system, point in zip(systems, points, strict=True)]
    taken = [Bbox.from_extents(*(place - 5), *(place + 5)) for place in places]
    for label, point, here in zip(labels, points, inside, strict=True):
        text = ax.annotate(
            label,
            point,
            xycoords="data" if here else edge,
            xytext=(0, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize="small",
        )
        for (side, dx), dy in product(_SIDES, (0, 8, -8, 14, -14, 20) if here else (8, 20, 32)):
            text.set(horizontalalignment=side)
            text.xyann = dx, dy
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def _name(label):
    if label == "full":
        return "full BPTT"
    return f"K = {label}" if label.isdecimal() else label


def _smooth(loss):
    """Trailing mean over 1/30 of the steps."""
    width = max(1, loss.shape[1] // 30)
    padded = np.concatenate([np.repeat(loss[:, :1], width - 1, axis=1), loss], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).mean(axis=-1)
