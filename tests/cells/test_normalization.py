"""Layer and batch normalisation against NumPy's means and variances."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import EPS_12, assert_close, make_params, make_sequence, run, run_jacobians
from jax import lax
from oracles import sigmoid

from jaxrnn import Batch, cells, gradients, unroll
from jaxrnn.jacobians import step_jacobians
from jaxrnn.losses import squared_error

BATCH = cells.elman(3, 4, normalization=cells.batch_norm())
B, T = 6, 5


def make_batch(cell, size=4):
    """(params, random h_0, a Batch); `cases.make_batch` runs the step of one sequence, which has no batch."""
    params = make_params(cell)
    rng = np.random.default_rng(0)
    h_0 = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), cell.initial_states(params, B))
    return params, h_0, Batch(*(jnp.asarray(rng.normal(size=(B, T, n))) for n in (3, size)))


def test_layer_norm_standardizes_over_the_units():
    cell = cells.elman(3, 4, normalization=cells.layer_norm())
    params, h, xs = make_sequence(cell, 3, 5)
    traj = run(cell, params, h, xs)
    for t in range(5):
        z = np.asarray(params["W_hx"] @ xs[t] + params["W_hh"] @ h)
        h = np.tanh(params["gain"] * (z - z.mean()) / np.sqrt(z.var() + 1e-5) + params["b_h"])
        assert_close(traj.hs[t], h)


def standardized(z, gates):
    z = np.asarray(z).reshape(gates, -1)
    return ((z - z.mean(axis=1)[:, None]) / np.sqrt(z.var(axis=1)[:, None] + 1e-5)).ravel()


def lstm_gates(z, c, _):
    """(c_t, o before its σ) of pre-activations."""
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, o


def coupled_gates(z, c, _):
    f, g, o = np.split(z, 3)
    return sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(g), o


def peephole_gates(z, c, p):
    (i, f, g, o), (p_i, p_f, p_o) = np.split(z, 4), np.split(p, 3)
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return c, o + p_o * c


MEMORIES = {
    "lstm": (cells.lstm, lstm_gates, 4),
    "coupled_lstm": (cells.coupled_lstm, coupled_gates, 3),
    "peephole_lstm": (cells.peephole_lstm, peephole_gates, 4),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_layer_norm_takes_each_gate_of_a_memory_by_itself_and_the_memory_that_is_shown(name):
    make, advance, gates = MEMORIES[name]
    cell = make(2, 3, normalization=cells.layer_norm())
    params, (h, c), xs = make_sequence(cell, 2, 5)
    p, c = (np.asarray(leaf) for leaf in (params.get("p", 0), c))
    traj = run(cell, params, cells.LSTMState(h, jnp.asarray(c)), xs)
    for t in range(5):
        z = params["gain"] * standardized(params["W_x"] @ xs[t] + params["W_h"] @ h, gates) + params["b"]
        c, o = advance(np.asarray(z), c, p)
        h = sigmoid(o) * np.tanh(params["gain_c"] * standardized(c, 1) + params["b_c"])
        assert_close((traj.hs.h[t], traj.hs.c[t]), (h, c))


@pytest.mark.parametrize("name", MEMORIES)
def test_normalization_leaves_the_memory_path_to_the_forget_gates(name):
    """What is carried is c_t itself, so that ∂c_t/∂c_{t-1} past closed recurrent weights stays diagonal."""
    cell = MEMORIES[name][0](2, 3, normalization=cells.layer_norm())
    params, h_0, xs = make_sequence(cell, 2, 5)
    params = params | {"W_h": jnp.zeros_like(params["W_h"])}
    _, js = run_jacobians(cell, params, h_0, xs)
    path = np.asarray(js)[:, 3:, 3:]
    assert_close(path, path * np.eye(3))
    assert np.all(np.diagonal(path, axis1=1, axis2=2) > 0)


def gru_gates(from_x, from_h, h, b_hn):
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(from_x, 3), np.split(from_h, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return z * h + (1 - z) * np.tanh(x_n + r * (h_n + b_hn))


def mgu_gates(from_x, from_h, h, b_hn):
    (x_f, x_n), (h_f, h_n) = np.split(from_x, 2), np.split(from_h, 2)
    f = sigmoid(x_f + h_f)
    return (1 - f) * h + f * np.tanh(x_n + f * (h_n + b_hn))


@pytest.mark.parametrize(
    ("make", "advance", "gates"), [(cells.gru, gru_gates, 3), (cells.mgu, mgu_gates, 2)], ids=["gru", "mgu"]
)
def test_layer_norm_takes_inputs_and_states_apart_where_a_gate_multiplies_the_states(make, advance, gates):
    cell = make(2, 3, normalization=cells.layer_norm())
    params, h, xs = make_sequence(cell, 2, 5)
    traj = run(cell, params, h, xs)
    for t in range(5):
        from_x = params["gain_x"] * standardized(params["W_x"] @ xs[t], gates) + params["b"]
        from_h = params["gain_h"] * standardized(params["W_h"] @ h, gates)
        h = advance(*(np.asarray(leaf) for leaf in (from_x, from_h, h, params["b_hn"])))
        assert_close(traj.hs[t], h)


def test_a_network_with_layer_norm_does_not_see_the_scale_of_its_weights():
    cell = cells.elman(3, 8, normalization=cells.layer_norm(epsilon=0.0))
    params, h_0, xs = make_sequence(cell, 3, 5)
    scaled = params | {name: 100 * params[name] for name in ("W_hx", "W_hh")}
    assert_close(run(cell, scaled, h_0, xs).hs, run(cell, params, h_0, xs).hs, 1000)


def numpy_batch_norm(params, h, xs):
    """(hs, means, variances) [T, B, H] and [T, H] of xs [B, T, d]."""
    rows = []
    for t in range(xs.shape[1]):
        z = np.asarray(xs[:, t] @ params["W_hx"].T + h @ params["W_hh"].T)
        mean, variance = z.mean(axis=0), z.var(axis=0)
        gain, b = np.asarray(params["gain"])[None], np.asarray(params["b_h"])[None]
        h = np.tanh(gain * (z - mean[None]) / np.sqrt(variance[None] + 1e-5) + b)
        rows.append((h, mean, variance))
    return map(np.stack, zip(*rows, strict=True))


def test_batch_norm_has_the_statistics_of_numpy_at_every_step():
    params, h_0, batch = make_batch(BATCH)
    hs, means, variances = numpy_batch_norm(params, h_0, batch.xs)
    (found,) = cells.batch_statistics(BATCH.step, params, h_0, batch.xs)
    assert_close(found.mean[:, 0], means)
    assert_close(found.variance[:, 0], variances)
    step = jax.vmap(BATCH.step, (None, 0, 0), axis_name="batch")
    assert_close(unroll(step, params, h_0, jnp.swapaxes(batch.xs, 0, 1)).hs, hs)


@pytest.mark.parametrize(
    "constructor",
    [gradients.full, partial(gradients.sliding, window=50), partial(gradients.chunked, window=50)],
)
def test_estimators_of_batches_give_the_gradient_through_the_statistics(constructor):
    params, h_0, batch = make_batch(BATCH)

    def plain(params):
        step = jax.vmap(BATCH.step, (None, 0, 0), axis_name="batch")
        _, ys = lax.scan(lambda h, x: step(params, h, x), h_0, jnp.swapaxes(batch.xs, 0, 1))
        return 0.5 * jnp.sum((ys - jnp.swapaxes(batch.targets, 0, 1)) ** 2) / (B * T)

    estimator = constructor(BATCH.step, squared_error)
    found, _ = estimator.estimate(params, estimator.init(params, h_0), batch, jax.random.key(0))
    expected, grads = jax.value_and_grad(plain)(params)
    assert_close((found.loss, found.grads), (expected, grads), EPS_12)


def test_one_sequence_with_the_statistics_of_its_batch_runs_as_it_did_there():
    network = cells.stack(BATCH, cells.elman(4, 2, normalization=cells.batch_norm()))
    params, h_0, batch = make_batch(network, 2)
    seen = cells.batch_statistics(network.step, params, h_0, batch.xs)
    assert len(seen) == 2
    step = jax.vmap(network.step, (None, 0, 0), axis_name="batch")
    expected = unroll(step, params, h_0, jnp.swapaxes(batch.xs, 0, 1)).ys
    for b in range(2):
        h = jax.tree.map(lambda leaf, b=b: leaf[b], h_0)
        traj = unroll(cells.with_statistics(network.step), params, h, (batch.xs[b], seen))
        assert_close(traj.ys, expected[:, b])


def test_with_fixed_statistics_the_jacobian_is_that_of_one_sequence():
    params, h_0, batch = make_batch(BATCH)
    (seen,) = cells.batch_statistics(BATCH.step, params, h_0, batch.xs)
    step = cells.with_statistics(BATCH.step)
    traj = unroll(step, params, h_0[0], (batch.xs[0], (seen,)))
    slopes = (1 - traj.hs**2) * params["gain"][None] / np.sqrt(seen.variance[:, 0] + 1e-5)
    assert_close(step_jacobians(step, params, traj), slopes[:, :, None] * params["W_hh"][None])


def test_both_start_at_their_gain_and_change_the_network(key):
    gains = [
        cells.elman(3, 4, normalization=kind).init(key)["gain"]
        for kind in (cells.layer_norm(), cells.layer_norm(initial_gain=0.5), cells.batch_norm())
    ]
    assert_close(jnp.stack(gains), np.array([[1.0], [0.5], [0.1]]) * np.ones((1, 4)))
    assert "gain" not in cells.elman(3, 4).init(key)


def test_batch_norm_of_one_sequence_says_what_to_do():
    params, h_0, xs = make_sequence(BATCH, 3, 2)
    with pytest.raises(ValueError, match=r"no batch axis 'batch' here.*with_statistics"):
        unroll(BATCH.step, params, h_0, xs)
    batch = Batch(jnp.ones((2, 3, 3)), jnp.zeros((2, 3, 4)))
    estimator = gradients.rtrl(BATCH.step, squared_error)
    states = BATCH.initial_states(params, 2)
    with pytest.raises(ValueError, match="no batch axis"):
        estimator.estimate(params, estimator.init(params, states), batch, jax.random.key(0))


def test_statistics_of_a_network_without_batch_norm_are_refused():
    cell = cells.elman(3, 4)
    params = make_params(cell)
    with pytest.raises(ValueError, match="step has no batch_norm"):
        cells.batch_statistics(cell.step, params, cell.initial_states(params, 2), jnp.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="step left 1 of 1 moments over"):
        cells.with_statistics(cell.step)(params, jnp.zeros(4), (jnp.ones(3), (None,)))
    with pytest.raises(ValueError, match="normalises more often than there are moments_t"):
        cells.with_statistics(BATCH.step)(make_params(BATCH), jnp.zeros(4), (jnp.ones(3), ()))
    with pytest.raises(TypeError, match="expected a pair"):
        cells.with_statistics(BATCH.step)(params, jnp.zeros(4), jnp.ones(3))


@pytest.mark.parametrize("make", [cells.elman, cells.lstm, cells.gru])
def test_what_is_no_normalization_and_parameters_without_gains_are_named(make, unchecked_types):
    del unchecked_types
    with pytest.raises(
        TypeError, match=r"normalization is a function; expected layer_norm\(\), batch_norm\(\)"
    ):
        make(3, 4, normalization=cells.layer_norm)
    cell, plain = make(3, 4, normalization=cells.layer_norm()), make(3, 4)
    params = plain.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"params is .*; expected .*'gain"):
        cell.step(params, cell.init_state(params), jnp.ones(3))


def test_a_constant_batch_is_not_divided_by_zero():
    params = make_params(BATCH)
    batch = Batch(jnp.ones((3, 4, 3)), jnp.zeros((3, 4, 4)))
    estimator = gradients.full(BATCH.step, squared_error)
    found, _ = estimator.estimate(params, BATCH.initial_states(params, 3), batch, jax.random.key(0))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(found))
