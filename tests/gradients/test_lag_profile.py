"""The gradient by lag against its terms by pairs, and what a window loses against the estimators."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, FEW, assert_close, cast, estimate, make_batch

from jaxrnn import Batch
from jaxrnn._pytree import tree_norm
from jaxrnn.gradients import chunked, decompose, geometric_decay, lag_profile, sliding
from jaxrnn.losses import squared_error

B, T = 2, 6


@partial(jax.jit, static_argnums=0, static_argnames="lags")
def profile_of(cell, params, h_0, batch, lags=None):
    return lag_profile(cell.step, squared_error, params, h_0, batch, lags=lags)


@pytest.mark.parametrize("name", FEW)
def test_lags_are_those_of_the_decomposition(name):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    found = profile_of(cell, params, h_0, batch)
    parts = jax.jit(partial(decompose, cell.step, squared_error))(params, h_0, batch)
    assert_close(found.loss, parts.loss)
    assert_close(found.gradient, parts.gradient, EPS_12)
    assert_close(found.norm, jax.vmap(tree_norm)(parts.by_lag), EPS_12)
    assert_close(found.leaf_norm, jax.tree.map(jax.vmap(jnp.linalg.norm), _flat(parts.by_lag)), EPS_12)
    by_pair = np.array([np.trace(parts.share, offset=-lag) for lag in range(T)])
    assert_close(found.share, by_pair, EPS_12)
    np.testing.assert_allclose(jnp.sum(found.share), 1, rtol=1e-12)


def _flat(tree):
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf), -1), tree)


def test_what_a_window_loses_is_the_error_of_the_estimator():
    """Chunks on average over the place of their first border: K cuts of the batch, the state carried."""
    cell, d = CELLS["gru_residual_elman"]
    params, h_0, batch = make_batch(cell, d, B, T, weights=jnp.ones((B, T)))
    found = profile_of(cell, params, h_0, batch)
    size = tree_norm(found.gradient)
    for K in (1, 2, 3, T):
        slid, _ = estimate(sliding, cell, params, h_0, batch, window=K)
        lost = jax.tree.map(jnp.subtract, found.gradient, slid.grads)
        np.testing.assert_allclose(tree_norm(lost) / size, found.sliding_error[K - 1], rtol=1e-10, atol=1e-14)
    K, total = 3, jax.tree.map(jnp.zeros_like, params)
    for first in (1, 2, 3):
        pieces = [jax.tree.map(lambda leaf, s=s: leaf[:, s], batch) for s in (slice(first), slice(first, T))]
        head, carry = estimate(chunked, cell, params, h_0, pieces[0], window=K)
        tail, _ = estimate(chunked, cell, params, carry, pieces[1], window=K)
        total = jax.tree.map(lambda a, b, c: a + (b + c) / 3, total, head.grads, tail.grads)
    lost = jax.tree.map(jnp.subtract, found.gradient, total)
    np.testing.assert_allclose(tree_norm(lost) / size, found.chunked_error[K - 1], rtol=1e-10)


def test_few_lags_are_the_first_of_all_and_a_single_step_has_one():
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    every, few = profile_of(cell, params, h_0, batch), profile_of(cell, params, h_0, batch, lags=2)
    for name in ("norm", "share", "sliding_error", "chunked_error"):
        assert_close(getattr(few, name), getattr(every, name)[:2])
    one = profile_of(cell, *cast(make_batch(cell, d, 1, 1), jnp.float32))
    assert one.norm.shape == (1,) and not one.sliding_error.any()
    assert {leaf.dtype for leaf in jax.tree.leaves(one)} == {jnp.dtype(jnp.float32)}


def test_reach_is_the_weight_of_the_losses_that_have_terms_of_a_lag():
    cell, d = CELLS["elman_tanh"]
    params, h_0, batch = make_batch(cell, d, B, T)
    np.testing.assert_allclose(profile_of(cell, params, h_0, batch).reach, 1 - np.arange(T) / T)
    last = batch._replace(weights=jnp.zeros((B, T)).at[:, -1].set(2))
    np.testing.assert_array_equal(profile_of(cell, params, h_0, last).reach, np.ones(T))


def test_errors_far_below_rounding_are_right():
    """h_t = h_{t-1}/10 + w x_t, loss at the end: a window of K loses 10^-K of the gradient."""
    weights = jnp.zeros((1, 30), jnp.float32).at[0, -1].set(1)
    batch = Batch(jnp.ones((1, 30), jnp.float32), jnp.zeros((1, 30), jnp.float32), weights)
    w, tenth = jnp.asarray(1, jnp.float32), jnp.asarray(0.1, jnp.float32)

    def step_loss(w, y, target):
        del w, target
        return y

    h_0 = jnp.zeros(1, jnp.float32)
    found = lag_profile(lambda w, h, x: (tenth * h + w * x,) * 2, step_loss, w, h_0, batch)
    np.testing.assert_allclose(found.sliding_error[:-1], 10.0 ** -np.arange(1, 30) - 1e-30, rtol=1e-4)


def test_memory_does_not_grow_with_pairs_nor_with_lags_times_parameters():
    """T = 1000, 64 units: 6,000 parameters, of which all lags would be 24 MB, and all pairs 24 GB."""
    from jaxrnn import cells

    cell, steps = cells.stack(cells.gru(2, 64), cells.dense(64, 1)), 1000
    like = jax.eval_shape(lambda: cast(make_batch(cell, 2, 1, steps), jnp.float32))
    program = jax.jit(partial(lag_profile, cell.step, squared_error)).lower(*like).compile()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(like[0]))
    assert program.memory_analysis().temp_size_in_bytes < 4 * steps * parameters / 3


def test_decay_finds_rate_error_and_what_lies_beyond():
    lags = np.arange(40)
    exact = geometric_decay(jnp.asarray(3 * 0.8**lags))
    np.testing.assert_allclose(exact.log_rate, np.log(0.8), rtol=1e-10)
    np.testing.assert_allclose(exact.beyond, 0.8**40 / (1 - 0.8**40), rtol=1e-8)
    np.testing.assert_allclose(exact.smallest_keep, 0.64, rtol=1e-10)
    assert exact.geometric and exact.quality > 1 - 1e-12
    short = 1 - lags / 40
    np.testing.assert_allclose(
        geometric_decay(jnp.asarray(short * 0.8**lags), jnp.asarray(short)).log_rate, np.log(0.8), rtol=1e-10
    )
    # 400 noisy profiles: the standard error is that of the rate.
    noise = np.random.default_rng(0).normal(size=(400, 40)) * 0.3
    many = jax.vmap(geometric_decay)(jnp.asarray(0.95**lags * np.exp(noise)))
    np.testing.assert_allclose(np.std(many.log_rate), np.mean(many.standard_error), rtol=0.15)
    np.testing.assert_allclose(np.mean(many.log_rate), np.log(0.95), atol=0.002)


@pytest.mark.parametrize(
    ("profile", "geometric"),
    [
        (1.05 ** np.arange(40), False),
        (np.ones(40), False),
        (np.exp(np.random.default_rng(1).normal(size=40)), False),
        (np.r_[1.0, 0.1, np.zeros(38)], True),
        (0.1 ** np.arange(40), True),
        (np.r_[np.nan, np.ones(9)], False),
        (np.ones(2), False),
        (np.r_[np.ones(20), 0.5 ** np.arange(20)], True),
    ],
    ids=["growing", "constant", "noise", "ends", "below rounding", "NaN", "short", "flat, then falling"],
)
def test_decay_is_geometric_or_not(profile, geometric):
    assert bool(geometric_decay(jnp.asarray(profile)).geometric) is geometric
