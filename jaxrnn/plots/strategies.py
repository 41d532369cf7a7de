"""Ways to cut backpropagation through time, drawn over a line of text."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from jaxrnn import _checks
from jaxrnn.plots.style import CYCLE, axes

__all__ = ["plot_strategies"]

_GAP = 0.12
# Half of the gap between two segments, in characters.


@_checks.signature("plots.plot_strategies")
def plot_strategies(text: str, *, window: int, cuts: Sequence[int], ax: Axes | None = None) -> Axes:
    """Randomized, regular and no truncation as segments over a line of text (E17, E18, E19).

    Within a segment the gradient flows back from the last character to the first, along the arrow; between
    two segments nothing flows. The state is handed on everywhere.

    Parameters
    ----------
    text : a character a step, up to about 60.
    window : K, the length of the regular segments; the last one may be short.
    cuts : after how many characters the randomized truncation happens to cut, rising.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If the text is empty, window < 1, or the cuts do not rise within 1..len(text) - 1.
    """
    T = _checks.at_least("plots.plot_strategies", "the length of text", len(text), 1)
    window = _checks.at_least("plots.plot_strategies", "window", window, 1)
    cuts = _checks.listed("plots.plot_strategies", "cuts", cuts, "the first steps after a cut")
    places = [_checks.integer("plots.plot_strategies", "cuts", cut) for cut in cuts]
    if any(a >= b for a, b in zip([0, *places], [*places, T], strict=True)):
        raise ValueError(
            f"plots.plot_strategies: cuts holds {tuple(places)}; expected rising numbers from 1 to {T - 1}."
        )
    rows = {
        "full": [],
        f"regular truncation, K = {window}": range(window, T, window),
        "randomized truncation": places,
    }
    ax = axes(ax, 10.0, 2.6)
    for y, (of_row, color) in enumerate(zip(rows.values(), CYCLE, strict=False)):
        for first, end in zip([0, *of_row], [*of_row, T], strict=True):
            _segment(ax, y, first - 0.5 + _GAP, end - 0.5 - _GAP, color)
    ax.set_xticks(range(T), labels=list(text), family="monospace", fontsize=min(11, 600 / T))
    ax.set_yticks(range(len(rows)), labels=list(rows))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(-0.5, T - 0.5), ylim=(-0.5, len(rows) - 0.5))
    ax.set_xlabel("a character a step; the gradient flows back along the arrows, and not across a gap")
    return ax


def _segment(ax, y, left, right, color):
    ax.barh(y, right - left, left=left, height=0.6, color=color, alpha=0.25, linewidth=0)
    # Within one character nothing flows from step to step.
    if right - left > 1:
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=(left + 0.1, y), xytext=(right - 0.1, y), arrowprops=style)
