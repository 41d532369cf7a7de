"""Windows side by side: the same seeds and data, and what each window's gradient and memory are."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close

from jaxrnn import Batch, Cell, compare, gradients, training
from jaxrnn.losses import squared_error

T = 8
KEY = jax.random.key(3)
compare_module = importlib.import_module("jaxrnn.diagnosis.compare")


def step(params, h_tm1, x_t):
    h_t = jnp.tanh(params["W"] @ h_tm1 + x_t)
    return h_t, params["v"] @ h_t


def init(key):
    key_W, key_v = jax.random.split(key)
    return {"W": 0.6 * jax.random.normal(key_W, (2, 2)), "v": jax.random.normal(key_v, (1, 2))}


CELL = Cell(init, lambda _: jnp.zeros(2), step)


def sample(key, length=T):
    xs = jax.random.normal(key, (3, length, 2))
    return Batch(xs, jnp.cumsum(xs[..., :1], axis=1))


def run(windows, data=sample, **options):
    options = {"steps": 12, "seeds": 2, "key": KEY, "progress": False} | options
    return compare(CELL, squared_error, data, optax.sgd(0.05), windows=windows, **options)


@pytest.fixture(scope="module")
def comparison():
    return run((3, 50, None, 1, T, 3))


def test_windows_are_sorted_and_those_of_t_or_more_are_merged_with_full(comparison):
    assert comparison.labels == ("1", "3", "full")
    assert len(comparison.results) == 3


def test_all_windows_start_from_the_same_networks_and_data(comparison):
    first = [result.history.loss[:, 0] for result in comparison.results]
    np.testing.assert_allclose(first, [first[-1]] * 3, rtol=1e-12)
    assert len(np.unique(np.round(first[-1], 9))) == 2
    last = [result.history.loss[0, -1] for result in comparison.results]
    assert len(np.unique(last)) == 3


def test_full_is_a_training_run_of_its_own(comparison):
    key_train, _ = jax.random.split(KEY)
    exact = gradients.full(step, squared_error)
    alone = training.train(
        CELL, exact, optax.sgd(0.05), sample, steps=12, seeds=2, key=key_train, progress=False
    )
    assert_close(comparison.results[-1].params, alone.params)


def test_cosine_and_relative_error_are_the_fidelity_at_full_bptts_end(comparison):
    _, key_data = jax.random.split(KEY)
    exact = gradients.full(step, squared_error)
    for i, window in enumerate((1, 3)):
        estimator = gradients.chunked(step, squared_error, window=window)

        @jax.jit
        def fidelity_at(params, estimator=estimator):
            batch, h_0 = sample(key_data), jnp.zeros((3, 2))
            return gradients.fidelity(estimator, exact, params, batch, KEY, h_0=h_0)

        for seed in range(2):
            fidelity = fidelity_at(comparison.results[-1].seed(seed))
            assert comparison.cosine[i, seed] == pytest.approx(float(fidelity.cosine), rel=1e-10)
            assert comparison.relative_error[i, seed] == pytest.approx(float(fidelity.bias), rel=1e-10)
            assert fidelity.bias > 1e-3
    assert_close(comparison.cosine[-1], np.ones(2))
    assert not comparison.relative_error[-1].any()


def test_held_out_loss_is_each_windows_own_network_on_one_batch(comparison):
    _, key_data = jax.random.split(KEY)
    for i in range(3):
        for seed in range(2):
            params = comparison.results[i].seed(seed)
            loss, _ = gradients.loss(step, squared_error, params, jnp.zeros((3, 2)), sample(key_data))
            assert comparison.held_out_loss[i, seed] == pytest.approx(float(loss), rel=1e-10)


def test_rows_are_means_over_the_seeds(comparison):
    rows = comparison.rows()
    assert [row["estimator"] for row in rows] == ["1", "3", "full"]
    for i, row in enumerate(rows):
        history = comparison.results[i].history
        # A tenth of 12 steps is the last one.
        assert row["final_loss"] == pytest.approx(np.mean(history.loss[:, -1]))
        assert row["held_out_loss"] == pytest.approx(np.mean(comparison.held_out_loss[i]))
        assert row["held_out_spread"] == pytest.approx(np.ptp(comparison.held_out_loss[i]) / 2)
        assert row["cosine"] == pytest.approx(np.mean(comparison.cosine[i]))
        assert row["relative_error"] == pytest.approx(np.mean(comparison.relative_error[i]))
        assert row["seconds_per_step"] == pytest.approx(history.seconds[-1] / 12)
        assert row["memory_bytes"] == comparison.memory_bytes[i] > 0


def test_held_out_data_decides_the_held_out_loss_and_truncation_the_gradient():
    def easy(key):
        batch = sample(key)
        return batch._replace(targets=jnp.zeros_like(batch.targets))

    other = run((3,), held_out=easy, truncation=gradients.sliding, steps=1)
    assert other.labels == ("3", "full")
    estimator = gradients.sliding(step, squared_error, window=3)
    exact = gradients.full(step, squared_error)
    params, (_, key_data) = other.results[-1].seed(), jax.random.split(KEY)
    fidelity = gradients.fidelity(estimator, exact, params, easy(key_data), KEY, h_0=jnp.zeros((3, 2)))
    assert other.relative_error[0, 0] == pytest.approx(float(fidelity.bias), rel=1e-9)
    loss, _ = gradients.loss(step, squared_error, params, jnp.zeros((3, 2)), easy(key_data))
    assert other.held_out_loss[-1, 0] == pytest.approx(float(loss), rel=1e-10)


def test_a_small_window_needs_less_memory_on_a_long_sequence():
    result = run((4,), lambda key: sample(key, 256), steps=1, seeds=1)
    small, full = result.memory_bytes
    assert small < full / 2


def test_no_window_at_all_is_full_bptt():
    assert run((), steps=1, seeds=1).labels == ("full",)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("window", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), ("4", TypeError)]
)
def test_a_bad_window_is_named_before_training(monkeypatch, window, error):
    monkeypatch.setattr(compare_module, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(error, match="compare: windows"):
        run((2, window))


def test_ctrl_c_stops_the_comparison(monkeypatch):
    asked = []

    def interrupted(*_, **options):
        asked.append(options["progress"])
        return training.TrainResult(None, None, None, None, interrupted=True)

    monkeypatch.setattr(compare_module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt, match="while training window 2"):
        run((2, 3), progress="gru")
    assert asked == ["gru window 2"]


def test_a_learned_h_0_is_trained_under_every_window():
    cell = Cell(lambda key: init(key) | {"h_0": jnp.zeros(2)}, lambda params: params["h_0"], step)
    options = {"steps": 2, "seeds": 1, "key": KEY, "progress": False}
    result = compare(cell, squared_error, sample, optax.sgd(0.05), windows=(2,), **options)
    for run_result in result.results:
        assert jnp.any(run_result.seed()["h_0"] != 0)


@pytest.mark.usefixtures("unchecked_types")
def test_other_estimators_stand_beside_the_windows():
    others = {"uoro": gradients.uoro, "RTRL": gradients.rtrl}
    found = run((2,), estimators=others, steps=3, seeds=1)
    assert found.labels == ("2", "uoro", "RTRL", "full")
    assert found.windows == (2, None, None, None)
    assert found.relative_error[2, 0] < 1e-12 < 0.1 < found.relative_error[1, 0]
    # RTRL is exact: it trains the same network; UORO's noise makes another.
    assert_close(found.results[2].params, found.results[3].params, 1000)
    assert np.abs(found.results[1].params["W"] - found.results[3].params["W"]).max() > 1e-4
    with pytest.raises(ValueError, match="estimators has the name '7', which is that of a window"):
        run((2,), estimators={"7": gradients.uoro})
    for wrong in ({7: gradients.uoro}, {"uoro": gradients.uoro(step, squared_error)}):
        with pytest.raises(TypeError, match="expected names of functions of step and step_loss"):
            run((2,), estimators=wrong)


def test_a_stream_carries_the_states_from_batch_to_batch():
    """h counts the steps; the loss is h itself: by the second batch it has gone on from the first."""
    counter = Cell(lambda _: jnp.ones(()), lambda _: jnp.zeros(1), lambda w, h, _: (h + w, h))

    def value(params, y, target):
        del params, target
        return y[0]

    def data(key):
        del key
        return Batch(jnp.zeros((1, 4, 1)), jnp.zeros((1, 4)))

    options = {"windows": (), "steps": 2, "seeds": 1, "key": KEY, "progress": False}
    for stream, expected in ((True, [1.5, 5.5]), (False, [1.5, 1.5])):
        found = compare(counter, value, data, optax.sgd(0.0), stream=stream, **options)
        np.testing.assert_allclose(found.results[0].history.loss[0], expected)
