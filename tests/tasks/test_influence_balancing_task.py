"""Influence balancing as a task: its known numbers, and which estimators train it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close

from jaxrnn import unroll
from jaxrnn.gradients import chunked, rtrl
from jaxrnn.tasks import influence_balancing
from jaxrnn.training import train


def long_run(task, theta, steps=4000):
    state = jnp.ones(task.cell.init_state(jnp.asarray(theta)).shape)
    return unroll(task.cell.step, jnp.asarray(theta), state, jnp.zeros((steps, 1))).ys[-1, 0]


@pytest.mark.parametrize(("units", "positive", "gain"), [(23, 10, -6), (5, 4, 6), (1, 1, 2), (4, 0, -8)])
def test_the_long_run_is_proportional_to_theta_and_optimum_and_baseline_are_its_losses(units, positive, gain):
    task = influence_balancing(units=units, positive=positive)
    for theta in (0.5, -0.3):
        assert_close(long_run(task, theta), np.array(gain * theta))
    assert task.baseline == 0.5 * (gain * 0.5 - 1) ** 2
    assert_close(long_run(task, 1 / gain), np.ones(()))
    assert task.optimum == 0


def test_the_chain_is_that_of_the_paper():
    task = influence_balancing()
    theta, s = jnp.asarray(0.7), jnp.asarray(np.random.default_rng(0).normal(size=23))
    A = 0.5 * np.eye(23) + 0.5 * np.eye(23, k=1)
    expected = A @ np.asarray(s) + 0.7 * np.array([1.0] * 10 + [-1.0] * 13)
    s_t, y_t = task.cell.step(theta, s, jnp.zeros(1))
    assert_close((s_t, y_t), (expected, expected[:1]))
    assert task.cell.init(jax.random.key(0)) == task.cell.init(jax.random.key(1)) == 0.5
    np.testing.assert_array_equal(task.cell.init_state(theta), np.ones(23))
    batch = task.sample(jax.random.key(0))
    assert batch.weights is None
    np.testing.assert_array_equal(batch.xs, np.zeros((1, 100, 1)))
    np.testing.assert_array_equal(batch.targets, np.ones((1, 100, 1)))


def test_the_response_of_the_first_unit_to_theta_changes_its_sign_after_forty_steps():
    """After K steps from rest it is the derivative that a sliding window of K keeps."""
    response = unroll(influence_balancing().cell.step, jnp.ones(()), jnp.zeros(23), jnp.zeros((200, 1))).ys[
        :, 0
    ]
    assert np.all(response[:40] > 0) and np.all(response[40:] < 0)


def test_a_stream_trains_it_by_rtrl_and_drives_it_away_by_short_chunks():
    task = influence_balancing()

    def trained(estimator, steps):
        return train(
            task.cell, estimator, optax.sgd(0.01), task.sample,
            steps=steps, key=jax.random.key(0), stream=True, progress=False,
        )  # fmt: skip

    result = trained(rtrl(task.cell.step, task.step_loss), 40)
    assert abs(result.seed() + 1 / 6) < 1e-4
    assert abs(result.history.loss[0, -1] - task.optimum) < 1e-6
    assert trained(chunked(task.cell.step, task.step_loss, window=10), 10).seed() > 0.5


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"units": 0}, ValueError, "tasks.influence_balancing: units is 0; expected at least 1"),
        ({"length": 0}, ValueError, "tasks.influence_balancing: length is 0"),
        ({"positive": -1}, ValueError, "positive is -1; expected at least 0"),
        ({"positive": 24}, ValueError, r"positive is 24 of 23 units; expected 0\.\.23, and not half of them"),
        ({"units": 4, "positive": 2}, ValueError, "positive is 2 of 4 units"),
        ({"positive": 1.5}, TypeError, "positive must be a Python integer"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        influence_balancing(**options)
