"""Loss curves: truncated against full BPTT."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from jaxrnn.diagnosis import Comparison
from jaxrnn.plots.style import CYCLE, axes, finite

__all__ = ["plot_loss_curves"]


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


def _smooth(loss):
    """Trailing mean over 1/30 of the steps."""
    width = max(1, loss.shape[1] // 30)
    padded = np.concatenate([np.repeat(loss[:, :1], width - 1, axis=1), loss], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).mean(axis=-1)
