"""A truncated gradient with the wrong sign: the influence-balancing chain with its known numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import Batch
from jaxrnn.gradients import artbp, chunked, full, randomized, rtrl, sliding, uoro
from jaxrnn.tasks import influence_balancing
from jaxrnn.training import train

N, T = 23, 120
CELL = influence_balancing().cell


def first_unit(theta, y, target):
    del theta, target
    return y[0]


def derivative(constructor, **options):
    last = jnp.zeros((1, T)).at[0, -1].set(1.0)
    batch = Batch(jnp.zeros((1, T, 1)), jnp.zeros((1, T)), last)
    estimator = constructor(CELL.step, first_unit, **options)
    theta, s_0 = jnp.asarray(0.5), jnp.ones((1, N))
    run = jax.jit(lambda theta: estimator.estimate(theta, estimator.init(theta, s_0), batch, None)[0])
    return float(run(theta).grads)


@pytest.mark.parametrize("exact", [full, rtrl])
def test_the_true_derivative_of_the_long_run_is_minus_six(exact):
    assert abs(derivative(exact) + 6) < 1e-4


@pytest.mark.parametrize(
    ("window", "known"), [(1, 1.0), (10, 10.0), (20, 16.48), (40, 0.566), (41, -0.219), (100, -6.0)]
)
def test_the_truncated_derivative_has_the_wrong_sign_up_to_window_forty(window, known):
    got = derivative(sliding, window=window)
    A = 0.5 * np.eye(N) + 0.5 * np.diag(np.ones(N - 1), 1)
    signs = np.where(np.arange(N) < 10, 1.0, -1.0)
    exact = sum((np.linalg.matrix_power(A, lag) @ signs)[0] for lag in range(window))
    np.testing.assert_allclose(got, exact, rtol=1e-12)
    assert abs(got - known) < 5e-4 if window != 20 else abs(got - known) < 5e-3
    if T % window == 0:
        np.testing.assert_allclose(derivative(chunked, window=window), got, rtol=1e-12)


def trained(constructor):
    """θ after a stream of 100,000 steps in batches of 200, by gradient descent, from two seeds."""
    task = influence_balancing(length=200)
    estimator = constructor(task.cell.step, task.step_loss)
    options = {"steps": 500, "key": jax.random.key(0), "seeds": 2, "stream": True, "progress": False}
    return np.asarray(train(task.cell, estimator, optax.sgd(2e-3), task.sample, **options).params)


@pytest.mark.parametrize("window", [1, 10, 20, 30, 40])
def test_training_runs_away_with_every_window_up_to_forty(window):
    assert np.all(trained(partial(sliding, window=window)) > 10)


@pytest.mark.parametrize(
    "constructor",
    [
        partial(sliding, window=100),
        rtrl,
        uoro,
        partial(randomized, keep=0.9),
        partial(artbp, mean_length=20.0),
    ],
    ids=["window of 100", "rtrl", "uoro", "randomized", "artbp"],
)
def test_training_finds_the_balance_with_a_long_window_and_without_bias(constructor):
    np.testing.assert_allclose(trained(constructor), -1 / 6, atol=2e-3)


def test_chunks_of_a_hundred_steps_run_away_where_a_sliding_window_does_not():
    """Their losses reach back 1 to 100 steps, and the short reaches push harder the wrong way."""
    assert np.all(trained(partial(chunked, window=100)) > 10)
