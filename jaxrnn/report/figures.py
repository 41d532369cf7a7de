"""The report's pictures, drawn with `jaxrnn.plots`, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from jaxrnn import plots
from jaxrnn.report.study import Study
from jaxrnn.tasks import Task

__all__ = ["NAMES", "Picture", "draw"]

NAMES = ("norm_by_lag", "norms", "gradient_by_lag", "spectrum_fan", "saturation", "window_error", "loss")
"""Every picture that a report may have."""

_WIDTH, _HEIGHT, _DPI = 4.6, 3.7, 110


class Picture(NamedTuple):
    """One PNG with the question that it answers."""

    name: str
    title: str
    caption: str
    png: bytes


def draw(studies: Sequence[Study], task: Task) -> Iterator[Picture]:
    """Every picture that the studies have numbers for."""
    if studies[0].diagnosis:
        yield _norm_by_lag(studies)
        yield _heatmaps(studies)
        yield _gradient_by_lag(studies)
        yield _fans(studies)
        yield _saturation(studies)
    if studies[0].comparison:
        if studies[0].diagnosis or len(studies[0].comparison.labels) > 1:
            yield _window_error(studies)
        yield _loss_curves(studies, task)


def _picture(name, title, caption, figure, *, shades=False):
    """A palette takes a third of the bytes; shades of a scale keep all their colours."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    with Image.open(buffer) as image:
        drawn = image if shades else image.convert("RGB").quantize(256)
        drawn.save(small, format="png", optimize=True)
    return Picture(name, title, caption, small.getvalue())


def _panels(rows, columns):
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _single():
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    return figure, figure.subplots()


def _norm_by_lag(studies):
    figure, ax = _single()
    for s in studies:
        plots.plot_norm_by_lag(
            s.diagnosis.norm_by_lag, label=s.cell, log_bound_rate=s.diagnosis.log_bound_rate, ax=ax
        )
    caption = (
        "Median over all pairs of steps and sequences, with a band from 10 % to 90 %. A falling line is a "
        "vanishing gradient, a rising one an exploding gradient; its slope is the growth rate per step. "
        "Dashed: the bound (γλ)^(t−k), where the cell has one."
    )
    return _picture("norm_by_lag", "Does the gradient vanish or explode?", caption, figure)


def _heatmaps(studies):
    figure, (row,) = _panels(1, len(studies))
    for ax, s in zip(row, studies, strict=True):
        first = jax.tree.map(lambda table: table[0], s.diagnosis.norms)
        plots.plot_norms(first, log_bound_rate=s.diagnosis.log_bound_rate, ax=ax)
        _head(ax, s.cell)
    caption = (
        "Every pair (t, k) of one held-out sequence. Blue: the influence of step k on step t has decayed, "
        "red: it has grown. Hatched pairs are not certified."
    )
    return _picture("norms", "Which step still feels which?", caption, figure, shades=True)


def _gradient_by_lag(studies):
    figure, ax = _single()
    for s in studies:
        plots.plot_gradient_by_lag(s.diagnosis.lag_profile, horizon=s.diagnosis.horizon, label=s.cell, ax=ax)
    caption = (
        "The gradient of the loss split by the lag t−k, over the recurrent layer's parameters. Behind the "
        "dashed line lies the last 1 % of its norm."
    )
    return _picture("gradient_by_lag", "How far back does the gradient reach?", caption, figure)


def _fans(studies):
    figure, (row,) = _panels(1, len(studies))
    for ax, s in zip(row, studies, strict=True):
        plots.plot_spectrum_fan(s.diagnosis.fan_lags, s.diagnosis.fan, ax=ax)
        _head(ax, s.cell)
    caption = (
        "All singular values of ∂h_T/∂h_k that are certified, against the lag. The top line is the norm; how "
        "far the others fall below it says how few directions of the state are remembered."
    )
    return _picture("spectrum_fan", "How many directions survive?", caption, figure)


def _saturation(studies):
    figure, ax = _single()
    leaves, names = {}, {}
    for s in studies:
        for path, leaf in s.diagnosis.saturation.items():
            leaves[f"{s.cell} {path}"] = leaf
            part = path.partition(".")[2] or "h"
            names[f"{s.cell} {path}"] = f"{s.cell} {part}"
    plots.plot_saturation(leaves, names=names, ax=ax)
    caption = (
        "Where the units sit. A unit near ±1 is saturated: its derivative is near 0 and stops the gradient. "
        "An LSTM's memory c is not bounded."
    )
    return _picture("saturation", "Are the units saturated?", caption, figure)


def _window_error(studies):
    figure, ax = _single()
    for s in studies:
        error = s.diagnosis.window_error if s.diagnosis else np.zeros(0)
        plots.plot_window_error(error, comparison=s.comparison, label=s.cell, ax=ax)
    caption = (
        "The distance between the truncated and the exact gradient, at the parameters that full BPTT ends "
        "at. Chunks lose more than a sliding window of the same length, since the losses at a chunk's start "
        "reach back less."
    )
    return _picture("window_error", "What does truncation lose in the gradient?", caption, figure)


def _loss_curves(studies, task):
    figure, grid = _panels(2, len(studies))
    for against, row in zip(("steps", "seconds"), grid, strict=True):
        for ax, s in zip(row, studies, strict=True):
            plots.plot_loss_curves(
                s.comparison, against=against, baseline=task.baseline, unit=task.loss_unit, ax=ax
            )
            _head(ax, s.cell)
    caption = (
        "The same networks from the same seeds on the same data. Above against steps, below against wall "
        "time of this run, compilation left out. Lines are medians over the seeds, bands their range."
    )
    return _picture("loss", "What does truncation lose in training?", caption, figure)


def _head(ax, cell):
    """The cell's name above whatever note the plot itself has put there."""
    note = ax.get_title()
    ax.set_title(f"{cell}\n{note}" if note else cell, fontsize="medium" if not note else "small")
