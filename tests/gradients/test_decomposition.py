"""The double sum of E10: its terms, its sums by lag, its shares."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, FEW, assert_close, cast, estimate, make_batch
from oracles import brute_force_terms

from jaxrnn import Batch, NumericalError
from jaxrnn.gradients import decompose, full, sliding
from jaxrnn.losses import squared_error

B, T = 2, 5


@partial(jax.jit, static_argnums=0)
def split(cell, params, h_0, batch):
    return decompose(cell.step, squared_error, params, h_0, batch)


def total(tree):
    return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), tree)


def norm_of_terms(leaves):
    """[T, T] Euclidean norms over everything behind the first two axes."""
    squares = [jnp.sum(leaf.reshape(T, T, -1) ** 2, axis=2) for leaf in leaves]
    return jnp.sqrt(sum(squares))


@pytest.mark.parametrize("name", CELLS)
def test_lags_add_up_to_the_full_gradient_and_shares_to_one(name):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    parts = split(cell, params, h_0, batch)
    exact, _ = estimate(full, cell, params, h_0, batch)
    assert_close(parts.loss, exact.loss)
    assert_close(parts.gradient, exact.grads, EPS_12)
    assert_close(total(parts.by_lag), exact.grads, EPS_12)
    np.testing.assert_allclose(jnp.sum(parts.share), 1, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FEW)
def test_every_term_equals_the_derivative_by_one_steps_copy_of_the_parameters(name, weighted):
    cell, d = CELLS[name]
    weights = jnp.asarray([[0.0, 0, 1, 0, 2], [1, 1, 0, 0, 0]]) if weighted else None
    params, h_0, batch = make_batch(cell, d, B, T, weights=weights)
    parts = split(cell, params, h_0, batch)
    terms = brute_force_terms(cell.step, squared_error, params, h_0, batch)
    leaves = jax.tree.leaves(terms)
    assert_close(parts.norm, norm_of_terms(leaves), EPS_12)
    leaf_norms = jax.tree.map(lambda leaf: norm_of_terms([leaf]), terms)
    assert_close(parts.leaf_norm, leaf_norms, EPS_12)

    gradient = jax.flatten_util.ravel_pytree(parts.gradient)[0]
    flat = jnp.concatenate([leaf.reshape(T, T, -1) for leaf in leaves], axis=2)
    assert_close(parts.share, flat @ gradient / jnp.sum(gradient**2), EPS_12)

    t, k = np.indices((T, T))
    for lag in range(T):
        keep = jnp.asarray(t - k == lag, jnp.float64)
        expected = jax.tree.map(lambda leaf, keep=keep: jnp.einsum("tk,tk...->...", keep, leaf), terms)
        row = jax.tree.map(lambda leaf, lag=lag: leaf[lag], parts.by_lag)
        scale = jax.tree.map(lambda leaf: jnp.max(jnp.abs(leaf)), parts.gradient)
        for a, b, size in zip(*map(jax.tree.leaves, (row, expected, scale)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * float(max(size, 1)))


def test_lags_below_the_window_are_what_sliding_keeps():
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    parts = split(cell, params, h_0, batch)
    kept = jax.tree.map(lambda leaf: jnp.sum(leaf[:3], axis=0), parts.by_lag)
    assert_close(estimate(sliding, cell, params, h_0, batch, window=3)[0].grads, kept, EPS_12)


def test_a_readout_has_no_terms_beyond_lag_zero():
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    readout = split(cell, params, h_0, batch).by_lag[1]
    assert jnp.all(readout["W"][0] != 0)
    assert not jnp.any(readout["W"][1:])


def test_one_step_and_float32():
    cell, d = CELLS["gru"]
    params, h_0, batch = cast(make_batch(cell, d, 1, 1), jnp.float32)
    parts = split(cell, params, h_0, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(parts)} == {jnp.dtype(jnp.float32)}
    assert parts.share.shape == (1, 1)
    np.testing.assert_allclose(parts.share, 1, rtol=1e-5)


def test_zero_gradient_has_zero_shares():
    def step(w, h, x):
        return h + 0 * w * x, h

    batch = Batch(jnp.ones((1, 3, 1)), jnp.zeros((1, 3, 1)))
    parts = decompose(step, squared_error, jnp.asarray(1.0), jnp.zeros((1, 1)), batch)
    assert not jnp.any(parts.share) and not jnp.any(parts.norm)
    parts.raise_if_bad()


def test_terms_that_overflow_are_found():
    def step(w, h, x):
        return w * h * h + x, h

    batch = Batch(jnp.ones((1, 12, 1)), jnp.zeros((1, 12, 1)))
    parts = decompose(step, squared_error, jnp.asarray(5.0), jnp.ones((1, 1)), batch)
    with pytest.raises(NumericalError, match="decompose: terms of the gradient are not finite"):
        parts.raise_if_bad()
