"""What is drawn of growth rates and eigenvalues is what was measured."""

import numpy as np
import pytest

from jaxrnn.jacobians import Eigenvalues, GrowthRates
from jaxrnn.plots import plot_eigenvalues, plot_growth_rates
from jaxrnn.plots.style import CYCLE

rng = np.random.default_rng(0)


def rates_of(k=2, M=12, interval=10):
    trace = -np.arange(k) + rng.normal(size=(M, k)) / 10
    steps = interval * np.arange(1, M + 1)
    error = np.linspace(0.01, 0.02, k)
    return GrowthRates(trace[-1], error, None, np.ones(k, bool), trace, steps)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_growth_rates_draw_the_trace_its_band_and_the_last_value(ax):
    rates = rates_of()
    assert plot_growth_rates(rates, ax=ax) is ax
    for i in range(2):
        line, last, band = ax.lines[2 * i], ax.lines[2 * i + 1], ax.collections[i]
        np.testing.assert_array_equal(line.get_xdata(), rates.trace_steps)
        np.testing.assert_allclose(line.get_ydata(), rates.trace[:, i])
        np.testing.assert_allclose([last.get_xdata()[0], last.get_ydata()[0]], [120, rates.rates[i]])
        place, edge = band.get_paths()[0].vertices.T
        half = rates.standard_error[i] * np.sqrt(120 / 30)
        np.testing.assert_allclose(max(edge[place == 30]), rates.trace[2, i] + half)
        np.testing.assert_allclose(min(edge[place == 30]), rates.trace[2, i] - half)
        assert f"{rates.standard_error[i]:.2g}" in labels(ax)[i] and rf"\lambda_{{{i + 1}}}" in labels(ax)[i]
    assert "nats per step" in ax.get_ylabel() and "steps" in ax.get_xlabel() and ax.get_xscale() == "log"
    low, high = ax.get_ylim()
    assert low < rates.rates.min() and high > rates.rates.max()


def test_of_many_rates_the_leading_ones_are_drawn(ax):
    plot_growth_rates(rates_of(k=9), ax=ax)
    assert len(labels(ax)) == len(CYCLE) and "7 of 9" in ax.get_title()


@pytest.mark.parametrize("steps", [1, 3])
def test_a_short_run_has_no_band(ax, steps):
    rates = rates_of(M=steps, interval=1)
    plot_growth_rates(rates._replace(standard_error=np.full(2, np.inf)), ax=ax)
    assert ax.get_xscale() == "linear" and "±" not in "".join(labels(ax))
    assert all(np.isnan(band.get_datalim(ax.transData).y0) or not band.get_paths() for band in ax.collections)


@pytest.mark.parametrize("hole", [-np.inf, np.nan])
def test_rates_that_are_not_finite_are_in_the_legend(ax, hole):
    rates = rates_of()
    rates.trace[:, 1] = rates.rates[1] = hole
    plot_growth_rates(rates, ax=ax)
    assert np.isnan(ax.lines[2].get_ydata()).all() and str(hole).replace("-", "−") in labels(ax)[1]


def test_growth_rates_want_one_sequence(ax):
    rates = rates_of()
    with pytest.raises(ValueError, match=r"plot_growth_rates: the rates have shape \(1, 2\)"):
        plot_growth_rates(GrowthRates(*(part if part is None else part[None] for part in rates)), ax=ax)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_eigenvalues_stand_in_the_plane_with_the_unit_circle(ax, batch):
    values = rng.normal(size=(*batch, 5, 3)) + 1j * rng.normal(size=(*batch, 5, 3))
    assert plot_eigenvalues(Eigenvalues(values, np.full((*batch, 5), 0.25)), ax=ax) is ax
    circle, points = ax.lines
    np.testing.assert_allclose(np.hypot(circle.get_xdata(), circle.get_ydata()), 1)
    np.testing.assert_array_equal(points.get_xdata() + 1j * points.get_ydata(), values.ravel())
    assert ax.get_aspect() == 1 and "0.25" in ax.get_title() and "NaN" not in ax.get_title()
    assert "real" in ax.get_xlabel() and "imaginary" in ax.get_ylabel()


def test_eigenvalues_say_how_many_steps_are_nan(ax):
    values, departure = np.ones((4, 2), complex), np.array([0.1, 0.3, 0.8, np.nan])
    values[3] = np.nan
    plot_eigenvalues(Eigenvalues(values, departure), ax=ax)
    assert "0.30" in ax.get_title() and "1 steps are NaN" in ax.get_title()
    other = ax.figure.add_subplot()
    plot_eigenvalues(Eigenvalues(values[3:], departure[3:]), ax=other)
    assert "unknown" in other.get_title()
