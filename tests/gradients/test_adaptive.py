"""The window that is chosen: its bias stays within δ, and what does not decay is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, assert_close, estimate, make_batch

from jaxrnn import Batch, NumericalError
from jaxrnn._pytree import tree_norm
from jaxrnn.gradients import adaptive, full, sliding
from jaxrnn.losses import squared_error
from jaxrnn.tasks import linear_process

B, T = 2, 30


def relative_error(found, exact):
    return float(tree_norm(jax.tree.map(jnp.subtract, found, exact)) / tree_norm(exact))


@partial(jax.jit, static_argnames=("cell", "tolerance", "max_window"))
def run(cell, params, h_0, batch, tolerance, max_window=20):
    estimator = adaptive(cell.step, squared_error, tolerance=tolerance, max_window=max_window)
    return estimator.estimate(params, estimator.init(params, h_0), batch, None)


@pytest.mark.parametrize(
    ("name", "tolerances"),
    [("elman_tanh", (0.3, 0.03, 3e-3)), ("gru", (0.3, 0.03, 3e-3)), ("lstm", (0.5, 0.3, 0.1))],
)
def test_bias_stays_within_the_tolerance_and_the_gradient_is_that_of_its_window(name, tolerances):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    exact, h_T = estimate(full, cell, params, h_0, batch)
    windows = []
    for tolerance in tolerances:
        found, carry = run(cell, params, h_0, batch, tolerance)
        assert not carry.raise_if_bad().refused
        assert relative_error(found.grads, exact.grads) <= tolerance
        windows.append(int(carry.window))
        reference, _ = estimate(sliding, cell, params, h_0, batch, window=windows[-1])
        assert_close(found, reference, EPS_12)
        assert_close(carry.h, h_T)
    assert windows[0] < windows[1] < windows[2] < 20


@pytest.mark.parametrize("seed", range(3))
def test_bias_stays_within_the_tolerance_on_a_process_with_a_known_decay(seed):
    """The Kalman filter's own recurrence, h_t = a(1-K) h_{t-1} + aK x_t, forgets by 0.709 a step."""

    def step(params, h, x):
        h = params["a"] * h + params["b"] * x[0]
        return h, h[None]

    params = {"a": jnp.asarray(0.709), "b": jnp.asarray(0.5)}
    task = linear_process(decay=0.95, noise=3.0, length=60, batch_size=8)
    batch = task.sample(jax.random.key(seed))
    exact = full(step, squared_error).estimate(params, jnp.zeros(8), batch, None)[0].grads
    for tolerance in (0.2, 0.02):
        estimator = adaptive(step, squared_error, tolerance=tolerance, max_window=40)
        found, carry = jax.jit(estimator.estimate)(params, estimator.init(params, jnp.zeros(8)), batch, None)
        assert not carry.refused and 1 < carry.window < 40
        assert relative_error(found.grads, exact) <= tolerance


def chaotic(params, h, x):
    h = jnp.tanh(params @ h + x)
    return h, h


def test_a_chaotic_network_is_refused_and_gets_the_full_gradient():
    W = 3 * jax.random.normal(jax.random.key(0), (8, 8)) / np.sqrt(8)
    batch = Batch(jax.random.normal(jax.random.key(1), (B, T, 8)), jnp.zeros((B, T, 8)))
    h_0 = jnp.zeros((B, 8))
    estimator = adaptive(chaotic, squared_error, tolerance=0.1, max_window=15)
    found, carry = estimator.estimate(W, estimator.init(W, h_0), batch, None)
    assert carry.refused and carry.window == 0
    assert_close(found, full(chaotic, squared_error).estimate(W, h_0, batch, None)[0], EPS_12)
    with pytest.raises(NumericalError, match="no window within max_window keeps the bias below"):
        carry.raise_if_bad()


def test_a_tolerance_that_max_window_cannot_keep_is_refused():
    cell, d = CELLS["gru"]
    params, h_0, batch = make_batch(cell, d, B, T)
    found, carry = run(cell, params, h_0, batch, 1e-4, max_window=8)
    assert carry.refused
    assert_close(found, estimate(full, cell, params, h_0, batch)[0], EPS_12)


def test_a_window_is_kept_between_two_measurements():
    """The other batch weighs its first step only: measured by itself, it needs another window."""
    cell, d = CELLS["gru"]
    params, h_0, batch = make_batch(cell, d, B, T, weights=jnp.ones((B, T)))
    other = batch._replace(weights=jnp.zeros((B, T)).at[:, 0].set(1))
    estimator = adaptive(cell.step, squared_error, tolerance=0.1, max_window=20, every=2)
    first, second, third = [], [], []
    carry = estimator.init(params, h_0)
    for piece, seen in ((batch, first), (other, second), (other, third)):
        _, carry = jax.jit(estimator.estimate)(params, carry, piece, None)
        seen.append(int(carry.window))
    assert first == second != third and carry.age == 1


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1.0, float("nan")])
def test_bad_tolerances_are_refused(tolerance):
    with pytest.raises(ValueError, match=r"gradients\.adaptive: tolerance is"):
        adaptive(chaotic, squared_error, tolerance=tolerance, max_window=3)
