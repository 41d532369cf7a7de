"""MGU, coupled and peephole LSTM against NumPy loops and their kin."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, make_params, make_sequence, run, run_jacobians
from jax.extend import core
from oracles import shapes, sigmoid

from jaxrnn import cells, unroll
from jaxrnn.cells import LSTMState, initializers

D, H, T = 2, 3, 7
MGU, COUPLED, PEEPHOLE = cells.mgu(D, H), cells.coupled_lstm(D, H), cells.peephole_lstm(D, H)
NEW = {"mgu": cells.mgu, "coupled_lstm": cells.coupled_lstm, "peephole_lstm": cells.peephole_lstm}
GATED = {"lstm": cells.lstm, "gru": cells.gru} | NEW
every_new = pytest.mark.parametrize("name", NEW)
every_gated = pytest.mark.parametrize("name", GATED)


def blocks(array, n=H):
    """One array a gate."""
    array = np.asarray(array)
    return [array[start : start + n] for start in range(0, len(array), n)]


def pre_activations(params, h, x):
    """W_x x + W_h h + b, one array a gate."""
    return blocks(np.asarray(params["W_x"]) @ x + np.asarray(params["W_h"]) @ h + np.asarray(params["b"]))


def mgu_loop(params, h, xs):
    (W_f, W_n), (U_f, U_n), (b_f, b_n) = (blocks(params[name]) for name in ("W_x", "W_h", "b"))
    b_hn, h, rows = np.asarray(params["b_hn"]), np.asarray(h), []
    for x in np.asarray(xs):
        f = sigmoid(W_f @ x + U_f @ h + b_f)
        h = (1 - f) * h + f * np.tanh(W_n @ x + f * (U_n @ h + b_hn) + b_n)
        rows.append(h)
    return np.stack(rows)


def coupled_loop(params, h, c, xs):
    h, c, rows = np.asarray(h), np.asarray(c), []
    for x in np.asarray(xs):
        f, g, o = pre_activations(params, h, x)
        c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        rows.append((h, c))
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def peephole_loop(params, h, c, xs):
    """Memory after memory, unit by unit; the output gate reads the new memory."""
    p_i, p_f, p_o = blocks(params["p"])
    h, c, rows = np.asarray(h), np.asarray(c), []
    for x in np.asarray(xs):
        z_i, z_f, z_g, z_o = pre_activations(params, h, x)
        new = [
            sigmoid(z_f[u] + p_f[u] * c[u]) * c[u] + sigmoid(z_i[u] + p_i[u] * c[u]) * np.tanh(z_g[u])
            for u in range(H)
        ]
        c = np.array(new)
        h = np.array([sigmoid(z_o[u] + p_o[u] * c[u]) * np.tanh(c[u]) for u in range(H)])
        rows.append((h, c))
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def sequence(cell):
    """(params, h_0, xs), with peepholes large enough to matter."""
    params, h_0, xs = make_sequence(cell, D, T)
    if "p" in params:
        params["p"] = 10 * params["p"]
    return params, h_0, xs


def test_mgu_follows_its_equation_with_gates_f_n():
    params, h_0, xs = sequence(MGU)
    traj = run(MGU, params, h_0, xs)
    assert_close(traj.hs, mgu_loop(params, h_0, xs))
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_x": (6, 2), "W_h": (6, 3), "b": (6,), "b_hn": (3,)}


def test_coupled_lstm_follows_its_equation_with_gates_f_g_o():
    params, h_0, xs = sequence(COUPLED)
    traj = run(COUPLED, params, h_0, xs)
    assert isinstance(traj.hs, LSTMState)
    assert_close(tuple(traj.hs), coupled_loop(params, *h_0, xs))
    assert_close(traj.ys, traj.hs.h)
    assert shapes(params) == {"W_x": (9, 2), "W_h": (9, 3), "b": (9,)}


def test_peephole_lstm_follows_its_equation_with_peepholes_i_f_o():
    params, h_0, xs = sequence(PEEPHOLE)
    traj = run(PEEPHOLE, params, h_0, xs)
    assert isinstance(traj.hs, LSTMState)
    assert_close(tuple(traj.hs), peephole_loop(params, *h_0, xs))
    assert_close(traj.ys, traj.hs.h)
    assert shapes(params) == {"W_x": (12, 2), "W_h": (12, 3), "b": (12,), "p": (9,)}


def rows_of(params, make):
    """W_x, W_h and b with other gates: `make` takes the blocks of one of them and gives the new list."""
    return {name: np.concatenate(make(*blocks(params[name]))) for name in ("W_x", "W_h", "b")}


def test_mgu_is_a_gru_whose_reset_gate_is_one_minus_its_update_gate():
    params, h_0, xs = sequence(MGU)
    twin = rows_of(params, lambda f, n: [f, -f, n]) | {"b_hn": params["b_hn"]}
    (traj, js), (expected, expected_js) = (
        run_jacobians(cell, p, h_0, xs) for cell, p in ((MGU, params), (cells.gru(D, H), twin))
    )
    assert_close((traj.hs, js), (expected.hs, expected_js), 400)


def test_mgu_with_a_closed_gate_is_the_identity():
    params, h_0, xs = sequence(MGU)
    params["b"] = params["b"].at[:H].set(-1e3)
    traj, js = run_jacobians(MGU, params, h_0, xs)
    assert_close(traj.hs, jnp.stack([h_0] * T))
    assert_close(js, jnp.stack([jnp.eye(H)] * T))


def test_mgu_with_an_open_gate_is_elman():
    params, h_0, xs = sequence(MGU)
    params["b"] = params["b"].at[:H].set(1e3)
    plain = {"W_hx": params["W_x"][H:], "W_hh": params["W_h"][H:], "b_h": params["b"][H:] + params["b_hn"]}
    assert_close(run(MGU, params, h_0, xs).hs, run(cells.elman(D, H), plain, h_0, xs).hs)


def test_coupled_lstm_is_an_lstm_whose_input_gate_mirrors_its_forget_gate():
    params, h_0, xs = sequence(COUPLED)
    twin = rows_of(params, lambda f, g, o: [-f, f, g, o])
    (traj, js), (expected, expected_js) = (
        run_jacobians(cell, p, h_0, xs) for cell, p in ((COUPLED, params), (cells.lstm(D, H), twin))
    )
    assert_close((traj.hs, js), (expected.hs, expected_js), 400)


def test_coupled_lstm_without_recurrent_weights_keeps_memory_by_its_forget_gates():
    params, h_0, xs = sequence(COUPLED)
    params["W_h"] = jnp.zeros_like(params["W_h"])
    _, js = run_jacobians(COUPLED, params, h_0, xs)
    forget = sigmoid(np.asarray(xs @ params["W_x"].T + params["b"][None])[:, :H])
    memory_path = np.linalg.multi_dot(np.asarray(js)[::-1])[H:, H:]
    assert_close(memory_path, np.diag(np.prod(forget, axis=0)))


def test_memory_of_coupled_lstm_stays_within_one():
    params, _, xs = sequence(COUPLED)
    h_0 = LSTMState(jnp.zeros(H), jnp.ones(H))
    params["b"] = params["b"].at[H : 2 * H].set(20.0)
    assert_close(run(COUPLED, params, h_0, xs).hs.c, jnp.ones((T, H)))
    assert float(jnp.max(jnp.abs(run(COUPLED, params, h_0, 50 * xs).hs.c))) <= 1


def test_peephole_lstm_that_sees_nothing_is_lstm():
    params, h_0, xs = sequence(PEEPHOLE)
    params["p"] = jnp.zeros_like(params["p"])
    same = {name: leaf for name, leaf in params.items() if name != "p"}
    assert_close(run_jacobians(PEEPHOLE, params, h_0, xs), run_jacobians(cells.lstm(D, H), same, h_0, xs))
    assert bool(jnp.all(PEEPHOLE.init(jax.random.key(0))["p"] == 0))


@pytest.mark.parametrize("gate", range(3))
def test_every_peephole_matters(gate):
    params, h_0, xs = sequence(PEEPHOLE)
    blind = params | {"p": params["p"].at[gate * H : (gate + 1) * H].set(0.0)}
    difference = run(PEEPHOLE, params, h_0, xs).ys - run(PEEPHOLE, blind, h_0, xs).ys
    assert float(jnp.max(jnp.abs(difference))) > 1e-3


def test_peepholes_join_the_memory_path():
    params, h_0, xs = sequence(PEEPHOLE)
    params["W_h"] = jnp.zeros_like(params["W_h"])
    traj, js = run_jacobians(PEEPHOLE, params, h_0, xs)
    p_i, p_f, _ = blocks(params["p"])
    for t in range(T):
        c = np.asarray(traj.h_tm1s.c[t])
        z_i, z_f, z_g, _ = pre_activations(params, np.zeros(H), np.asarray(xs[t]))
        i, f = sigmoid(z_i + p_i * c), sigmoid(z_f + p_f * c)
        path = f + p_f * f * (1 - f) * c + p_i * i * (1 - i) * np.tanh(z_g)
        assert_close(js[t, H:, H:], np.diag(path))


def saturated(cell):
    """(params in float32 whose f gate is open to e^-20 and which reads no state, h_0, x)."""
    params, h_0, xs = make_sequence(cell, D, 1, dtype=jnp.float32)
    zero = jnp.zeros_like
    params = params | {"W_x": zero(params["W_x"]), "W_h": zero(params["W_h"]), "b": zero(params["b"])}
    return params | {"b": params["b"].at[:H].set(20.0)}, h_0, xs[0]


def test_path_past_an_open_gate_of_mgu_keeps_its_digits():
    params, h_0, x = saturated(MGU)
    J = jax.jacrev(lambda h: MGU.step(params, h, x)[0])(h_0)
    np.testing.assert_allclose(np.diag(J), sigmoid(-20.0), rtol=1e-5)


def test_gradient_through_a_closed_input_gate_of_coupled_lstm_keeps_its_digits():
    params, h_0, x = saturated(COUPLED)
    slope = jax.grad(lambda b: jnp.sum(COUPLED.step(params | {"b": b}, h_0, x)[0].c))(params["b"])
    np.testing.assert_allclose(slope[H : 2 * H], sigmoid(-20.0), rtol=1e-5)


@every_new
def test_initializers_reach_every_gate_of_their_own_weights(name, key):
    plain = NEW[name](D, H).init(key)
    recurrent = NEW[name](D, H, recurrent_init=initializers.identity(0.5)).init(key)
    inputs = NEW[name](D, H, input_init=initializers.identity(2.0)).init(key)
    gates = len(plain["b"]) // H
    assert_close(recurrent["W_h"], np.tile(0.5 * np.eye(H), (gates, 1)))
    assert_close(inputs["W_x"], np.tile(2 * np.eye(H, D), (gates, 1)))
    assert_close((recurrent["W_x"], inputs["W_h"]), (plain["W_x"], plain["W_h"]))
    for i, block in enumerate(found := blocks(plain["W_h"])):
        assert_close(block @ block.T, np.eye(H))
        assert not any(np.allclose(block, other) for other in found[:i])


@every_new
def test_weights_of_the_inputs_are_glorot_of_one_gate(name, key):
    W = np.asarray(NEW[name](60, 40).init(key)["W_x"])
    np.testing.assert_allclose(W.var(), 2 / 100, rtol=0.05)


@every_new
def test_a_learned_start_is_what_the_network_starts_from(name):
    cell = NEW[name](D, H, learned_h_0=True)
    params = make_params(cell)
    start = (params["h_0"], params["c_0"]) if "lstm" in name else params["h_0"]
    found = cell.init_state(params)
    assert_close(tuple(found) if "lstm" in name else found, start)
    assert not {"h_0", "c_0"} & NEW[name](D, H).init(jax.random.key(0)).keys()


@every_gated
def test_fresh_parameters_may_be_donated(name, key):
    """Which jit refuses where one array stands for two parameters."""
    params = GATED[name](D, H, learned_h_0=True).init(key)
    doubled = jax.jit(lambda p: jax.tree.map(lambda leaf: 2 * leaf, p), donate_argnums=0)(params)
    assert len(jax.block_until_ready(doubled)) == len(params)


def operations(jaxpr):
    """Names of a program's operations and of those in its calls, but not in its scans."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        if eqn.primitive.name != "scan":
            for inner in core.jaxprs_in_params(eqn.params):
                yield from operations(inner)


def scans_of_steps(jaxpr):
    """How many products every scan of T steps holds."""
    for eqn in jaxpr.eqns:
        for inner in core.jaxprs_in_params(eqn.params):
            if eqn.primitive.name == "scan" and eqn.params["length"] == T:
                yield Counter(operations(inner))["dot_general"]
            yield from scans_of_steps(inner)


@every_new
def test_one_product_a_step_stays_in_the_scan_forward_and_one_backward(name):
    cell = NEW[name](5, 4)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((T, 2, 5))
    step = jax.vmap(cell.step, in_axes=(None, 0, 0))

    def total(params):
        return jnp.sum(unroll(step, params, cell.initial_states(params, 2), xs).ys ** 2)

    assert list(scans_of_steps(jax.make_jaxpr(jax.grad(total))(params).jaxpr)) == [1, 1]


@pytest.mark.usefixtures("unchecked_types")
@every_new
def test_new_cells_refuse_what_does_not_fit(name):
    make = NEW[name]
    for sizes in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=rf"^{name}: .*_size is 0; expected at least 1"):
            make(*sizes)
    cell, other = make(D, H), cells.lstm(D + 1, H)
    params, x = make_params(cell), jnp.ones(D)
    h = cell.init_state(params)
    with pytest.raises(ValueError, match=rf"^{name}: x_t has shape \(3,\); expected \(2,\)"):
        cell.step(params, h, jnp.ones(3))
    with pytest.raises(ValueError, match=rf"^{name}: params is"):
        cell.step(make_params(other), h, x)
    if name == "mgu":
        with pytest.raises(ValueError, match=r"^mgu: h_tm1 has shape \(4,\); expected \(3,\)"):
            cell.step(params, jnp.ones(4), x)
        return
    with pytest.raises(TypeError, match=rf"^{name}: h_tm1 is a tuple; expected LSTMState"):
        cell.step(params, tuple(h), x)
    for part in ("h", "c"):
        with pytest.raises(ValueError, match=rf"^{name}: h_tm1.{part} has shape \(3, 1\); expected \(3,\)"):
            cell.step(params, h._replace(**{part: jnp.ones((3, 1))}), x)
