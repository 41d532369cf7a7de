"""Cells made of cells: leaps over steps, noise with keys, an encoder before a decoder."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close, make_params, make_sequence, run, run_jacobians
from oracles import end_to_end_jacobian

from jaxrnn import Batch, cells, gradients, unroll
from jaxrnn.cells import LSTMState
from jaxrnn.jacobians import product
from jaxrnn.losses import squared_error
from jaxrnn.training import train
from jaxrnn.types import Cell


def past(hs, h_0, t, s):
    """h_{t-s}, where all states before the first input are h_0."""
    return hs[t - s - 1] if t > s else h_0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_skip_reads_the_state_of_several_steps_ago(share):
    cell = cells.skip(cells.elman(3, 4), 3, share=share)
    params, _, xs = make_sequence(cell, 3, 8)
    h_0 = cell.init_state(params)
    traj = run(cell, params, h_0, xs)
    hs = []
    for t in range(1, 9):
        read = (1 - share) * past(hs, h_0[0], t, 1) + share * past(hs, h_0[0], t, 3)
        hs.append(np.tanh(params["W_hx"] @ xs[t - 1] + params["W_hh"] @ read + params["b_h"]))
    assert_close(traj.ys, np.stack(hs))
    assert_close(traj.hs[-1], np.stack(hs[:-4:-1]))


def test_skip_of_one_step_and_of_no_share_is_the_cell_itself():
    inner = cells.lstm(2, 3)
    params, _, xs = make_sequence(inner, 2, 5)
    expected = run(inner, params, inner.init_state(params), xs).ys
    for cell in (cells.skip(inner, 1), cells.skip(inner, 4, share=0.0)):
        assert_close(run(cell, params, cell.init_state(params), xs).ys, expected)


def test_a_dilated_chain_shrinks_the_gradient_once_in_s_steps():
    cell = cells.skip(cells.elman(1, 2, activation="linear"), 5, share=1.0)
    params, h_0, xs = make_sequence(cell, 1, 20)
    params["W_hh"] = 0.5 * jnp.eye(2)
    _, js = run_jacobians(cell, params, h_0, xs)
    chain = np.linalg.multi_dot(np.asarray(js)[::-1])
    assert_close(np.linalg.norm(chain, 2), np.float64(0.5**4))


def keys_of(T, seed=0):
    return jax.random.split(jax.random.key(seed), T)


@pytest.mark.parametrize("make", [cells.elman, cells.lstm])
def test_zoneout_keeps_a_share_of_the_units_exactly(make):
    inner = make(3, 200)
    cell = cells.zoneout(inner, 0.3)
    params, h_0, xs = make_sequence(inner, 3, 6)
    traj = unroll(cell.step, params, h_0, (xs, keys_of(6)))
    stepped = jax.vmap(inner.step, (None, 0, 0))(params, traj.h_tm1s, xs)[0]
    for old, new, kept in zip(*map(jax.tree.leaves, (traj.h_tm1s, stepped, traj.hs)), strict=True):
        same = np.asarray(kept == old)
        assert_close(kept, jnp.where(same, old, new))
        assert abs(same.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / same.size)
        assert not (same[0] == same[1]).all()
    assert_close(traj.ys, traj.hs.h if make is cells.lstm else traj.hs)


def test_zoneout_passes_the_gradient_of_a_kept_unit_unchanged():
    cell = cells.zoneout(cells.elman(3, 50), 0.5)
    params, h_0, xs = make_sequence(cells.elman(3, 50), 3, 1)
    x_1 = xs[0], jax.random.key(3)
    h_1, _ = cell.step(params, h_0, x_1)
    J = jax.jacrev(lambda h: cell.step(params, h, x_1)[0])(h_0)
    kept = np.asarray(h_1 == h_0)
    assert kept.any()
    assert not kept.all()
    assert_close(J[kept], np.eye(50)[kept])
    inner = jax.jacrev(lambda h: cells.elman(3, 50).step(params, h, xs[0])[0])(h_0)
    assert_close(J[~kept], inner[~kept])


def test_without_a_key_zoneout_is_its_mean_and_dropout_the_cell_itself():
    inner = cells.elman(3, 4)
    params, h_0, xs = make_sequence(inner, 3, 1)
    new, _ = inner.step(params, h_0, xs[0])
    h_1, y_1 = cells.zoneout(inner, 0.3).step(params, h_0, (xs[0], None))
    assert_close(h_1, 0.3 * h_0 + 0.7 * new)
    assert_close(y_1, h_1)
    assert_close(cells.dropout(inner, 0.3).step(params, h_0, (xs[0], None))[0], new)


def test_dropout_keeps_the_mean_of_the_inputs():
    cell, x = cells.dropout(cells.dense(400, 400), 0.25), jnp.linspace(1, 2, 400)
    params = {"W": jnp.eye(400), "b": jnp.zeros(400)}
    y = cell.step(params, (), (x, jax.random.key(0)))[1]
    dropped = np.asarray(y == 0)
    assert abs(dropped.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 400)
    assert_close(y, jnp.where(dropped, 0, x / 0.75))


def test_dropout_leaves_tokens_and_flags_as_they_are():
    seen = Cell(lambda _: (), lambda _: (), lambda _, h_tm1, x_t: (h_tm1, x_t))
    x = {"flag": jnp.array(True), "token": jnp.arange(50), "x": jnp.ones(200)}
    _, y = cells.dropout(seen, 0.5).step((), (), (x, jax.random.key(0)))
    assert bool(y["flag"]) and jnp.array_equal(y["token"], x["token"])
    assert set(np.unique(y["x"]).tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("wrap", [cells.zoneout, cells.dropout])
def test_noise_of_rate_zero_changes_nothing_and_every_step_has_its_own_key(wrap):
    inner = cells.stack(cells.gru(3, 4), cells.dense(4, 2))
    params, h_0, xs = make_sequence(inner, 3, 4)
    inputs = xs, keys_of(4)
    expected = run(inner, params, h_0, xs)
    free = unroll(wrap(inner, 0.0).step, params, h_0, inputs)
    assert_close((free.hs, free.ys), (expected.hs, expected.ys))
    one, two, other = (
        unroll(wrap(inner, 0.5).step, params, h_0, (xs, keys)).ys
        for keys in (keys_of(4), keys_of(4), keys_of(4, 1))
    )
    assert_close(one, two)
    assert jnp.any(one != other)


@pytest.mark.parametrize("wrap", [cells.zoneout, cells.dropout])
@pytest.mark.parametrize("estimator", [gradients.full, gradients.rtrl])
def test_a_noisy_cell_trains_with_keys_in_its_inputs(wrap, estimator):
    cell = wrap(cells.elman(2, 3), 0.5)

    def sample(key):
        key_xs, key_noise = jax.random.split(key)
        xs = jax.random.normal(key_xs, (4, 5, 2))
        return cells.with_keys(Batch(xs, jnp.zeros((4, 5, 3))), key_noise)

    result = train(cell, estimator(cell.step, squared_error), optax.sgd(0.1), sample, steps=2,
                   key=jax.random.key(0), progress=False)  # fmt: skip
    assert np.isfinite(result.history.loss).all()


def test_with_keys_gives_every_step_of_every_sequence_a_key_of_its_own():
    batch = cells.with_keys(Batch(jnp.ones((2, 5, 3)), jnp.zeros((2, 5, 1))), jax.random.key(0))
    data = np.asarray(jax.random.key_data(batch.xs[1])).reshape(10, -1)
    assert len(np.unique(data, axis=0)) == 10


def make_encoder_decoder():
    return cells.encoder_decoder(cells.gru(3, 4), cells.stack(cells.elman(3, 4), cells.dense(4, 2)))


@pytest.mark.parametrize("border", [0, 3, 7])
def test_encoder_and_decoder_run_one_after_the_other(border):
    cell = make_encoder_decoder()
    params, _, xs = make_sequence(cell, 3, 7)
    traj = unroll(cell.step, params, cell.init_state(params), (xs, jnp.arange(7) >= border))
    encoder, decoder = cells.gru(3, 4), cells.stack(cells.elman(3, 4), cells.dense(4, 2))
    h = jnp.zeros(4)
    for t in range(border):
        h, _ = encoder.step(params["encoder"], h, xs[t])
    h, ys = (h, ()), [jnp.zeros(2)] * border
    for t in range(border, 7):
        h, y = decoder.step(params["decoder"], h, xs[t])
        ys.append(y)
    assert_close(traj.ys, jnp.stack(ys))
    assert_close(jax.tree.map(lambda leaf: leaf[-1], traj.hs), h)


def test_jacobians_cross_the_border():
    cell = make_encoder_decoder()
    params, h_0, xs = make_sequence(cell, 3, 6)
    inputs = xs, jnp.arange(6) >= 3
    traj, js = run_jacobians(cell, params, h_0, inputs)
    reference = end_to_end_jacobian(cell.step, params, h_0, inputs)
    np.testing.assert_allclose(np.linalg.multi_dot(np.asarray(js)[::-1]), reference, atol=1e-13)
    np.testing.assert_allclose(product(cell.step, params, traj, 6, 0), reference, atol=1e-13)


def test_the_decoder_teaches_the_encoder():
    cell = make_encoder_decoder()
    params = make_params(cell)
    xs = jnp.ones((2, 6, 3)), jnp.tile(jnp.arange(6) >= 3, (2, 1))
    weights = jnp.tile((jnp.arange(6) >= 3).astype(float) / 3, (2, 1))
    batch = Batch(xs, jnp.zeros((2, 6, 2)), weights)
    estimator = gradients.full(cell.step, squared_error)
    h_0 = cell.initial_states(params, 2)
    grads = estimator.estimate(params, h_0, batch, jax.random.key(0))[0].grads
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(grads))


def make_bidirectional():
    return cells.bidirectional(cells.gru(3, 4), cells.elman(3, 2))


def test_bidirectional_reads_from_both_ends():
    cell = make_bidirectional()
    params, _, xs = make_sequence(cells.elman(3, 1), 3, 6)
    params = make_params(cell)
    traj = unroll(cell.step, params, cell.init_state(params), cells.both_ways(xs))
    ahead = unroll(cells.gru(3, 4).step, params["forward"], jnp.zeros(4), xs).hs
    back = unroll(cells.elman(3, 2).step, params["backward"], jnp.zeros(2), xs[::-1]).hs
    assert_close(traj.ys, jnp.concatenate([ahead, back], axis=1))
    assert_close(cells.aligned(traj.ys, 4), jnp.concatenate([ahead, back[::-1]], axis=1))


def test_every_aligned_output_depends_on_every_input():
    cell = make_bidirectional()
    params, xs = make_params(cell), make_sequence(cells.elman(3, 1), 3, 4)[2]

    def outputs(xs):
        ys = unroll(cell.step, params, cell.init_state(params), cells.both_ways(xs)).ys
        return jnp.sum(cells.aligned(ys, 4), axis=1)

    reached = jnp.any(jax.jacrev(outputs)(xs) != 0, axis=2)
    assert reached.all()


def test_a_bidirectional_classifier_trains_in_a_batch():
    cell = cells.stack(make_bidirectional(), cells.dense(6, 1))
    params = make_params(cell)
    xs = cells.both_ways(jax.random.normal(jax.random.key(0), (2, 5, 3)), axis=1)
    last = jnp.zeros((2, 5)).at[:, -1].set(1.0)
    batch = Batch(xs, jnp.ones((2, 5, 1)), last)
    estimator = gradients.full(cell.step, squared_error)
    found, _ = estimator.estimate(params, cell.initial_states(params, 2), batch, jax.random.key(0))
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(found.grads))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda cell: cells.skip(cell, 0), "skip: steps is 0"),
        (lambda cell: cells.skip(cell, 2, share=1.5), "share is 1.5; expected 0 <= share <= 1"),
        (lambda cell: cells.zoneout(cell, 1.0), "zoneout: rate is 1.0; expected 0 <= rate < 1"),
        (lambda cell: cells.zoneout(cell, float("nan")), "rate is nan"),
        (lambda cell: cells.dropout(cell, -0.1), "dropout: rate is -0.1"),
    ],
)
def test_options_out_of_range_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(cells.elman(1, 1))


@pytest.mark.parametrize(
    "cell", [cells.zoneout(cells.elman(1, 1), 0.1), cells.dropout(cells.elman(1, 1), 0.1),
             cells.encoder_decoder(cells.elman(1, 1), cells.elman(1, 1)), make_bidirectional()]
)  # fmt: skip
def test_an_input_that_is_no_pair_is_named(cell):
    params = cell.init(jax.random.key(0))
    with pytest.raises(TypeError, match=r"x_t is a .*; expected a pair \(x_t, "):
        cell.step(params, cell.init_state(params), jnp.ones(1))


def test_states_that_do_not_fit_are_named():
    cell = cells.encoder_decoder(cells.elman(1, 2), cells.lstm(1, 2))
    with pytest.raises(ValueError, match=r"the encoder's state has leaves \[\(2,\)\] and the decoder's"):
        cell.init_state(cell.init(jax.random.key(0)))
    cell = cells.skip(cells.elman(1, 2), 3)
    with pytest.raises(ValueError, match="skip: h_tm1 has shape"):
        cell.step(cell.init(jax.random.key(0)), jnp.zeros((2, 2)), jnp.ones(1))


def test_an_lstm_hands_its_memory_to_the_decoder():
    cell = cells.encoder_decoder(cells.lstm(2, 3), cells.stack(cells.lstm(2, 3), cells.dense(3, 1)))
    params = make_params(cell)
    (state,) = jax.tree.leaves(cell.init_state(params), is_leaf=lambda node: isinstance(node, LSTMState))
    assert isinstance(state, LSTMState)
