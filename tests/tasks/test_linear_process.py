"""The linear process: its covariances, and the Kalman filter that forecasts it."""

import numpy as np
import pytest
from drawing import assert_mean, draw

from jaxrnn.tasks import linear_process


def kalman_forecasts(xs, a, noise):
    """Forecasts of x_2 ... x_{T+1} from x_1 ... x_T [B, T], as textbooks write the filter."""
    mean, variance = np.zeros(len(xs)), 1 / (1 - a**2)
    forecasts = []
    for x in xs.T:
        gain = variance / (variance + noise**2)
        mean, variance = mean + gain * (x - mean), (1 - gain) * variance
        mean, variance = a * mean, a**2 * variance + 1
        forecasts.append(mean)
    return np.stack(forecasts, axis=1), gain


@pytest.mark.parametrize(("a", "noise"), [(0.95, 1.0), (-0.8, 3.0), (0.5, 0.2)])
def test_a_kalman_filter_reaches_the_optimum_of_linear_process_and_one_value_the_baseline(a, noise):
    task = linear_process(decay=a, noise=noise, length=8, batch_size=20_000)
    batch = draw(task)
    xs, targets = batch.xs[..., 0], batch.targets[..., 0]
    np.testing.assert_array_equal(xs[:, 1:], targets[:, :-1])
    forecasts, _ = kalman_forecasts(xs, a, noise)
    assert_mean(0.5 * ((targets - forecasts) ** 2).mean(axis=1), task.optimum)
    slope = (xs * targets).sum() / (xs**2).sum()
    assert_mean(0.5 * ((targets - slope * xs) ** 2).mean(axis=1), task.baseline)


def test_the_linear_process_is_stationary_with_the_stated_covariances():
    a, noise = 0.9, 2.0
    xs = draw(linear_process(decay=a, noise=noise, length=6, batch_size=40_000)).xs[..., 0]
    hidden = a ** np.abs(np.subtract.outer(range(6), range(6))) / (1 - a**2)
    covariance = hidden + noise**2 * np.eye(6)
    np.testing.assert_allclose(np.cov(xs.T), covariance, atol=4 * 2**0.5 * covariance[0, 0] / 200)


def test_one_linear_unit_reaches_the_best_loss_in_the_long_run():
    a, noise = 0.95, 2.0
    task = linear_process(decay=a, noise=noise, length=60, batch_size=50)
    batch = draw(task)
    forecasts, K = kalman_forecasts(batch.xs[..., 0], a, noise)
    h, unit = np.zeros(50), []
    for x in batch.xs[..., 0].T:
        h = a * (1 - K) * h + a * K * x
        unit.append(h)
    np.testing.assert_allclose(np.stack(unit, axis=1)[:, -10:], forecasts[:, -10:], atol=1e-4)


def test_optimum_of_a_linear_process_falls_with_length_from_the_baseline():
    values = [linear_process(length=T).optimum for T in (1, 2, 10, 1000)]
    assert values[0] == linear_process().baseline
    assert values == sorted(values, reverse=True)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"length": 0}, ValueError, "tasks.linear_process: length is 0"),
        ({"decay": 1.0}, ValueError, r"decay is 1.0; expected 0 < \|decay\| < 1"),
        ({"decay": 0}, ValueError, "decay is 0.0"),
        ({"decay": np.nan}, ValueError, "decay is nan"),
        ({"noise": 0.0}, ValueError, "noise is 0.0; expected a positive, finite number"),
        ({"noise": np.inf}, ValueError, "noise is inf"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        linear_process(**options)
