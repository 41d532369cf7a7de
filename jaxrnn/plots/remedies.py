"""Remedies side by side: how far the gradient reaches before and after training, and what the task says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jaxrnn import _checks
from jaxrnn.plots.style import CYCLE, axes, finite, to_log10
from jaxrnn.remedies import Bench

__all__ = ["plot_remedies", "plot_remedy_reach", "plot_remedy_training"]


@_checks.signature("plots.plot_remedies")
def plot_remedies(bench: Bench, *, axs: Iterable[Axes] | None = None) -> list[Axes]:
    """Norm at lag T before and after training, horizon, and held-out loss: a row for each remedy (E20-E22).

    Parameters
    ----------
    bench : of `remedies.bench`.
    axs : three axes to draw into, side by side.

    Returns
    -------
    The three axes. A dot is the median over the seeds, a line reaches from the lowest to the highest; norms
    of exactly 0 and losses that are not finite are left out.
    """
    outcomes = bench.outcomes
    if axs is None:
        height = 1.6 + 0.28 * len(outcomes)
        _, axs = plt.subplots(1, 3, figsize=(11.0, height), sharey=True, layout="constrained")
    axs = _exactly("plots.plot_remedies", axs, 3)
    norm_ax, horizon_ax, loss_ax = axs
    for y, outcome in enumerate(outcomes):
        for shift, reach, color in ((-0.15, outcome.before, CYCLE[5]), (0.15, outcome.after, CYCLE[0])):
            _range(norm_ax, to_log10(reach.log_norm[:, -1]), y + shift, color)
        last = [np.nan if after is None else after for _, after in outcome.horizons]
        _range(horizon_ax, last, y, CYCLE[0])
        _range(loss_ax, outcome.after.loss, y, CYCLE[2] if outcome.solved.all() else CYCLE[1])
    for color, label in ((CYCLE[5], "at the start"), (CYCLE[0], "after training")):
        norm_ax.plot([], [], "o-", color=color, markersize=4, label=label)
    norm_ax.axvline(0, color="0.6", linewidth=0.8)
    norm_ax.legend(fontsize=8)
    norm_ax.set_xlabel(rf"$\log_{{10}}\,\|\partial h_T/\partial h_0\|_2$, T = {bench.length}")
    horizon_ax.set_xlim(0, bench.length)
    horizon_ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    horizon_ax.set_xlabel("99 % of the gradient within lag")
    loss_ax.set_xscale("log")
    loss_ax.axvline(bench.baseline, color="0.3", linestyle="--", linewidth=0.8, label=bench.baseline_name)
    loss_ax.axvline(bench.solved_below, color="0.3", linestyle=":", linewidth=0.8, label="solved")
    loss_ax.legend(fontsize=8)
    loss_ax.set_xlabel(f"held-out loss ({bench.loss_unit})")
    for ax in axs:
        ax.set_yticks(range(len(outcomes)), labels=[outcome.name for outcome in outcomes])
        ax.set_ylim(len(outcomes) - 0.5, -0.5)
    return axs


@_checks.signature("plots.plot_remedy_reach")
def plot_remedy_reach(
    bench: Bench, names: Sequence[str] | None = None, *, after: bool = False, ax: Axes | None = None
) -> Axes:
    """``‖∂h_T/∂h_{T-lag}‖`` by lag, a curve for each remedy: median and range over the seeds (E15).

    Parameters
    ----------
    bench : of `remedies.bench`.
    names : which remedies; by default all, of which seven can be told apart by colour.
    after : whether after training, rather than at its start.
    ax : axes to draw into.
    """
    names = _names("plots.plot_remedy_reach", bench, names)
    ax = axes(ax)
    for i, name in enumerate(names):
        outcome = bench[name]
        curves = to_log10((outcome.after if after else outcome.before).log_norm)
        low, middle, high = (
            finite(np.quantile(curves, q, axis=0, method="inverted_cdf")) for q in (0, 0.5, 1)
        )
        ax.plot(bench.lags, middle, _style(i), color=_color(i), label=name)
        ax.fill_between(bench.lags, low, high, color=_color(i), alpha=0.15, linewidth=0)
    ax.axhline(0, color="0.6", linewidth=0.8)
    when = "after training" if after else "at the start"
    ax.set(xlabel="lag T − k (steps)", ylabel=rf"$\log_{{10}}\,\|\partial h_T/\partial h_k\|_2$, {when}")
    ax.legend(fontsize=8)
    return ax


@_checks.signature("plots.plot_remedy_training")
def plot_remedy_training(
    bench: Bench, names: Sequence[str] | None = None, *, axs: Iterable[Axes] | None = None
) -> list[Axes]:
    """Training loss and gradient norm by step, a curve for each remedy: the median over the seeds.

    Parameters
    ----------
    bench : of `remedies.bench`.
    names : which remedies; by default all, of which seven can be told apart by colour.
    axs : two axes to draw into. Steps that are not finite are left out.
    """
    names = _names("plots.plot_remedy_training", bench, names)
    if axs is None:
        _, axs = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained")
    axs = _exactly("plots.plot_remedy_training", axs, 2)
    for i, name in enumerate(names):
        for ax, curves in zip(axs, (bench[name].loss, bench[name].grad_norm), strict=True):
            steps = np.arange(1, curves.shape[1] + 1)
            middle = finite(np.quantile(curves, 0.5, axis=0, method="inverted_cdf"))
            ax.plot(steps, middle, _style(i), color=_color(i), linewidth=0.8, label=name)
    axs[0].axhline(bench.baseline, color="0.3", linestyle="--", linewidth=0.8, label=bench.baseline_name)
    for ax, label in zip(
        axs, (f"training loss ({bench.loss_unit})", "gradient norm, unclipped"), strict=True
    ):
        ax.set(xlabel="step", ylabel=label, yscale="log")
    axs[0].legend(fontsize=8)
    return axs


def _names(function, bench, names):
    names = [outcome.name for outcome in bench.outcomes] if names is None else names
    _checks.at_least(function, "the number of names", len(names), 1)
    return names


def _exactly(function, axs, count):
    axs = list(axs)
    if len(axs) != count:
        raise ValueError(f"{function}: axs has {len(axs)} axes; expected {count}.")
    return axs


def _color(i):
    return CYCLE[i % len(CYCLE)]


def _style(i):
    return ("-", "--", ":", "-.")[i // len(CYCLE) % 4]


def _range(ax, values, y, color):
    values = finite(values)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    middle = np.quantile(values, 0.5, method="inverted_cdf")
    ax.plot([values.min(), values.max()], [y, y], color=color, linewidth=1.5)
    ax.plot([middle], [y], "o", color=color, markersize=4)
