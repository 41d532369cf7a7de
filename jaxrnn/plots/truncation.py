"""What a truncation window loses: the error of its gradient, and its loss curve."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from jaxrnn.diagnosis import Comparison
from jaxrnn.plots.style import CYCLE, axes, finite

__all__ = ["plot_loss_curves", "plot_window_error"]

_FLOOR = 1e-8
# Relative errors below this are beyond float32 and are not shown.


def plot_loss_curves(
    result: Comparison,
    *,
    against: str = "steps",
    baseline: float | None = None,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Training loss of every window, median and range over the seeds, smoothed over 1/30 of the run.

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
        color = "k" if label == "full" else CYCLE[i % (len(CYCLE) - 1)]
        ax.plot(
            x,
            np.median(loss, axis=0),
            "-",
            color=color,
            label="full BPTT" if label == "full" else f"K = {label}",
        )
        ax.fill_between(x, loss.min(axis=0), loss.max(axis=0), color=color, alpha=0.15, linewidth=0)
    if baseline is not None:
        ax.axhline(baseline, color="0.5", linestyle=":", label="naive baseline")
    ax.set(
        xlabel="training step" if against == "steps" else "wall time (s), without compilation",
        ylabel="training loss" + (f" ({unit})" if unit else ""),
    )
    ax.legend(fontsize="small", title="window")
    return ax


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
        rows = [i for i, window in enumerate(comparison.labels) if window != "full"]
        windows = [int(comparison.labels[i]) for i in rows]
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


def _smooth(loss):
    """Trailing mean over 1/30 of the steps."""
    width = max(1, loss.shape[1] // 30)
    padded = np.concatenate([np.repeat(loss[:, :1], width - 1, axis=1), loss], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).mean(axis=-1)
