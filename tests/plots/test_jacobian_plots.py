"""What is drawn of ∂h_t/∂h_k against the lag is what was measured."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

import jaxrnn as jr
from jaxrnn.jacobians import NormByLag, Norms, Spectrum
from jaxrnn.plots import plot_block_norms, plot_norm_by_lag, plot_spectrum_fan
from jaxrnn.plots.style import CYCLE

LN10 = np.log(10)
rng = np.random.default_rng(0)


def by_lag(T=6, rate=-1.0):
    median = rate * np.arange(T + 1.0)
    return NormByLag(median, median - 0.5, median + 0.25, median + 0.3)


def labels(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_norm_by_lag_draws_median_band_and_bound_in_decades(ax):
    data = by_lag()
    assert plot_norm_by_lag(data, log_bound_rate=-0.5, label="gru", ax=ax) is ax
    median, bound = ax.lines[:2]
    np.testing.assert_array_equal(median.get_xdata(), np.arange(7))
    np.testing.assert_allclose(median.get_ydata(), data.median / LN10)
    np.testing.assert_allclose(bound.get_ydata(), -0.5 * np.arange(7) / LN10)
    lag, edge = ax.collections[0].get_paths()[0].vertices.T
    np.testing.assert_allclose(min(edge[lag == 6]), data.low[6] / LN10)
    np.testing.assert_allclose(max(edge[lag == 6]), data.high[6] / LN10)
    assert labels(ax)[0] == "gru" and f"{-0.5 / LN10:+.2f} a step" in labels(ax)[1]
    assert "steps" in ax.get_xlabel() and r"\log_{10}" in ax.get_ylabel()


def test_norm_by_lag_without_options_has_a_median_only(ax):
    plot_norm_by_lag(by_lag(), ax=ax)
    assert labels(ax) == ["median"]


def test_networks_in_the_same_axes_get_their_own_colours(ax):
    for name in "abc":
        plot_norm_by_lag(by_lag(), log_bound_rate=-1.0, label=name, ax=ax)
    colors = [line.get_color() for line in ax.lines if line.get_label() in "abc"]
    assert colors == list(CYCLE[:3])


def test_the_view_fits_the_norms_and_not_a_bound_far_away(ax):
    plot_norm_by_lag(by_lag(rate=-1.0), log_bound_rate=50.0, ax=ax)
    low, high = ax.get_ylim()
    assert low < -6 / LN10 and 0 < high < 5


@pytest.mark.parametrize("hole", [np.nan, -np.inf, np.inf])
def test_norm_by_lag_leaves_gaps_where_nothing_can_be_drawn(ax, hole):
    data = by_lag()
    for curve in data:
        curve[3:] = hole
    plot_norm_by_lag(data, ax=ax)
    assert np.isnan(ax.lines[0].get_ydata()[3:]).all() and np.isfinite(ax.lines[0].get_ydata()[:3]).all()
    assert np.isfinite(ax.get_ylim()).all()


def test_norm_by_lag_of_nothing_finite_still_draws(ax):
    plot_norm_by_lag(NormByLag(*np.full((4, 3), np.nan)), ax=ax)
    assert np.isfinite(ax.get_ylim()).all()


@pytest.mark.parametrize(("F", "n"), [(3, 4), (1, 1)])
def test_fan_draws_one_line_per_singular_value(ax, F, n):
    log_sigma = -np.sort(rng.uniform(0, 9, (F, n)), axis=1)
    lags = np.arange(1, F + 1)
    plot_spectrum_fan(lags, Spectrum(log_sigma, np.zeros((F, n)), np.ones((F, n), bool)), ax=ax)
    for i in range(n):
        np.testing.assert_array_equal(ax.lines[i].get_xdata(), lags)
        np.testing.assert_allclose(ax.lines[i].get_ydata(), log_sigma[:, i] / LN10)
    assert len({to_rgba(line.get_color()) for line in ax.lines[:n]}) == n
    assert not ax.get_title() and "index" in ax.figure.axes[1].get_ylabel()
    assert r"\log_{10}" in ax.get_ylabel() and "steps" in ax.get_xlabel()


def test_fan_leaves_out_what_rounding_has_spoilt_and_says_how_much(ax):
    certified = np.array([[True, True], [True, False], [True, False]])
    log_sigma = np.array([[0.0, -1.0], [0.0, -2.0], [-np.inf, -3.0]])
    plot_spectrum_fan(np.array([1, 2, 3]), Spectrum(log_sigma, np.zeros((3, 2)), certified), ax=ax)
    np.testing.assert_array_equal(np.isnan(ax.lines[0].get_ydata()), [False, False, True])
    np.testing.assert_array_equal(np.isnan(ax.lines[1].get_ydata()), [False, True, True])
    assert "3 of 6" in ax.get_title()


def blocks_of(log_norms):
    return {
        to: {of: Norms(table, np.zeros_like(table), np.ones(table.shape, bool)) for of, table in row.items()}
        for to, row in log_norms.items()
    }


@pytest.mark.parametrize("batch", [(), (3,)])
def test_block_norms_draw_the_median_of_norm_by_lag_of_every_block(ax, batch):
    tables = {to: {of: rng.normal(size=(*batch, 6, 6)) for of in "hc"} for to in "hc"}
    blocks = blocks_of(tables)
    assert plot_block_norms(blocks, ax=ax) is ax
    drawn = iter(ax.lines)
    for to in "hc":
        for of in "hc":
            line = next(drawn)
            median = jr.jacobians.norm_by_lag(blocks[to][of]).median
            np.testing.assert_allclose(line.get_ydata(), median / LN10, rtol=1e-6)
            assert line.get_label() == rf"$\partial {to}_t/\partial {of}_k$"
    assert [line.get_color() for line in ax.lines[:4]] == [*CYCLE[:2], *CYCLE[:2]]
    assert [line.get_linestyle() for line in ax.lines[:4]] == ["-", "-", "--", "--"]
    assert r"\log_{10}" in ax.get_ylabel() and "steps" in ax.get_xlabel()


@pytest.mark.parametrize(("hole", "note"), [(np.nan, "(NaN at some lags)"), (-np.inf, "(zero)")])
def test_blocks_of_nothing_that_can_be_drawn_are_in_the_legend(ax, hole, note):
    plot_block_norms(blocks_of({"h": {"h": np.zeros((4, 4)), "c": np.full((4, 4), hole)}}), ax=ax)
    assert np.isnan(ax.lines[1].get_ydata()).all()
    assert not labels(ax)[0].endswith(")") and labels(ax)[1].endswith(note)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("c", "c"),
        ("0", "h^{(0)}"),
        ("1.c", "c^{(1)}"),
        ("fast_h", r"\mathrm{fast\_h}"),
        ("a.b", r"\mathrm{a.b}"),
    ],
)
def test_parts_are_named_as_the_field_names_them(ax, name, symbol):
    plot_block_norms(blocks_of({name: {name: np.zeros((3, 3))}}), ax=ax)
    assert labels(ax) == [rf"$\partial {symbol}_t/\partial {symbol}_k$"]


def test_block_norms_want_all_pairs(ax):
    with pytest.raises(ValueError, match=r"plot_block_norms: a table has shape \(1, 4\)"):
        plot_block_norms(blocks_of({"h": {"h": np.zeros((1, 4))}}), ax=ax)
