"""Forward in time: RTRL equals BPTT and knows no border between batches; UORO does so in the mean."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, ESTIMATORS, LEARNED, assert_close, estimate, make_batch

from jaxrnn.gradients.loss import time_major
from jaxrnn.gradients.online import online_gradients
from jaxrnn.gradients.uoro import _RULE as UORO
from jaxrnn.losses import squared_error

B, T = 2, 5
CELL, D = CELLS["elman_tanh"]


def in_pieces(batch, *ends):
    """The batch, cut after these steps."""
    starts = (0, *ends[:-1])
    return [
        jax.tree.map(lambda leaf, s=slice(*span): leaf[:, s], batch)
        for span in zip(starts, ends, strict=True)
    ]


def add(a, b):
    return jax.tree.map(jnp.add, a, b)


@pytest.mark.parametrize("name", LEARNED)
def test_rtrl_is_the_full_gradient_with_a_learned_h_0(name):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    exact, _ = estimate(ESTIMATORS["full"], cell, params, h_0, batch, start=True)
    got, _ = estimate(ESTIMATORS["rtrl"], cell, params, h_0, batch, start=True)
    assert_close(got, exact, EPS_12)


@pytest.mark.parametrize("name", CELLS)
def test_rtrl_over_the_borders_of_batches_is_the_full_gradient_of_the_stream(name):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, 9, weights=jnp.ones((B, 9)))
    exact, h_T = estimate(ESTIMATORS["full"], cell, params, h_0, batch)
    estimator = ESTIMATORS["rtrl"](cell.step, squared_error)
    run = jax.jit(estimator.estimate)
    total, carry = jax.tree.map(jnp.zeros_like, exact), estimator.init(params, h_0)
    for piece in in_pieces(batch, 3, 6, 9):
        found, carry = run(params, carry, piece, None)
        total = add(total, found)
    assert_close((total, carry.h), (exact, h_T), EPS_12)


@pytest.mark.parametrize("ends", [(3,), (1, 3)], ids=["one batch", "over a border"])
def test_the_mean_of_uoro_over_all_signs_is_the_full_gradient(ends):
    """n = 4 units: 2 steps have 256 patterns of signs; a last step's signs come too late to matter."""
    params, h_0, batch = make_batch(CELL, D, 1, 3, weights=jnp.ones((1, 3)))
    exact, _ = estimate(ESTIMATORS["full"], CELL, params, h_0, batch)
    n = 4
    signs = jnp.asarray(list(itertools.product((-1.0, 1.0), repeat=2 * n))).reshape(-1, 2, 1, n)
    signs = jnp.concatenate([signs, jnp.ones_like(signs[:, :1])], axis=1)

    @jax.jit
    @jax.vmap
    def gradient(noise):
        carry, total, first = ESTIMATORS["uoro"](CELL.step, squared_error).init(params, h_0), [], 0
        for piece, end in zip(in_pieces(batch, *ends), ends, strict=True):
            segment = time_major("test", carry.h, piece)
            found, carry = online_gradients(
                CELL.step, squared_error, UORO, params, *carry, segment, noise[first:end]
            )
            total, first = [*total, found.grads], end
        return jax.tree.map(lambda *leaves: sum(leaves), *total)

    every = gradient(signs)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), every)
    assert_close(mean, exact.grads, 450)  # 1e-13
    assert any(jnp.max(jnp.std(leaf, axis=0)) > 1e-3 for leaf in jax.tree.leaves(every))


def test_uoro_draws_its_signs_and_its_learned_h_0_from_the_key():
    cell, d = CELLS["elman_learned_h_0"]
    params, _, batch = make_batch(cell, d, B, 2)
    estimator = ESTIMATORS["uoro"](cell.step, squared_error, init_state=cell.init_state)
    draws = jax.jit(jax.vmap(lambda key: estimator.estimate(params, (), batch, key)[0].grads))(
        jax.random.split(jax.random.key(1), 20000)
    )
    exact, _ = estimate(ESTIMATORS["full"], cell, params, None, batch, start=True)
    for found, truth in zip(jax.tree.leaves(draws), jax.tree.leaves(exact.grads), strict=True):
        standard_error = np.std(found, axis=0) / np.sqrt(len(found))
        assert np.all(np.abs(np.mean(found, axis=0) - truth) <= 5 * standard_error + 1e-12)
    assert np.all(np.std(draws["h_0"], axis=0) > 0)
