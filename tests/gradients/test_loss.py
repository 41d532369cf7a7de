"""The loss E2 under weights: task shapes, padding, and what a weight of zero must not read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, ESTIMATORS, assert_close, estimate, make_batch
from oracles import loop_gradient

from jaxrnn import Batch, weights_from_lengths
from jaxrnn.gradients import decompose, full, loss
from jaxrnn.losses import squared_error

T = 6


def full_loss(cell, params, h_0, batch):
    return jax.jit(lambda *args: loss(cell.step, squared_error, *args))(params, h_0, batch)


def assert_equals_loop(cell, params, h_0, batch):
    got, _ = estimate(full, cell, params, h_0, batch)
    value, grads = loop_gradient(cell.step, squared_error, params, h_0, batch)
    assert_close(got.loss, value)
    assert_close(got.grads, grads, EPS_12)
    assert_close(full_loss(cell, params, h_0, batch)[0], value)


@pytest.mark.parametrize(
    "weights",
    [
        None,
        jnp.ones((2, T)),
        jnp.asarray([[0.0] * 5 + [1.0], [0.0] * 3 + [1.0, 0, 0]]),
        jnp.asarray([[0.0] * 3 + [1.0] * 3] * 2),
        jnp.asarray([[0.3, 0, -1, 2, 0.5, 0], [0] * 6]),
    ],
    ids=["mean", "sum", "many-to-one", "encoder-decoder", "any"],
)
def test_weighted_loss_and_gradient_equal_a_loop(weights):
    cell, d = CELLS["lstm_dense"]
    assert_equals_loop(cell, *make_batch(cell, d, 2, T, weights=weights))


def test_an_encoder_reads_inputs_whose_targets_weigh_nothing():
    cell, d = CELLS["elman_tanh"]
    weights = jnp.asarray([[0.0] * 3 + [1.0] * 3])
    params, h_0, batch = make_batch(cell, d, 1, T, weights=weights)
    nan_targets = batch._replace(targets=batch.targets.at[:, :3].set(jnp.nan))
    assert_close(full_loss(cell, params, h_0, nan_targets)[0], full_loss(cell, params, h_0, batch)[0])
    moved = batch._replace(xs=batch.xs.at[0, 0, 0].add(0.5))
    assert full_loss(cell, params, h_0, moved)[0] != full_loss(cell, params, h_0, batch)[0]


@pytest.mark.parametrize("garbage", [jnp.nan, jnp.inf, 1e30])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_padding_contributes_exactly_zero_whatever_it_holds(kind, garbage):
    cell, d = CELLS["lstm_dense"]
    lengths = jnp.asarray([T, 2])
    params, h_0, batch = make_batch(cell, d, 2, T, weights=weights_from_lengths(lengths, T))
    spoilt = Batch(batch.xs.at[1, 2:].set(garbage), batch.targets.at[1, 2:].set(garbage), batch.weights)
    clean, _ = estimate(ESTIMATORS[kind], cell, params, h_0, batch)
    got, _ = estimate(ESTIMATORS[kind], cell, params, h_0, spoilt)
    jax.tree.map(np.testing.assert_array_equal, got, clean)


def test_padding_of_any_content_leaves_every_term_of_the_decomposition():
    cell, d = CELLS["elman_tanh"]
    params, h_0, batch = make_batch(
        cell, d, 2, T, weights=weights_from_lengths(jnp.asarray([T, 2]), T, form="sum")
    )
    spoilt = Batch(batch.xs.at[1, 2:].set(jnp.nan), batch.targets.at[1, 2:].set(jnp.nan), batch.weights)
    run = jax.jit(lambda batch: decompose(cell.step, squared_error, params, h_0, batch))
    jax.tree.map(np.testing.assert_array_equal, run(spoilt), run(batch))


def test_a_padded_sequence_has_the_loss_of_the_short_one():
    cell, d = CELLS["gru"]
    params, h_0, batch = make_batch(cell, d, 1, T, weights=weights_from_lengths(jnp.asarray([4]), T))
    short = Batch(batch.xs[:, :4], batch.targets[:, :4])
    padded, exact = (estimate(full, cell, params, h_0, b)[0] for b in (batch, short))
    assert_close(padded, exact, EPS_12)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("mean", [[0.5, 0.5, 0], [1 / 3] * 3]),
        ("sum", [[1, 1, 0], [1, 1, 1]]),
        ("last", [[0, 1, 0], [0, 0, 1]]),
    ],
)
def test_weights_from_lengths_select_the_task_shape(form, expected):
    lengths = jnp.asarray([2, 3])
    assert_close(weights_from_lengths(lengths, 3, form=form), np.array(expected, float), 1)
    assert_close(jax.jit(lambda n: weights_from_lengths(n, 3, form=form))(lengths), np.array(expected, float))


def test_the_mean_over_sequences_is_the_loss_of_a_batch():
    cell, d = CELLS["gru"]
    params, h_0, batch = make_batch(cell, d, 3, T)
    one = [jax.tree.map(lambda x, b=b: x[b : b + 1], (h_0, batch)) for b in range(3)]
    losses = jnp.stack([full_loss(cell, params, *part)[0] for part in one])
    assert_close(full_loss(cell, params, h_0, batch)[0], jnp.mean(losses))
