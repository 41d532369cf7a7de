"""The cells against NumPy loops written from E1, E3 and E4; their shapes, starts and Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, make_params, make_sequence, run, run_jacobians
from oracles import elman_loop, gru_loop, lstm_loop, shapes, sigmoid

from jaxrnn import cells
from jaxrnn.cells import LSTMState, activations, initializers


@pytest.mark.parametrize("activation", activations.NAMES)
def test_elman_follows_e1(activation):
    cell = cells.elman(3, 4, activation=activation)
    params, h_0, xs = make_sequence(cell, 3, 7)
    traj = run(cell, params, h_0, xs)
    assert_close(traj.hs, elman_loop(params, h_0, xs, activation))
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_hx": (4, 3), "W_hh": (4, 4), "b_h": (4,)}


def test_lstm_follows_e3_with_gates_i_f_g_o():
    cell = cells.lstm(2, 3)
    params, h_0, xs = make_sequence(cell, 2, 7)
    traj = run(cell, params, h_0, xs)
    assert isinstance(traj.hs, LSTMState)
    assert_close(tuple(traj.hs), lstm_loop(params, *h_0, xs))
    assert_close(traj.ys, traj.hs.h)
    assert shapes(params) == {"W_x": (12, 2), "W_h": (12, 3), "b": (12,)}


def test_gru_follows_e4_with_gates_r_z_n():
    cell = cells.gru(2, 3)
    params, h_0, xs = make_sequence(cell, 2, 7)
    traj = run(cell, params, h_0, xs)
    assert_close(traj.hs, gru_loop(params, h_0, xs))
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_x": (9, 2), "W_h": (9, 3), "b": (9,), "b_hn": (3,)}


def test_dense_stack_and_residual_compose():
    dense, inner = cells.dense(3, 2, activation="tanh"), cells.elman(3, 3)
    network = cells.stack(cells.residual(inner), dense)
    params, h_0, xs = make_sequence(network, 3, 1)
    (h_1, empty), y = network.step(params, h_0, xs[0])
    expected_h = np.tanh(params[0]["W_hx"] @ xs[0] + params[0]["W_hh"] @ h_0[0] + params[0]["b_h"])
    assert_close(h_1, expected_h)
    assert empty == ()
    assert_close(y, np.tanh(params[1]["W"] @ (expected_h + xs[0]) + params[1]["b"]))


def test_residual_adds_the_identity_to_what_a_layer_passes_on():
    cell, x = cells.residual(cells.dense(2, 2)), jnp.ones(2)
    params = make_params(cell)
    through = jax.jacrev(lambda x: cell.step(params, (), x)[1])(x)
    assert_close(through, params["W"] + np.eye(2))


@pytest.mark.parametrize("activation", activations.NAMES)
def test_elman_step_jacobian_is_the_slope_times_w_hh(activation):
    cell = cells.elman(3, 4, activation=activation)
    params, h_0, xs = make_sequence(cell, 3, 5)
    traj, js = run_jacobians(cell, params, h_0, xs)
    z = traj.xs @ params["W_hx"].T + traj.h_tm1s @ params["W_hh"].T + params["b_h"][None]
    eps = 1e-6
    phi = activations.get(activation)
    slopes = (phi(z + eps) - phi(z - eps)) / (2 * eps)
    np.testing.assert_allclose(js, slopes[:, :, None] * params["W_hh"][None], atol=1e-9)
    if activation == "tanh":
        assert_close(js, (1 - traj.hs**2)[:, :, None] * params["W_hh"][None])


def test_lstm_without_recurrent_weights_keeps_memory_by_its_forget_gates():
    cell = cells.lstm(2, 3)
    params, h_0, xs = make_sequence(cell, 2, 6)
    params["W_h"] = jnp.zeros_like(params["W_h"])
    _, js = run_jacobians(cell, params, h_0, xs)
    forget = sigmoid(np.asarray(xs @ params["W_x"].T + params["b"][None])[:, 3:6])
    memory_path = np.linalg.multi_dot(np.asarray(js)[::-1])[3:, 3:]
    assert_close(memory_path, np.diag(np.prod(forget, axis=0)))


def test_gru_with_closed_update_gate_is_the_identity():
    cell = cells.gru(2, 3)
    params, h_0, xs = make_sequence(cell, 2, 4)
    params["b"] = params["b"].at[3:6].set(1e3)
    traj, js = run_jacobians(cell, params, h_0, xs)
    assert_close(traj.hs, jnp.stack([h_0] * 4))
    assert_close(js, jnp.stack([jnp.eye(3)] * 4))


def test_forget_bias_and_learned_start_reach_the_parameters(key):
    params = cells.lstm(2, 3, forget_bias=2.5, learned_h_0=True).init(key)
    assert_close(params["b"], np.repeat([0.0, 2.5, 0.0, 0.0], 3))
    assert shapes(params)["h_0"] == shapes(params)["c_0"] == (3,)
    assert "h_0" not in cells.lstm(2, 3).init(key)


@pytest.mark.parametrize(
    ("initializer", "check"),
    [
        (initializers.orthogonal(1.5), lambda W: assert_close(W @ W.T, 2.25 * np.eye(64))),
        (initializers.identity(0.5), lambda W: assert_close(W, 0.5 * np.eye(64))),
        (
            initializers.spectral_radius(1.3),
            lambda W: assert_close(np.abs(np.linalg.eigvals(W)).max(), np.float64(1.3)),
        ),
        (initializers.he(), lambda W: np.testing.assert_allclose(W.var(), 2 / 64, rtol=0.1)),
        (initializers.glorot(), lambda W: np.testing.assert_allclose(W.var(), 1 / 64, rtol=0.1)),
    ],
)
def test_initializers_have_their_defining_property(initializer, check, key):
    params = cells.elman(2, 64, recurrent_init=initializer).init(key)
    check(np.asarray(params["W_hh"]))


def test_fans_are_the_columns_and_rows_in_this_orientation(key):
    W = np.asarray(initializers.he()(key, (200, 50), jnp.float64))
    np.testing.assert_allclose(W.var(), 2 / 50, rtol=0.05)


@pytest.mark.parametrize(("make", "gates"), [(cells.lstm, 4), (cells.gru, 3)])
def test_every_gate_has_its_own_orthogonal_block(make, gates, key):
    blocks = np.split(np.asarray(make(2, 5).init(key)["W_h"]), gates)
    for i, block in enumerate(blocks):
        assert_close(block @ block.T, np.eye(5))
        assert not any(np.allclose(block, other) for other in blocks[:i])
