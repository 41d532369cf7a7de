"""What is drawn of a bench is what was measured."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxrnn.plots import plot_remedies, plot_remedy_reach, plot_remedy_training
from jaxrnn.remedies import Bench, Outcome, Reach

LAGS = np.array([1, 3, 10])
VANISHING = [[-1, -3, -9], [-1, -2, -8], [-2, -4, -10]]
PARTLY_ZERO = [[0, -1, -np.inf], [0, 0, -2], [0, 0, -2]]


def reach(log_norm, loss):
    log_norm = np.asarray(log_norm, float)
    seeds = len(log_norm)
    profile = np.tile(0.5 ** np.arange(10.0), (seeds, 1))
    return Reach(np.asarray(loss, float), np.zeros(seeds), log_norm, np.ones(seeds), profile)


def outcome(name, before, after, loss, solved):
    trace = np.ones((len(loss), 4))
    before, after = reach(before, loss), reach(after, loss)
    return Outcome(name, "", before, after, trace, trace, 0.1, 1.0, np.asarray(solved))


BENCH = Bench(
    "made", "nats", 0.5, "a guess", 0.1, 10, 8, LAGS,
    (
        outcome("none", VANISHING, [[-1, -1, -1]] * 3, [0.4, 0.5, 0.6], [False] * 3),
        outcome("lstm", [[0, 0, 0]] * 3, PARTLY_ZERO, [0.01, 0.02, np.nan], [True] * 3),
    ),
)  # fmt: skip


@pytest.fixture
def axs():
    open_before = plt.get_fignums()
    figure = Figure(layout="constrained")
    yield figure.subplots(1, 3)
    figure.draw_without_rendering()
    assert plt.get_fignums() == open_before


def ranges(ax):
    """[(y, low, high)] of the lines that reach from seed to seed."""
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and len(set(line.get_ydata())) == 1]
    return [(line.get_ydata()[0], *line.get_xdata()) for line in lines]


def dots(ax):
    """[(y, x)] of the medians."""
    lines = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    return [(line.get_ydata()[0], line.get_xdata()[0]) for line in lines]


def test_norms_are_drawn_before_and_after_training_from_seed_to_seed(axs):
    assert plot_remedies(BENCH, axs=axs) == list(axs)
    ln10 = np.log(10)
    expected = [(-0.15, -10, -8), (0.15, -1, -1), (0.85, 0, 0), (1.15, -2, -2)]
    np.testing.assert_allclose(ranges(axs[0]), [(y, a / ln10, b / ln10) for y, a, b in expected])
    np.testing.assert_allclose(dots(axs[0])[0], (-0.15, -9 / ln10))
    assert r"\log_{10}" in axs[0].get_xlabel()
    assert "T = 10" in axs[0].get_xlabel()


def test_horizon_and_loss_have_a_row_for_each_remedy_and_the_baseline(axs):
    plot_remedies(BENCH, axs=axs)
    assert [text.get_text() for text in axs[0].get_yticklabels()] == ["none", "lstm"]
    assert dots(axs[1]) == [(0, 6), (1, 6)]
    np.testing.assert_allclose(ranges(axs[2]), [(0, 0.4, 0.6), (1, 0.01, 0.02)])
    lines = {line.get_label(): line.get_xdata()[0] for line in axs[2].lines}
    assert lines["a guess"] == 0.5
    assert lines["solved"] == 0.1
    assert axs[2].get_xscale() == "log"
    assert "nats" in axs[2].get_xlabel()


def test_curves_by_lag_are_medians_with_their_range(axs):
    ax = plot_remedy_reach(BENCH, ax=axs[0])
    none, lstm, _ = ax.lines
    np.testing.assert_array_equal(none.get_xdata(), LAGS)
    np.testing.assert_allclose(none.get_ydata(), np.array([-1, -3, -9]) / np.log(10))
    assert none.get_label() == "none"
    assert "start" in ax.get_ylabel()
    after = plot_remedy_reach(BENCH, ["lstm"], after=True, ax=axs[1])
    np.testing.assert_allclose(after.lines[0].get_ydata()[2], -2 / np.log(10))
    assert "after" in after.get_ylabel()
    assert len(after.collections) == 1
    assert np.isfinite(lstm.get_ydata()).all()


def test_training_is_drawn_as_the_median_loss_and_gradient_norm(axs):
    none = BENCH["none"]._replace(
        loss=np.array([[3.0, 2.0, 1.0], [5.0, np.nan, 4.0], [9.0, 8.0, 7.0]]), grad_norm=np.full((3, 3), 0.5)
    )
    drawn = plot_remedy_training(BENCH._replace(outcomes=(none,)), axs=axs[:2])
    np.testing.assert_array_equal(drawn[0].lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(drawn[0].lines[0].get_ydata(), [5, np.nan, 4])
    np.testing.assert_array_equal(drawn[1].lines[0].get_ydata(), [0.5] * 3)
    assert [line.get_label() for line in drawn[0].lines] == ["none", "a guess"]
    assert "nats" in drawn[0].get_ylabel()
    assert "gradient norm" in drawn[1].get_ylabel()
    with pytest.raises(ValueError, match="axs has 3 axes; expected 2"):
        plot_remedy_training(BENCH, axs=axs)


def test_wrong_axes_and_names_are_refused(axs):
    with pytest.raises(ValueError, match="axs has 2 axes; expected 3"):
        plot_remedies(BENCH, axs=axs[:2])
    with pytest.raises(KeyError, match="no remedy 'gru'"):
        plot_remedy_reach(BENCH, ["gru"], ax=axs[0])
    with pytest.raises(ValueError, match="number of names is 0"):
        plot_remedy_reach(BENCH, [], ax=axs[0])
