"""Randomized truncation and forward gradients: unbiased by enumeration of all draws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, ESTIMATORS, assert_close, estimate, make_batch
from jax.flatten_util import ravel_pytree

from jaxrnn import Batch
from jaxrnn.gradients import artbp, forward, randomized
from jaxrnn.gradients.loss import time_major
from jaxrnn.gradients.randomized import _factors, segment_gradients_cut
from jaxrnn.losses import squared_error

CELL, D = CELLS["lstm_dense"]


def output(w, y, target):
    """A loss that is the output itself."""
    del w, target
    return y


@pytest.mark.parametrize("recursive", [True, False])
def test_the_mean_over_all_cuts_is_the_full_gradient(recursive):
    T, keep = 4, np.array([0.3, 0.5, 0.9, 0.6])
    params, h_0, batch = make_batch(CELL, D, 1, T)
    segment = time_major("test", h_0, batch)
    flows = np.array(list(itertools.product((0, 1), repeat=T)))
    probability = np.prod(np.where(flows, keep, 1 - keep), axis=1)

    def gradient(xi):
        return segment_gradients_cut(CELL.step, squared_error, params, h_0, segment, xi, recursive)[2]

    every = jax.jit(jax.vmap(gradient))(jnp.asarray(flows / keep)[:, :, None])
    mean = jax.tree.map(lambda leaf: jnp.tensordot(jnp.asarray(probability), leaf, axes=1), every)
    exact, _ = estimate(ESTIMATORS["full"], CELL, params, h_0, batch)
    assert_close(mean, exact.grads, 450)  # 1e-13
    # All flow but the first step's, into the constant h_0: nothing is cut.
    assert_close(gradient(jnp.ones((T, 1))), exact.grads)


def test_the_mean_over_all_chunkings_of_artbp_is_the_full_gradient():
    T, length, alpha = 5, 3.0, 4.0
    params, h_0, batch = make_batch(CELL, D, 1, T)
    segment = time_major("test", h_0, batch)
    cuts = np.array(list(itertools.product((0, 1), repeat=T)))
    probability = np.ones(len(cuts))
    for row, cut in enumerate(cuts):
        since = 1
        for c in cut:
            of_cut = (alpha - 1) / ((alpha - 2) * length + since)
            probability[row] *= of_cut if c else 1 - of_cut
            since = 1 if c else since + 1

    @jax.jit
    @jax.vmap
    def gradient(uniform):
        xi = _factors(uniform[:, None], length, alpha)
        return segment_gradients_cut(CELL.step, squared_error, params, h_0, segment, xi, True)[2]

    every = gradient(jnp.asarray(np.where(cuts, 0.0, 1 - 1e-9)))
    mean = jax.tree.map(lambda leaf: jnp.tensordot(jnp.asarray(probability), leaf, axes=1), every)
    np.testing.assert_allclose(probability.sum(), 1)
    assert_close(mean, estimate(ESTIMATORS["full"], CELL, params, h_0, batch)[0].grads, 450)  # 1e-13


def test_chunks_of_artbp_have_the_mean_length_and_now_and_then_a_long_one():
    xi = np.asarray(_factors(jax.random.uniform(jax.random.key(0), (20000, 1)), 10.0, 4.0))[:, 0]
    lengths = np.diff(np.flatnonzero(xi == 0))
    np.testing.assert_allclose(np.mean(lengths), 10, rtol=0.1)
    assert np.max(lengths) > 80  # a geometric law of this mean: below 80 with 93 %
    for options in ({"mean_length": 1.0}, {"mean_length": 5.0, "alpha": 2.0}):
        with pytest.raises(ValueError, match=r"gradients\.artbp: mean_length is"):
            artbp(CELL.step, squared_error, **options)


def test_a_cut_ends_every_later_loss_if_recursive_and_only_its_own_if_not():
    """h_t = h_{t-1} + w x_t and ℓ_t = y_t: the gradient is Σ_t Σ_{k <= t} of what flows."""
    batch = Batch(jnp.ones((1, 3)), jnp.zeros((1, 3)), jnp.ones((1, 3)))
    segment = time_major("test", jnp.zeros(1), batch)
    for recursive, expected in ((True, 1 + 1 + 2), (False, 1 + 1 + 3)):
        _, _, grads, _ = segment_gradients_cut(
            lambda w, h, x: (h + w * x, h + w * x),
            output,
            jnp.asarray(1.0),
            jnp.zeros(1),
            segment,
            jnp.asarray([[1.0], [0.0], [1.0]]),
            recursive,
        )
        assert grads == expected


def test_keep_is_the_share_of_draws_that_flow_one_for_each_step():
    step, last = lambda w, h, x: (h + w * x, h + w * x), jnp.asarray([[0.0, 0.0, 1.0]])
    batch = Batch(jnp.ones((1, 3)), jnp.zeros((1, 3)), last)
    estimator = randomized(step, output, keep=[1.0, 0.2, 0.5])
    keys = jax.random.split(jax.random.key(3), 4000)
    run = jax.jit(jax.vmap(lambda key: estimator.estimate(1.0, jnp.zeros(1), batch, key)[0].grads))
    # 1 + ξ_3 (1 + ξ_2), with 1/π = 2 and 5.
    values, counts = np.unique(np.asarray(run(keys)), return_counts=True)
    np.testing.assert_array_equal(values, [1, 3, 13])
    np.testing.assert_allclose(counts / 4000, [0.5, 0.4, 0.1], atol=0.03)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("keep", [0.0, 1.5, -0.1, [0.5, 0.0], [[0.5]], float("nan")])
def test_keep_must_be_probabilities(keep):
    with pytest.raises(ValueError, match=r"gradients\.randomized: keep is .*; expected a probability"):
        randomized(CELL.step, squared_error, keep=keep)


def test_keep_must_have_one_entry_for_each_step():
    params, h_0, batch = make_batch(CELL, D, 2, 5)
    estimator = randomized(CELL.step, squared_error, keep=[0.5, 0.5])
    with pytest.raises(ValueError, match=r"keep has 2 entries; the batch has T = 5 steps"):
        estimator.estimate(params, h_0, batch, jax.random.key(0))


@pytest.mark.parametrize("start", [False, True])
def test_a_forward_gradient_is_the_projection_on_its_signs(start):
    cell, d = CELLS["elman_learned_h_0"]
    params, h_0, batch = make_batch(cell, d, 2, 5)
    exact, h_T = estimate(ESTIMATORS["full"], cell, params, h_0, batch, start=start)
    got, carry = estimate(forward, cell, params, h_0, batch, start=start)
    assert_close((got.loss, carry), (exact.loss, h_T))
    g, found = ravel_pytree(exact.grads)[0], ravel_pytree(got.grads)[0]
    slope = jnp.max(jnp.abs(found))
    # (g·v) v of signs v: all entries have the size |g·v|.
    assert_close(jnp.abs(found), jnp.full_like(found, slope))
    assert_close(g @ found, slope**2, 200)


def test_the_mean_over_all_directions_is_the_full_gradient():
    """h = tanh(a h + b x) + c: three parameters have 8 patterns of signs, all of which 100 keys draw."""

    def step(params, h, x):
        h = jnp.tanh(params["a"] * h + params["b"] * x) + params["c"]
        return h, h

    params = {"a": jnp.asarray(0.7), "b": jnp.asarray(-0.4), "c": jnp.asarray(0.2)}
    xs = jax.random.normal(jax.random.key(0), (2, 6, 1))
    batch, h_0 = Batch(xs, jnp.ones((2, 6, 1))), jnp.zeros((2, 1))
    run = jax.jit(
        jax.vmap(lambda key: forward(step, squared_error).estimate(params, h_0, batch, key)[0].grads)
    )
    every = np.stack(list(run(jax.random.split(jax.random.key(0), 100)).values()), axis=1)
    _, first_of_pattern = np.unique(np.round(every, 12), axis=0, return_index=True)
    # v and -v give the same estimate, so that 8 patterns are 4 estimates, each twice.
    assert len(first_of_pattern) == 4
    exact = ESTIMATORS["full"](step, squared_error).estimate(params, h_0, batch, None)[0].grads
    assert_close(every[first_of_pattern].mean(axis=0), np.stack(list(exact.values())), 450)  # 1e-13


def test_more_directions_are_the_mean_of_independent_ones():
    cell, d = CELLS["elman_tanh"]
    params, h_0, batch = make_batch(cell, d, 2, 5)
    g = ravel_pytree(estimate(ESTIMATORS["full"], cell, params, h_0, batch)[0].grads)[0]
    estimator = forward(cell.step, squared_error, directions=4)
    run = jax.jit(jax.vmap(lambda key: ravel_pytree(estimator.estimate(params, h_0, batch, key)[0].grads)[0]))
    found = run(jax.random.split(jax.random.key(0), 2000))
    variance = jnp.mean(jnp.sum((found - g[None]) ** 2, axis=1)) / (g @ g)
    np.testing.assert_allclose(variance, (len(g) - 1) / 4, rtol=0.1)
    with pytest.raises(ValueError, match=r"gradients\.forward: directions is 0"):
        forward(cell.step, squared_error, directions=0)
