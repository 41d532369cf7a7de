"""Cells that are linear in their state: minGRU and the linear recurrent unit."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, make_params, make_sequence, run, run_jacobians
from oracles import numpied, shapes, sigmoid

from jaxrnn import cells
from jaxrnn.cells import initializers

PARTS = ("B_re", "B_im", "C_re", "C_im", "D")


def eigenvalues(params):
    """λ of an LRU."""
    p = numpied(params)
    return np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))


def lru_loop(params, h_0, xs):
    """(hs complex [T, H], ys [T, m])."""
    p, lam, hs, ys = numpied(params), eigenvalues(params), [], []
    B, C = p["B_re"] + 1j * p["B_im"], p["C_re"] + 1j * p["C_im"]
    h = np.asarray(h_0)[:, 0] + 1j * np.asarray(h_0)[:, 1]
    for x in np.asarray(xs):
        h = lam * h + np.sqrt(1 - np.abs(lam) ** 2) * (B @ x)
        hs.append(h)
        ys.append((C @ h).real + p["D"] @ x)
    return np.stack(hs), np.stack(ys)


def test_min_gru_follows_its_equation():
    cell = cells.min_gru(2, 3)
    params, h, xs = make_sequence(cell, 2, 7)
    p, hs = numpied(params), []
    for x in np.asarray(xs):
        z = sigmoid(p["W_x"][:3] @ x + p["b"][:3])
        h = (1 - z) * np.asarray(h) + z * (p["W_x"][3:] @ x + p["b"][3:])
        hs.append(h)
    traj = run(cell, *make_sequence(cell, 2, 7))
    assert_close(traj.hs, np.stack(hs))
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_x": (6, 2), "b": (6,)}


def test_min_gru_step_jacobian_is_what_the_gate_keeps():
    cell = cells.min_gru(2, 3)
    params, h_0, xs = make_sequence(cell, 2, 6)
    _, js = run_jacobians(cell, params, h_0, xs)
    z = sigmoid(np.asarray(xs @ params["W_x"][:3].T + params["b"][None, :3]))
    assert_close(js, np.stack([np.diag(1 - row) for row in z]))


def test_min_gru_keeps_the_digits_of_its_jacobian_where_the_gate_is_open():
    cell = cells.min_gru(1, 1)
    params = {"W_x": jnp.zeros((2, 1), jnp.float32), "b": jnp.array([20.0, 0.0], jnp.float32)}
    _, js = run_jacobians(cell, params, jnp.zeros(1, jnp.float32), jnp.zeros((1, 1), jnp.float32))
    assert_close(js[0, 0, 0], np.float64(1 / (1 + math.exp(20.0))))


def test_min_gru_starts_where_it_is_told(key):
    params = cells.min_gru(3, 3, input_init=initializers.identity(2.0), learned_h_0=True).init(key)
    assert_close(params["W_x"], np.concatenate([2 * np.eye(3)] * 2))
    assert shapes(params)["h_0"] == (3,)
    params["h_0"] = jnp.ones(3)
    assert_close(cells.min_gru(3, 3, learned_h_0=True).init_state(params), np.ones(3))
    params = cells.min_gru(3, 3).init(key)
    assert "h_0" not in params
    assert not np.allclose(*np.split(np.asarray(params["W_x"]), 2))


@pytest.mark.parametrize("output_size", [None, 2, 5])
def test_lru_equals_a_complex_loop(output_size):
    cell = cells.lru(3, 4, output_size=output_size)
    params, h_0, xs = make_sequence(cell, 3, 9)
    hs, ys = lru_loop(params, h_0, xs)
    traj = run(cell, params, h_0, xs)
    assert_close(traj.hs, np.stack([hs.real, hs.imag], axis=-1))
    assert_close(traj.ys, ys)
    m = output_size or 4
    expected = {"nu": (4,), "theta": (4,), "B_re": (4, 3), "B_im": (4, 3)}
    assert shapes(params) == expected | {"C_re": (m, 4), "C_im": (m, 4), "D": (m, 3)}


def test_lru_step_jacobian_holds_a_scaled_rotation_for_every_unit():
    cell = cells.lru(2, 4)
    params, h_0, xs = make_sequence(cell, 2, 5)
    lam = eigenvalues(params)
    expected = np.zeros((8, 8))
    for a, value in enumerate(lam):
        block = [[value.real, -value.imag], [value.imag, value.real]]
        expected[2 * a : 2 * a + 2, 2 * a : 2 * a + 2] = block
    _, js = run_jacobians(cell, params, h_0, xs)
    assert_close(js, np.stack([expected] * 5))
    singular = np.sort(np.linalg.svd(js[3], compute_uv=False))
    assert_close(singular, np.sort(np.repeat(np.abs(lam), 2)))


def test_lru_product_over_many_steps_has_the_powers_of_the_radii():
    cell = cells.lru(2, 3, r_min=0.9, r_max=0.999)
    params, h_0, xs = make_sequence(cell, 2, 200)
    _, js = run_jacobians(cell, params, h_0, xs)
    singular = np.linalg.svd(np.linalg.multi_dot(js), compute_uv=False)
    expected = np.sort(np.repeat(np.abs(eigenvalues(params)) ** 200, 2))[::-1]
    np.testing.assert_allclose(singular, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("r_min", "r_max", "max_phase"), [(0.0, 1.0, 2 * math.pi), (0.9, 0.99, 0.3)])
def test_lru_starts_uniformly_on_its_ring(r_min, r_max, max_phase, key):
    options = {"r_min": r_min, "r_max": r_max, "max_phase": max_phase}
    params = cells.lru(2, 4000, output_size=1, **options).init(key)
    lam = eigenvalues(params)
    area = (np.abs(lam) ** 2 - r_min**2) / (r_max**2 - r_min**2)
    phase = np.exp(np.asarray(params["theta"])) / max_phase
    for share in (area, phase):
        assert -1e-12 < share.min() < share.max() < 1
        # Quartiles of 4000 draws, at five standard errors.
        np.testing.assert_allclose(np.quantile(share, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)


def test_lru_normalisation_gives_the_state_the_energy_of_its_input(key):
    cell = cells.lru(2, 5, r_min=0.5, r_max=0.95)
    params = cell.init(key)
    impulse = jnp.zeros((1000, 2)).at[0].set(jnp.array([1.0, -2.0]))
    hs = run(cell, params, cell.init_state(params), impulse).hs
    p = numpied(params)
    input_energy = np.abs((p["B_re"] + 1j * p["B_im"]) @ np.asarray(impulse[0])) ** 2
    assert_close(jnp.sum(hs**2, axis=(0, 2)), input_energy, 1000)


def test_lru_starts_with_states_and_outputs_as_large_as_white_inputs(key):
    cell = cells.lru(8, 1000, r_max=0.9)
    params = cell.init(key)
    params["D"] = jnp.zeros_like(params["D"])
    xs = jax.random.normal(key, (400, 8))
    traj = run(cell, params, cell.init_state(params), xs)
    np.testing.assert_allclose(jnp.mean(jnp.sum(traj.hs[50:] ** 2, axis=2)), 1.0, rtol=0.1)
    np.testing.assert_allclose(jnp.mean(traj.ys[50:] ** 2), 1.0, rtol=0.15)
    np.testing.assert_allclose(np.var(cell.init(key)["D"]), 1 / 8, rtol=0.1)


def test_lru_normalisation_keeps_its_digits_near_the_unit_circle():
    cell = cells.lru(1, 1)
    params = dict.fromkeys(PARTS, jnp.ones((1, 1), jnp.float32))
    params |= {"nu": jnp.full(1, math.log(1e-9), jnp.float32), "theta": jnp.zeros(1, jnp.float32)}
    h_1, _ = cell.step(params, jnp.zeros((1, 2), jnp.float32), jnp.ones(1, jnp.float32))
    assert_close(h_1, np.full((1, 2), np.sqrt(-np.expm1(-2e-9))), 20)


def test_lru_may_learn_its_start(key):
    cell = cells.lru(2, 3, learned_h_0=True)
    params = cell.init(key)
    assert shapes(params)["h_0"] == (3, 2)
    params["h_0"] = jnp.ones((3, 2))
    assert_close(cell.init_state(params), np.ones((3, 2)))
    assert "h_0" not in cells.lru(2, 3).init(key)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("match", "make", "options"),
    [
        ("lru: r_min is -0.1 and r_max is 1.0; expected", cells.lru, {"r_min": -0.1}),
        ("lru: r_min is 0.5 and r_max is 0.5", cells.lru, {"r_min": 0.5, "r_max": 0.5}),
        ("lru: r_min is 0.0 and r_max is 1.1", cells.lru, {"r_max": 1.1}),
        ("lru: r_min is nan", cells.lru, {"r_min": math.nan}),
        ("lru: max_phase is 0; expected 0 < max_phase <= 2π", cells.lru, {"max_phase": 0}),
        ("lru: max_phase is 7", cells.lru, {"max_phase": 7}),
        ("lru: output_size is 0; expected at least 1", cells.lru, {"output_size": 0}),
        *((f"{make.__name__}: {argument} is 0; expected at least 1", make, {argument: 0})
          for make in (cells.lru, cells.min_gru) for argument in ("input_size", "hidden_size")),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(match, make, options):
    with pytest.raises(ValueError, match=match):
        make(**{"input_size": 2, "hidden_size": 3} | options)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(("make", "shape"), [(cells.min_gru, (3,)), (cells.lru, (3, 2))])
def test_what_does_not_fit_is_refused(make, shape):
    cell, name = make(2, 3), make.__name__
    params, h, x = make_params(cell), jnp.ones(shape), jnp.ones(2)
    for match, arguments in (
        (rf"{name}: x_t has shape \(3,\); expected \(2,\)", (params, h, jnp.ones(3))),
        (rf"{name}: h_tm1 has shape \(2,\); expected \(3,", (params, x, x)),
        (f"{name}: params is .*; expected", (make_params(cells.gru(2, 3)), h, x)),
    ):
        with pytest.raises(ValueError, match=match):
            cell.step(*arguments)
