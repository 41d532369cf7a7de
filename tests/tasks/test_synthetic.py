"""Synthetic tasks: targets recomputed from the inputs, and baseline and optimum against simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, cast

from jaxrnn import cells, gradients
from jaxrnn.gradients import loss
from jaxrnn.tasks import adding, delayed_copy, influence_balancing, linear_process, temporal_order

TASKS = {
    "adding": adding(length=7, batch_size=3),
    "delayed_copy": delayed_copy(delay=2, symbols=3, length=7, batch_size=3),
    "temporal_order": temporal_order(length=12, batch_size=3),
    "linear_process": linear_process(length=7, batch_size=3),
    "influence_balancing": influence_balancing(length=7),
}
every_task = pytest.mark.parametrize("name", TASKS)


def draw(task, seed=0):
    """A batch as NumPy arrays."""
    return jax.tree.map(np.asarray, jax.jit(task.sample)(jax.random.key(seed)))


def assert_mean(values, expected):
    """The mean lies within 4 standard errors of what is expected (one in 16,000 would not)."""
    error = np.std(values) / np.sqrt(len(values))
    assert 0 < error < 0.05 * expected
    assert abs(np.mean(values) - expected) < 4 * error


@every_task
def test_sampler_is_pure_and_survives_jit_and_vmap(name):
    task = TASKS[name]
    keys = jax.random.split(jax.random.key(5), 2)
    batches = [cast(task.sample(key), jnp.float64) for key in keys]
    for run in (task.sample, jax.jit(task.sample), task.held_out):
        assert_close(cast(run(keys[0]), jnp.float64), batches[0])
    stacked = cast(jax.jit(jax.vmap(task.sample))(keys), jnp.float64)
    for i, batch in enumerate(batches):
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], stacked), batch)
    assert name == "influence_balancing" or not np.array_equal(batches[0].xs, batches[1].xs)


@every_task
@pytest.mark.parametrize("x64", [True, False])
def test_floats_have_the_default_dtype_and_the_sizes_are_as_declared(name, x64):
    task = TASKS[name]
    with jax.enable_x64(x64):
        batch = task.sample(jax.random.key(0))
        dtype = jnp.zeros(()).dtype
        size, length = batch.xs.shape[:2]
        assert batch.xs.dtype == dtype == (jnp.float64 if x64 else jnp.float32)
        assert batch.xs.shape == (size, length, task.input_size)
        if jnp.issubdtype(batch.targets.dtype, jnp.integer):
            assert batch.targets.shape == (size, length)
            assert 0 <= batch.targets.min() and batch.targets.max() < task.output_size
        else:
            assert batch.targets.shape == (size, length, task.output_size)
            assert batch.targets.dtype == dtype
        if batch.weights is not None:
            assert batch.weights.dtype == dtype and not batch.weights.weak_type
            assert_close(batch.weights.sum(axis=1), np.ones(size, dtype))
        cell = task.cell or cells.stack(cells.elman(task.input_size, 2), cells.dense(2, task.output_size))
        params = cell.init(jax.random.key(1))
        value, _ = loss(cell.step, task.step_loss, params, cell.initial_states(params, size), batch)
        assert value.dtype == dtype and np.isfinite(value)


@every_task
def test_what_is_known_of_a_task_is_stated(name):
    task = TASKS[name]
    assert task.name == name and task.source is None and task.reference
    assert 0 <= task.optimum < task.baseline


def test_adding_marks_one_value_in_each_half_and_asks_for_their_sum():
    batch = draw(adding(length=7, batch_size=2000))
    values, markers = batch.xs[..., 0], batch.xs[..., 1]
    assert 0 <= values.min() and values.max() < 1
    assert_mean(values.ravel(), 0.5)
    first, second = np.array([np.flatnonzero(row) for row in markers]).T
    assert set(np.unique(markers)) == {0, 1}
    assert set(first) == {0, 1, 2} and set(second) == {3, 4, 5, 6}
    rows = np.arange(len(values))
    assert_close(batch.targets[:, -1, 0], values[rows, first] + values[rows, second])
    np.testing.assert_array_equal(batch.weights, np.eye(7)[[-1] * len(rows)])


def test_adding_baseline_is_the_loss_of_the_answer_one():
    task = adding(length=2, batch_size=20_000)
    assert_mean(0.5 * (draw(task).targets[:, -1, 0] - 1) ** 2, task.baseline)


def test_an_accumulator_reaches_the_optimum_of_adding():
    task = adding(length=7, batch_size=3)

    def step(_, h, x):
        h = h + x[:1] * x[1:]
        return h, h

    value, _ = loss(step, task.step_loss, None, jnp.zeros((3, 1)), draw(task))
    assert value <= 1e-15 + task.optimum


@pytest.mark.parametrize("delay", [0, 1, 4, 6])
def test_delayed_copy_asks_for_the_symbol_of_delay_steps_ago(delay):
    batch = draw(delayed_copy(delay=delay, symbols=3, length=7, batch_size=500))
    np.testing.assert_array_equal(np.sort(batch.xs), np.sort(np.eye(3)[np.zeros((500, 7), int)]))
    tokens = batch.xs @ np.arange(3)
    for t in range(7):
        assert_close(batch.weights[:, t], np.full(500, 1 / (7 - delay) if t >= delay else 0.0))
        if t >= delay:
            np.testing.assert_array_equal(batch.targets[:, t], tokens[:, t - delay])


@pytest.mark.parametrize(
    "task",
    [delayed_copy(delay=1, symbols=8, length=3, batch_size=4000), temporal_order(length=10, batch_size=4000)],
    ids=lambda task: task.name,
)
def test_every_class_is_equally_likely_so_that_the_baseline_is_the_logarithm_of_their_number(task):
    batch = draw(task)
    drawn = batch.targets[batch.weights > 0]
    counts = np.bincount(drawn, minlength=task.output_size)
    expected = len(drawn) / task.output_size
    assert len(counts) == task.output_size
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)
    value, _ = loss(lambda *_: ((), jnp.zeros(task.output_size)), task.step_loss, None, (), batch)
    assert_close(value, np.array(task.baseline))


def shift_register(delay, symbols):
    """A linear Elman network whose block i holds the symbol of i steps ago; it reads out the last."""
    cell = cells.stack(
        cells.elman(symbols, (delay + 1) * symbols, activation="linear"),
        cells.dense((delay + 1) * symbols, symbols),
    )
    one, blocks = np.eye(symbols), np.eye(delay + 1)
    recurrent = {
        "W_hx": np.kron(blocks[:, :1], one),
        "W_hh": np.kron(np.eye(delay + 1, k=-1), one),
        "b_h": np.zeros((delay + 1) * symbols),
    }
    readout = {"W": 40 * np.kron(blocks[-1:], one), "b": np.zeros(symbols)}
    return cell, jax.tree.map(jnp.asarray, (recurrent, readout))


def test_a_shift_register_reaches_the_optimum_of_delayed_copy_and_needs_a_window_of_delay_plus_one():
    delay, symbols = 3, 2
    task = delayed_copy(delay=delay, symbols=symbols, length=9, batch_size=4)
    cell, params = shift_register(delay, symbols)
    batch, h_0 = draw(task), cell.initial_states(params, 4)
    assert loss(cell.step, task.step_loss, params, h_0, batch)[0] < 1e-15 + task.optimum

    params[1]["W"] = params[1]["W"] / 40  # a gradient is left where the answer is not certain
    write = {}
    for name, estimator in {
        "full": gradients.full(cell.step, task.step_loss),
        "short": gradients.sliding(cell.step, task.step_loss, window=delay),
        "enough": gradients.sliding(cell.step, task.step_loss, window=delay + 1),
    }.items():
        estimate, _ = estimator.estimate(params, estimator.init(params, h_0), batch, jax.random.key(0))
        write[name] = np.asarray(estimate.grads[0]["W_hx"][:symbols])  # what is written to block 0
    assert np.abs(write["full"]).max() > 0.01
    np.testing.assert_array_equal(write["short"], 0)
    assert_close(write["enough"], write["full"])


@pytest.mark.parametrize("length", [10, 19, 100])
def test_temporal_order_hides_two_of_x_and_y_in_their_tenths(length):
    batch = draw(temporal_order(length=length, batch_size=1500))
    np.testing.assert_array_equal(np.sort(batch.xs), np.sort(np.eye(6)[np.zeros((1500, length), int)]))
    rows = ["".join("abcdXY"[i] for i in row) for row in batch.xs.argmax(-1)]
    places, answers = [], []
    for row in rows:
        places.append([i for i, symbol in enumerate(row) if symbol in "XY"])
        answers.append(["XX", "XY", "YX", "YY"].index("".join(row[i] for i in places[-1])))
    first, second = (set(column) for column in np.array(places).T.tolist())
    assert first == set(range(length // 10, length // 5))
    assert second == set(range(length // 2, 6 * length // 10))
    np.testing.assert_array_equal(batch.targets[:, -1], answers)
    np.testing.assert_array_equal(batch.weights, np.eye(length)[[-1] * 1500])
    assert set("".join(rows)) == set("abcdXY")


def test_a_counter_reaches_the_optimum_of_temporal_order():
    def step(_, h, x):
        relevant = x[4] + x[5]
        h = (1 - relevant) * h + relevant * (2 * h + x[5:])
        return h, -100 * (jnp.arange(4.0) - h) ** 2

    task = temporal_order(length=12, batch_size=5)
    value, _ = loss(step, task.step_loss, None, jnp.zeros((5, 1)), draw(task))
    assert value <= 1e-15 + task.optimum


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
    ("constructor", "options", "error", "message"),
    [
        (adding, {"length": 1}, ValueError, "tasks.adding: length is 1; expected at least 2"),
        (adding, {"batch_size": 0}, ValueError, "tasks.adding: batch_size is 0; expected at least 1"),
        (adding, {"length": 2.5}, TypeError, "tasks.adding: length must be a Python integer"),
        (delayed_copy, {"delay": -1}, ValueError, "tasks.delayed_copy: delay is -1; expected at least 0"),
        (delayed_copy, {"symbols": 1}, ValueError, "symbols is 1; expected at least 2"),
        (delayed_copy, {"delay": 9, "length": 9}, ValueError, "length is 9; expected at least 10"),
        (
            temporal_order,
            {"length": 9},
            ValueError,
            "tasks.temporal_order: length is 9; expected at least 10",
        ),
        (linear_process, {"length": 0}, ValueError, "tasks.linear_process: length is 0"),
        (linear_process, {"decay": 1.0}, ValueError, r"decay is 1.0; expected 0 < \|decay\| < 1"),
        (linear_process, {"decay": 0}, ValueError, "decay is 0.0"),
        (linear_process, {"decay": np.nan}, ValueError, "decay is nan"),
        (linear_process, {"noise": 0.0}, ValueError, "noise is 0.0; expected a positive, finite number"),
        (linear_process, {"noise": np.inf}, ValueError, "noise is inf"),
    ],
)
def test_bad_options_are_named(constructor, options, error, message):
    with pytest.raises(error, match=message):
        constructor(**options)
