"""What is drawn of ∂h_t/∂h_k is what was measured."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from jaxrnn.jacobians import NormByLag, Norms, Spectrum
from jaxrnn.plots import plot_norm_by_lag, plot_norms, plot_spectrum_fan
from jaxrnn.plots.style import CYCLE

LN10 = np.log(10)
rng = np.random.default_rng(0)


def norms_of(rate, T=6):
    lag = np.arange(T + 1)[:, None] - np.arange(T + 1)[None, :]
    log_norm = np.where(lag >= 0, rate * lag + 0.1 * np.sin(lag), -np.inf)
    return Norms(log_norm, np.zeros_like(log_norm), np.ones(lag.shape, bool))


def by_lag(T=6, rate=-1.0):
    median = rate * np.arange(T + 1.0)
    return NormByLag(median, median - 0.5, median + 0.25, median + 0.3)


def image_of(ax):
    return ax.images[-1].get_array()


def labels(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def contours(ax):
    return [item for item in ax.collections if hasattr(item, "levels")]


@pytest.mark.parametrize("rate", [-1.0, 1.0, 0.0])
@pytest.mark.parametrize("T", [1, 6])
def test_heatmap_shows_decades_below_the_diagonal_and_nothing_above(ax, rate, T):
    norms = norms_of(rate, T)
    assert plot_norms(norms, ax=ax) is ax
    image, below = image_of(ax), np.tri(T + 1, dtype=bool)
    np.testing.assert_allclose(image[below], norms.log_norm[below] / LN10, atol=1e-15)
    assert image.mask[~below].all() or np.isnan(image.data[~below]).all()
    assert "k (step" in ax.get_xlabel() and "t (step" in ax.get_ylabel()
    assert (
        r"\log_{10}" in ax.figure.axes[1].get_ylabel()
        and r"\partial h_t/\partial h_k" in ax.figure.axes[1].get_ylabel()
    )


def test_heatmap_is_white_at_no_change_blue_below_and_red_above(ax):
    table = norms_of(0.0, 2)
    table.log_norm[1, 0], table.log_norm[2, 0] = -2.0, 3.0
    plot_norms(table, ax=ax)
    red, _, blue, _ = np.moveaxis(ax.images[-1].cmap(ax.images[-1].norm(image_of(ax))), -1, 0)
    assert blue[1, 0] > red[1, 0] and red[2, 0] > blue[2, 0]
    assert min(red[0, 0], blue[0, 0]) > 0.95


def test_heatmap_hides_pairs_that_are_not_certified_or_not_finite(ax):
    table = norms_of(-1.0)
    table.certified[4, 1], table.log_norm[5, 2], table.log_norm[6, 3] = False, np.nan, -np.inf
    plot_norms(table, ax=ax)
    hidden = np.ma.getmaskarray(image_of(ax)) | np.isnan(image_of(ax).data)
    assert hidden[4, 1] and hidden[5, 2] and hidden[6, 3]
    assert hidden[np.tri(7, dtype=bool)].sum() == 3


def test_heatmap_of_nothing_certified_still_draws(ax):
    table = norms_of(-1.0)
    plot_norms(table._replace(certified=np.zeros((7, 7), bool)), log_bound_rate=-1.0, ax=ax)
    assert np.ma.getmaskarray(image_of(ax)).all()


@pytest.mark.parametrize("rate", [-2.0, 2.0])
def test_bound_contours_stand_at_powers_of_ten_of_the_bound(ax, rate):
    plot_norms(norms_of(rate), log_bound_rate=rate, ax=ax)
    (contour,) = contours(ax)
    levels = np.asarray(contour.levels)
    assert len(levels) >= 2 and (np.sign(levels) == np.sign(rate)).all()
    np.testing.assert_array_equal(levels, levels.round())
    for level, path in zip(levels, contour.get_paths(), strict=True):
        k, t = path.vertices.T
        np.testing.assert_allclose((t - k) * rate / LN10, level, atol=1e-6)


def test_a_flat_bound_is_written_instead_of_drawn(ax):
    plot_norms(norms_of(0.01), log_bound_rate=0.01, ax=ax)
    assert not contours(ax) and f"{0.01 / LN10:+.4f} decades a step" in ax.get_title()
    plain = ax.figure.add_subplot()
    plot_norms(norms_of(-2.0), ax=plain)
    assert not contours(plain) and not plain.get_title()


def test_heatmap_wants_one_sequence(ax):
    with pytest.raises(ValueError, match=r"plot_norms: log_norm has shape \(2, 3, 3\)"):
        plot_norms(Norms(*np.zeros((2, 2, 3, 3)), np.ones((2, 3, 3), bool)), ax=ax)


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


def test_without_axes_a_new_figure_is_made():
    before = plt.get_fignums()
    for ax in (plot_norm_by_lag(by_lag()), plot_norms(norms_of(-1.0))):
        assert ax.figure.number not in before
        plt.close(ax.figure)
    assert plt.get_fignums() == before
