"""Pictures of the gradient by lag, of saturation, and of what truncation loses."""

import numpy as np
import pytest

from jaxrnn.diagnosis import Comparison, Saturation
from jaxrnn.plots import plot_gradient_by_lag, plot_loss_curves, plot_saturation, plot_window_error
from jaxrnn.plots.style import CYCLE
from jaxrnn.training import History, TrainResult

rng = np.random.default_rng(0)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def comparison(windows=("1", "4", "full"), steps=9, seeds=3):
    runs = [
        TrainResult(
            None,
            None,
            None,
            History(
                rng.uniform(1, 2, (seeds, steps)), np.ones((seeds, steps)), np.arange(1.0, steps + 1) / 7, 0.0
            ),
            False,
        )
        for _ in windows
    ]
    error = np.array(
        [rng.uniform(0.1, 1, seeds) if window != "full" else np.zeros(seeds) for window in windows]
    )
    numbers = tuple(None if window == "full" else int(window) for window in windows)
    return Comparison(windows, numbers, tuple(runs), error, error, error, np.ones(len(windows)))


def test_gradient_by_lag_draws_shares_in_per_cent(ax):
    profile = np.array([6.0, 3.0, 1.0])
    assert plot_gradient_by_lag(profile, horizon=2, label="gru", ax=ax) is ax
    line, horizon = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [60, 30, 10])
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(horizon.get_xdata(), [2, 2])
    assert labels(ax) == ["gru", "99 % within lag 2"]
    assert "steps" in ax.get_xlabel() and "%" in ax.get_ylabel() and ax.get_yscale() == "log"


def test_gradient_by_lag_without_options_has_one_line(ax):
    plot_gradient_by_lag(np.ones(2), ax=ax)
    assert len(ax.lines) == 1 and labels(ax) == ["terms of one lag"]


def test_networks_and_their_horizons_share_a_colour(ax):
    for name in "ab":
        plot_gradient_by_lag(np.ones(3), horizon=1, label=name, ax=ax)
    assert [line.get_color() for line in ax.lines] == [CYCLE[0]] * 2 + [CYCLE[1]] * 2


@pytest.mark.parametrize(
    ("profile", "drawn"),
    [
        ([3.0, 0.0, 1.0], [75, np.nan, 25]),
        ([np.nan, 2.0, 2.0], [np.nan, 50, 50]),
        ([0.0, 0.0], [np.nan, np.nan]),
        ([np.nan, np.inf], [np.nan, np.nan]),
        ([5.0], [100]),
    ],
)
def test_gradient_by_lag_leaves_out_zeros_and_what_is_not_finite(ax, profile, drawn):
    plot_gradient_by_lag(np.array(profile), ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), drawn)


def test_saturation_draws_a_density_of_every_leaf(ax):
    edges = np.linspace(-1, 1, 5)
    bounded = Saturation(np.array([1.0, 0.0, 0.0, 3.0]), edges, 0.25)
    wide = Saturation(np.array([2.0, 2.0]), np.array([-3.0, 0.0, 5.0]), None)
    assert plot_saturation({"": bounded, "0.c": wide}, names={"0.c": "lstm c"}, ax=ax) is ax
    first, second = ax.lines
    np.testing.assert_allclose(first.get_xdata(), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(first.get_ydata(), [0.5, 0, 0, 1.5])
    np.testing.assert_allclose(second.get_ydata(), [0.5 / 3, 0.1])
    assert labels(ax) == ["h: 25.0% saturated", "lstm c: from -3 to 5"]
    assert ax.get_xlim() == (-1.05, 1.05) and "density" in ax.get_ylabel() and "value" in ax.get_xlabel()


def test_saturation_of_an_unbounded_leaf_alone_shows_its_whole_range(ax):
    plot_saturation({"c": Saturation(np.array([2.0, 2.0]), np.array([-3.0, 0.0, 5.0]), None)}, ax=ax)
    low, high = ax.get_xlim()
    assert low < -1.5 and high > 2.5


def test_saturation_of_no_finite_value_still_draws(ax):
    plot_saturation({"h": Saturation(np.zeros(4), np.linspace(-1, 1, 5), None)}, ax=ax)
    assert not ax.lines[0].get_ydata().any()


@pytest.mark.parametrize("against", ["steps", "seconds"])
def test_loss_curves_draw_median_and_range_over_seeds(ax, against):
    data = comparison()
    assert plot_loss_curves(data, against=against, ax=ax) is ax
    for line, band, run in zip(ax.lines, ax.collections, data.results, strict=True):
        x = np.arange(1, 10) if against == "steps" else run.history.seconds
        np.testing.assert_allclose(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), np.sort(run.history.loss, axis=0)[1])
        place, edge = band.get_paths()[0].vertices.T
        np.testing.assert_allclose(min(edge[place == x[4]]), run.history.loss[:, 4].min())
        np.testing.assert_allclose(max(edge[place == x[4]]), run.history.loss[:, 4].max())
    assert labels(ax) == ["K = 1", "K = 4", "full BPTT"]
    assert ("(s)" in ax.get_xlabel()) == (against == "seconds")
    assert ax.get_ylabel() == "training loss"
    assert ax.lines[-1].get_color() == "k"


def test_many_estimators_that_share_a_colour_differ_in_their_line(ax):
    plot_loss_curves(comparison((*"12345678", "full")), ax=ax)
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 9


def test_loss_curves_show_the_baseline_and_the_unit(ax):
    plot_loss_curves(comparison(), baseline=1.25, unit="nats", ax=ax)
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), [1.25, 1.25])
    assert labels(ax)[-1] == "naive baseline" and ax.get_ylabel() == "training loss (nats)"


def test_long_loss_curves_are_trailing_means_over_a_thirtieth(ax):
    data = comparison(("full",), steps=90, seeds=1)
    plot_loss_curves(data, ax=ax)
    loss = data.results[0].history.loss[0]
    drawn = ax.lines[0].get_ydata()
    np.testing.assert_allclose(drawn[2:], [np.mean(loss[i - 2 : i + 1]) for i in range(2, 90)])
    np.testing.assert_allclose(drawn[0], loss[0])


@pytest.mark.parametrize(("steps", "seeds"), [(1, 1), (3, 2)])
def test_short_and_diverged_runs_still_draw(ax, steps, seeds):
    data = comparison(steps=steps, seeds=seeds)
    data.results[0].history.loss[0, -1] = np.nan
    data.results[1].history.loss[:] = np.inf
    plot_loss_curves(data, ax=ax)
    assert np.isnan(ax.lines[0].get_ydata()[-1]) and np.isnan(ax.lines[1].get_ydata()).all()


@pytest.mark.usefixtures("unchecked_types")
def test_loss_curves_know_two_axes_only(ax):
    with pytest.raises(ValueError, match="against is 'hours'; expected 'steps' or 'seconds'"):
        plot_loss_curves(comparison(), against="hours", ax=ax)


def test_window_error_draws_the_line_and_the_chunks_without_full(ax):
    data = comparison()
    assert plot_window_error(np.array([0.5, 0.1, 0.0]), comparison=data, label="gru", ax=ax) is ax
    line, points = ax.lines[0], ax.lines[1]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), [0.5, 0.1, np.nan])
    np.testing.assert_array_equal(points.get_xdata(), [1, 4])
    np.testing.assert_allclose(points.get_ydata(), data.relative_error[:2].mean(axis=1))
    ends = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(ends[:, 0], data.relative_error[:2].min(axis=1))
    np.testing.assert_allclose(ends[:, 1], data.relative_error[:2].max(axis=1))
    assert labels(ax) == ["gru, sliding window", "gru, chunks of K steps"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "steps" in ax.get_xlabel() and "relative error" in ax.get_ylabel()


def test_networks_that_have_chunks_only_get_their_own_colours_and_no_empty_entry(ax):
    for name in "ab":
        plot_window_error(np.zeros(0), comparison=comparison(), label=name, ax=ax)
    assert sorted(labels(ax)) == ["a, chunks of K steps", "b, chunks of K steps"]
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_color() for line in points] == list(CYCLE[:2])


@pytest.mark.parametrize("error", [[], [0.0], [np.nan, np.inf], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("windows", [("full",), ("2", "full")])
def test_a_window_that_loses_nothing_still_draws(ax, error, windows):
    data = comparison(windows)
    plot_window_error(
        np.array(error), comparison=data._replace(relative_error=np.zeros((len(windows), 3))), ax=ax
    )
    plot_window_error(np.array(error), comparison=data, ax=ax)
