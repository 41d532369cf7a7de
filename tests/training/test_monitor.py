"""Norms watched during training: right, on time, and without a trace in what is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import make_batch

from jaxrnn import cells, gradients, load, save, training, unroll
from jaxrnn.jacobians import step_jacobians
from jaxrnn.losses import squared_error
from jaxrnn.training import MonitoredNorms, norm_monitor

T, LAGS = 9, [3, 1, 6]
CELL = cells.stack(cells.elman(2, 3), cells.dense(3, 2))
PARAMS, _, BATCH = make_batch(CELL, 2, 3, T)
LOOK = norm_monitor(CELL, BATCH, lags=LAGS, sequences=2)
FULL = gradients.full(CELL.step, squared_error)
KEY = jax.random.key(3)


def train(data=None, **options):
    options = {"steps": 7, "progress": False, "key": KEY, "params": PARAMS} | options
    return training.train(CELL, FULL, optax.sgd(0.1), data or [BATCH] * 10, **options)


def monitor_of_w(params):
    return {"w": params[0]["W_hh"][0, 0], "row": params[1]["b"]}


def test_values_are_those_of_the_norms_computed_one_by_one():
    found = jax.jit(LOOK)(PARAMS)
    # Times spread from the longest lag to T: here 8 of 6..9 are all four.
    times, by_lag = [6, 7, 8, 9], {lag: [] for lag in LAGS}
    for b in range(2):
        trajectory = unroll(CELL.step, PARAMS, CELL.init_state(PARAMS), BATCH.xs[b])
        js = np.asarray(step_jacobians(CELL.step, PARAMS, trajectory))
        for lag in LAGS:
            for t in times:
                P = np.linalg.multi_dot([np.eye(3), *js[t - lag : t][::-1]])
                by_lag[lag].append(np.log(np.linalg.norm(P, 2)))
    for i, lag in enumerate(LAGS):
        for curve, q in ((found.by_lag.low, 0.1), (found.by_lag.median, 0.5), (found.by_lag.high, 0.9)):
            expected = np.quantile(by_lag[lag], q, method="nearest")
            np.testing.assert_allclose(curve[i], expected, atol=1e-12)
    assert found.by_lag.product_bound is None
    assert found.certified == 1


def test_a_bad_step_lowers_the_share_of_certified_norms():
    bad = norm_monitor(CELL, BATCH._replace(xs=BATCH.xs.at[0, T - 1].set(jnp.nan)), lags=[1, 2])
    # Times 2..9, of which only t = 9 spans the last step.
    found = jax.jit(bad)(PARAMS)
    np.testing.assert_allclose(found.certified, 7 / 8)
    assert np.all(np.isnan(found.by_lag.median))


@pytest.mark.parametrize("chunk", [2, 20])
def test_train_looks_before_the_first_step_and_after_every_m(chunk):
    history = train(chunk=chunk, monitor=monitor_of_w, monitor_every=3).history
    np.testing.assert_array_equal(history.monitored_steps, [0, 3, 6])
    assert history.loss.shape == (1, 7) and history.seconds.shape == (7,)
    for row, steps in enumerate([0, 3, 6]):
        params = PARAMS if not steps else train(steps=steps).seed()
        np.testing.assert_allclose(history.monitored["w"][0, row], params[0]["W_hh"][0, 0], rtol=1e-12)
        np.testing.assert_allclose(history.monitored["row"][0, row], params[1]["b"], rtol=1e-12)


@pytest.mark.parametrize(("every", "steps"), [(7, [0, 7]), (1, range(8)), (100, [0])])
def test_the_last_step_is_looked_at_where_it_is_due(every, steps):
    history = train(monitor=monitor_of_w, monitor_every=every).history
    np.testing.assert_array_equal(history.monitored_steps, list(steps))


@pytest.fixture(scope="module")
def watched():
    return train(monitor=LOOK, monitor_every=2, chunk=5)


def test_a_monitor_changes_nothing_in_what_is_trained(watched):
    alone = train(chunk=5)
    np.testing.assert_allclose(watched.history.loss, alone.history.loss, rtol=1e-13)
    np.testing.assert_allclose(watched.history.grad_norm, alone.history.grad_norm, rtol=1e-13)
    for a, b in zip(jax.tree.leaves(watched.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert alone.history.monitored is None and alone.history.monitored_steps is None


def test_every_seed_has_its_own_curves():
    seen = train(seeds=2, params=None, steps=2, monitor=LOOK, monitor_every=1).history.monitored
    assert isinstance(seen, MonitoredNorms)
    assert seen.by_lag.median.shape == (2, 3, len(LAGS)) and seen.certified.shape == (2, 3)
    assert np.all(seen.by_lag.median[0] != seen.by_lag.median[1])


def test_a_sampler_draws_the_same_data_whether_watched_or_not():
    def sample(key):
        return BATCH._replace(xs=BATCH.xs + jax.random.normal(key, BATCH.xs.shape))

    losses = [train(sample, monitor=m, monitor_every=3).history.loss for m in (monitor_of_w, None)]
    np.testing.assert_allclose(*losses, rtol=1e-13)


def test_an_iterable_that_ends_early_is_looked_at_as_far_as_it_goes():
    taken = []
    source = map(lambda batch: (taken.append(1), batch)[1], [BATCH] * 5)
    history = train(source, steps=9, chunk=4, monitor=monitor_of_w, monitor_every=3).history
    assert len(taken) == 5 and history.loss.shape == (1, 5)
    np.testing.assert_array_equal(history.monitored_steps, [0, 3])


def test_what_was_seen_survives_a_file(tmp_path, watched):
    history = watched.history
    save(tmp_path / "history.npz", history)
    loaded = load(tmp_path / "history.npz")
    assert type(loaded) is type(history) and type(loaded.monitored) is MonitoredNorms
    assert jax.tree.structure(loaded) == jax.tree.structure(history)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(history), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"lags": [1, T + 1]}, IndexError, rf"norm_monitor: lags is .*0 <= lags <= T = {T}"),
        ({"lags": [-1]}, IndexError, "norm_monitor: lags"),
        ({"lags": [1.5]}, TypeError, "norm_monitor: lags must be a Python integer"),
        ({"lags": [1], "sequences": 0}, ValueError, "norm_monitor: sequences is 0; expected at least 1"),
    ],
)
def test_lags_and_sequences_out_of_range_are_named(options, error, match):
    with pytest.raises(error, match=match):
        norm_monitor(CELL, BATCH, **options)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError)])
def test_a_bad_interval_is_named(value, error):
    with pytest.raises(error, match=r"training\.train: monitor_every"):
        train(monitor=monitor_of_w, monitor_every=value)
