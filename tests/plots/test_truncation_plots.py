"""Pictures of how one can truncate, what is lost by it, and what the estimators cost."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import ArrowStyle

from jaxrnn.gradients import Fidelity, Measures
from jaxrnn.plots import plot_cost, plot_fidelity, plot_gradient_by_lag, plot_strategies
from jaxrnn.plots.style import CYCLE

TEXT = "abcdefghij"


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def segments(ax):
    """{row: [(first, last) character of every bar]}, and the same of the arrows, from head to tail."""
    bars, arrows = {}, {}
    for bar in ax.patches:
        y = round(bar.get_y() + bar.get_height() / 2)
        bars.setdefault(y, []).append((round(bar.get_x() + 0.5), round(bar.get_x() + bar.get_width() - 0.5)))
    for arrow in ax.texts:
        assert isinstance(arrow.arrow_patch.get_arrowstyle(), ArrowStyle.CurveFilledB)  # a head at its end
        (head, y), (tail, _) = arrow.xy, arrow.xyann
        arrows.setdefault(y, []).append((round(head + 0.5), round(tail - 0.5)))
    return bars, arrows


def test_strategies_draw_a_bar_and_an_arrow_back_for_every_segment(ax):
    assert plot_strategies(TEXT, window=4, cuts=[3, 4, 8], ax=ax) is ax
    bars, arrows = segments(ax)
    assert bars == {
        0: [(0, 9)],
        1: [(0, 3), (4, 7), (8, 9)],
        2: [(0, 2), (3, 3), (4, 7), (8, 9)],
    }
    assert arrows == bars | {2: [(0, 2), (4, 7), (8, 9)]}
    rows = [tick.get_text() for tick in ax.get_yticklabels()]
    assert rows == ["full", "regular truncation, K = 4", "randomized truncation"]
    assert "".join(tick.get_text() for tick in ax.get_xticklabels()) == TEXT
    assert list(ax.get_xticks()) == list(range(10)) and "gradient flows back" in ax.get_xlabel()


def test_segments_do_not_touch(ax):
    plot_strategies(TEXT, window=2, cuts=[5], ax=ax)
    for y in range(3):
        ends = sorted(
            (b.get_x(), b.get_x() + b.get_width()) for b in ax.patches if round(b.get_y() + 0.3) == y
        )
        assert all(right < left for (_, right), (left, _) in pairwise(ends))


def test_a_window_of_the_whole_text_or_a_single_character_cuts_nothing(ax):
    plot_strategies(TEXT, window=10, cuts=[], ax=ax)
    assert set(map(tuple, segments(ax)[0].values())) == {((0, 9),)}
    other = ax.figure.add_subplot()
    plot_strategies("a", window=3, cuts=(), ax=other)
    assert len(other.patches) == 3 and not other.texts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 1, ()), "the length of text is 0; expected at least 1"),
        ((TEXT, 0, ()), "window is 0; expected at least 1"),
        ((TEXT, 4, (0,)), r"cuts holds \(0,\); expected rising numbers from 1 to 9"),
        ((TEXT, 4, (3, 3)), r"cuts holds \(3, 3\)"),
        ((TEXT, 4, (10,)), r"cuts holds \(10,\)"),
    ],
)
def test_strategies_name_what_cannot_be_drawn(ax, arguments, message):
    text, window, cuts = arguments
    with pytest.raises(ValueError, match=message):
        plot_strategies(text, window=window, cuts=cuts, ax=ax)


def fidelities(bias, cosine, error=0.01):
    return [
        Fidelity(b, c, 1.0, 1.0, 0.0, Measures(error * b, error, 0.0, 0.0, 0.0), None)
        for b, c in zip(bias, cosine, strict=True)
    ]


def drawn(container):
    """(x, y, half lengths of the error bars) of a curve."""
    line, _, (bars,) = container.lines
    half = np.array([(segment[1, 1] - segment[0, 1]) / 2 for segment in bars.get_segments() if len(segment)])
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), half


def twin_of(ax):
    (twin,) = [other for other in ax.get_shared_x_axes().get_siblings(ax) if other is not ax]
    return twin


def test_fidelity_draws_bias_and_cosine_with_their_errors(ax):
    windows, bias, cosine = [1, 4, 16], np.array([0.9, 0.5, 0.01]), np.array([0.5, 0.8, 1.0])
    assert plot_fidelity(windows, fidelities(bias, cosine), ax=ax) is ax
    twin = twin_of(ax)
    for (x, y, half), value, error in (
        (drawn(ax.containers[0]), bias, 0.01 * bias),
        (drawn(twin.containers[0]), cosine, 0.01),
    ):
        np.testing.assert_array_equal(x, windows)
        np.testing.assert_allclose(y, value)
        np.testing.assert_allclose(half, np.broadcast_to(error, 3), rtol=1e-6)
    assert (ax.get_xscale(), ax.get_yscale(), twin.get_yscale()) == ("log", "log", "linear")
    assert "steps" in ax.get_xlabel() and "bias" in ax.get_ylabel() and "cosine" in twin.get_ylabel()
    assert labels(ax) == ["bias", "cosine"] and twin.get_ylim() == (-0.05, 1.05)


def test_networks_share_the_twin_and_have_their_own_colours(ax):
    for name, cosine in (("before", 0.5), ("after", -0.2)):
        plot_fidelity([1, 2], fidelities([0.5, 0.2], [cosine] * 2), label=name, ax=ax)
    twin = twin_of(ax)
    assert labels(ax) == ["before, bias", "after, bias", "before, cosine", "after, cosine"]
    for axis in (ax, twin):
        assert [c.lines[0].get_color() for c in axis.containers] == list(CYCLE[:2])
    assert twin.get_ylim() == (-1.05, 1.05)


def test_two_panels_that_share_their_windows_have_a_twin_each(ax):
    other = ax.figure.add_axes((0.1, 0.1, 0.2, 0.2), sharex=ax)
    for panel in (ax, other):
        plot_fidelity([1, 2], fidelities([0.5, 0.2], [0.5, 0.9]), ax=panel)
    assert len(ax.figure.axes) == 4


@pytest.mark.parametrize("bias", [[0.5, 0.0], [0.0, 0.0], [np.nan, np.inf]])
def test_a_bias_of_zero_or_none_is_not_drawn(ax, bias):
    plot_fidelity([1, 2], fidelities(bias, [0.5, np.nan], error=np.nan), ax=ax)
    good = [b if np.isfinite(b) and b > 0 else np.nan for b in bias]
    np.testing.assert_array_equal(ax.containers[0].lines[0].get_ydata(), good)
    np.testing.assert_array_equal(twin_of(ax).containers[0].lines[0].get_ydata(), [0.5, np.nan])


@pytest.mark.parametrize(("windows", "count"), [([], 0), ([1, 2], 1)])
def test_fidelity_wants_one_a_window(ax, windows, count):
    with pytest.raises(ValueError, match=f"got {len(windows)} windows and {count} fidelities"):
        plot_fidelity(windows, fidelities([0.5] * count, [1.0] * count), ax=ax)


def test_gradient_by_lag_marks_where_windows_cut(ax):
    plot_gradient_by_lag(0.5 ** np.arange(10.0), horizon=7, windows=(2, 4), label="gru", ax=ax)
    _, horizon, *cuts = ax.lines
    assert list(horizon.get_xdata()) == [7, 7]
    assert [list(cut.get_xdata()) for cut in cuts] == [[2, 2], [4, 4]]
    assert [(text.get_text(), text.xy[0]) for text in ax.texts] == [("K = 2", 2), ("K = 4", 4)]
    assert labels(ax) == ["gru", "99 % within lag 7"]
    plot_gradient_by_lag(0.5 ** np.arange(10.0), windows=(2,), ax=ax)
    assert ax.lines[-2].get_color() == CYCLE[1]


NAMES = (
    "full",
    "chunked 4",
    "chunked 8",
    "chunked 16",
    "sliding 4",
    "sliding 8",
    "π = 0.9",
    "forward",
    "uoro",
    "rtrl",
)
COSTS = np.array([1, 1.05, 1.1, 1.2, 2, 4, 1, 0.9, 5, 120])
ERRORS = np.array([0, 0.5, 0.3, 0.1, 0.45, 0.2, 3, 70, 12, 0])


def test_cost_draws_a_point_an_estimator_and_those_without_error_at_the_edge(ax):
    bars = 0.1 * ERRORS
    assert plot_cost(COSTS, ERRORS, labels=NAMES, error_bars=bars, ax=ax) is ax
    some = ERRORS > 0
    x, y, half = drawn(ax.containers[0])
    np.testing.assert_allclose(x, COSTS[some])
    np.testing.assert_allclose(y, ERRORS[some])
    np.testing.assert_allclose(half, bars[some])
    edge = next(line for line in ax.lines if line.get_marker() == "v")
    np.testing.assert_allclose(edge.get_xdata(), COSTS[~some])
    bottom = ax.transAxes.inverted().transform(edge.get_transform().transform(edge.get_xydata()))[:, 1]
    np.testing.assert_allclose(bottom, 0, atol=1e-12)
    assert labels(ax) == ["error 0: exact"] and (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "cost (time of full BPTT)" and "relative error" in ax.get_ylabel()
    low, high = ax.get_ylim()
    assert 0 < low < 0.1 and high > 77


@pytest.mark.parametrize(
    ("costs", "errors"),
    [
        (COSTS, ERRORS),
        (np.array([1, 1.1, 1.3, 1.6, 50]), np.array([0.3, 0.31, 0.29, 0.3, 40])),
        (np.array([1, 1.4, 100]), np.array([0.3, 0.3, 0.1])),
        (np.array([1, 1.1, 1.2]), np.zeros(3)),
    ],
    ids=["spread", "crowded", "side by side", "exact"],
)
def test_every_point_of_cost_has_its_label_and_no_label_covers_another(ax, costs, errors):
    plot_cost(costs, errors, labels=NAMES[-len(costs) :], ax=ax)
    ax.figure.draw_without_rendering()
    assert {text.get_text(): text.xy for text in ax.texts} == dict(
        zip(NAMES[-len(costs) :], zip(costs, errors, strict=True), strict=True)
    )
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    points = ax.transData.transform(np.stack([costs, errors], axis=1)[errors > 0])
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_an_error_bar_that_nobody_knows_is_not_drawn(ax):
    plot_cost([1, 2], [0.5, 0.1], labels=["a", "b"], error_bars=[np.nan, 0.05], ax=ax)
    np.testing.assert_allclose(drawn(ax.containers[0])[2], [0.05])
    assert ax.get_ylim()[1] == 1.5


@pytest.mark.parametrize("errors", [[0.0, 0.0], [0.5, 0.1], [0.5, 0.0]])
def test_the_legend_speaks_of_exact_estimators_only_where_there_are_some(ax, errors):
    plot_cost([1, 2], errors, labels=["a", "b"], unit="seconds", ax=ax)
    assert (ax.get_legend() is not None) == (0.0 in errors)
    assert ax.get_xlabel() == "cost (seconds)" and ax.get_ylim()[0] > 0


@pytest.mark.parametrize(
    ("costs", "errors", "names", "bars", "message"),
    [
        ([1.0], [0.5, 1.0], ["a"], None, "got 1 costs, 2 errors, 1 labels and 2 error bars"),
        ([1.0], [0.5], ["a"], [1.0, 2.0], "1 labels and 2 error bars"),
        ([0.0], [0.5], ["a"], None, "a cost is not positive"),
        ([1.0], [-0.5], ["a"], None, "an error is negative"),
        ([1.0], [np.nan], ["a"], None, "not finite; leave that estimator out"),
    ],
)
def test_cost_names_what_cannot_be_drawn(ax, costs, errors, names, bars, message):
    with pytest.raises(ValueError, match=message):
        plot_cost(costs, errors, labels=names, error_bars=bars, ax=ax)


def test_bias_is_filled_and_cosine_hollow(ax):
    plot_fidelity([1, 2], fidelities([0.5, 0.2], [0.5, 0.9]), ax=ax)
    bias, cosine = ax.containers[0].lines[0], twin_of(ax).containers[0].lines[0]
    assert to_rgba(bias.get_markerfacecolor()) == to_rgba(CYCLE[0])
    assert cosine.get_markerfacecolor() == "none" and cosine.get_linestyle() == "--"
