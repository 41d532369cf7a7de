"""Cells whose matrix or step is constrained: antisymmetric and leaky; the options of the orthogonal one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, make_params, make_sequence, run, run_jacobians
from oracles import ACTIVATIONS, numpied, shapes, sigmoid, states

from jaxrnn import cells
from jaxrnn.cells import initializers

every_activation = pytest.mark.parametrize("activation", cells.activations.NAMES)


@every_activation
def test_antisymmetric_follows_its_equation(activation):
    cell = cells.antisymmetric(3, 4, step_size=0.3, damping=0.2, activation=activation)
    params, h_0, xs = make_sequence(cell, 3, 7)
    p, phi = numpied(params), ACTIVATIONS[activation]
    M = p["A"] - p["A"].T - 0.2 * np.eye(4)
    traj = run(cell, params, h_0, xs)
    assert_close(traj.hs, states(lambda h, x: h + 0.3 * phi(M @ h + p["W_hx"] @ x + p["b_h"]), h_0, xs))
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_hx": (4, 3), "A": (4, 4), "b_h": (4,)}


def test_antisymmetric_eigenvalues_lie_on_minus_the_damping():
    cell = cells.antisymmetric(2, 6, step_size=0.25, damping=0.75, activation="linear")
    params, h_0, xs = make_sequence(cell, 2, 1)
    params["A"] = 3 * jax.random.normal(jax.random.key(4), (6, 6))
    _, js = run_jacobians(cell, params, h_0, xs)
    values = np.linalg.eigvals((np.asarray(js[0]) - np.eye(6)) / 0.25)
    np.testing.assert_allclose(values.real, -0.75, atol=1e-12)
    assert np.abs(values.imag).max() > 1
    # What the docstring says of the modulus.
    modulus = np.abs(np.linalg.eigvals(js[0])) ** 2
    np.testing.assert_allclose(np.sort(modulus), np.sort((1 - 0.25 * 0.75) ** 2 + (0.25 * values.imag) ** 2))


def test_antisymmetric_step_jacobian_is_near_the_identity_by_the_slopes():
    cell = cells.antisymmetric(2, 4, step_size=0.1, damping=0.5)
    params, h_0, xs = make_sequence(cell, 2, 6)
    traj, js = run_jacobians(cell, params, h_0, xs)
    M = params["A"] - params["A"].T - 0.5 * np.eye(4)
    slopes = 1 - ((traj.hs - traj.h_tm1s) / 0.1) ** 2
    assert_close(js, np.eye(4)[None] + 0.1 * slopes[:, :, None] * M[None], 1000)


def test_antisymmetric_products_neither_vanish_nor_explode():
    nats, T = {}, 100
    for name, cell in (("ours", cells.antisymmetric(2, 4)), ("elman", cells.elman(2, 4))):
        _, js = run_jacobians(cell, *make_sequence(cell, 2, T))
        nats[name] = np.log(np.linalg.svd(np.linalg.multi_dot(js[::-1]), compute_uv=False))
    assert np.abs(nats["ours"]).max() < 0.5
    assert nats["elman"].max() < -20


def test_linear_antisymmetric_products_grow_as_eulers_method_does():
    cell = cells.antisymmetric(2, 4, step_size=0.1, damping=0.0, activation="linear")
    params, h_0, xs = make_sequence(cell, 2, 40)
    _, js = run_jacobians(cell, params, h_0, xs)
    omega = np.linalg.svd(params["A"] - params["A"].T, compute_uv=False)
    expected = (1 + (0.1 * omega) ** 2) ** 20
    assert_close(np.linalg.svd(np.linalg.multi_dot(js), compute_uv=False), expected, 1000)


@every_activation
def test_leaky_follows_its_equation(activation):
    cell = cells.leaky(3, 4, alpha=0.3, activation=activation)
    params, h_0, xs = make_sequence(cell, 3, 7)
    p, phi = numpied(params), ACTIVATIONS[activation]
    traj = run(cell, params, h_0, xs)
    hs = states(lambda h, x: 0.7 * h + 0.3 * phi(p["W_hx"] @ x + p["W_hh"] @ h + p["b_h"]), h_0, xs)
    assert_close(traj.hs, hs)
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_hx": (4, 3), "W_hh": (4, 4), "b_h": (4,)}


def test_leaky_learns_one_leak_a_unit():
    cell = cells.leaky(2, 3, alpha=0.2, learned_alpha=True)
    assert_close(sigmoid(np.asarray(cell.init(jax.random.key(0))["a"])), np.full(3, 0.2))
    params, h_0, xs = make_sequence(cell, 2, 7)
    params["a"] = jnp.array([-3.0, 0.0, 2.0])
    p, alpha = numpied(params), sigmoid(np.array([-3.0, 0.0, 2.0]))
    hs = states(
        lambda h, x: (1 - alpha) * h + alpha * np.tanh(p["W_hx"] @ x + p["W_hh"] @ h + p["b_h"]), h_0, xs
    )
    assert_close(run(cell, params, h_0, xs).hs, hs)


@pytest.mark.parametrize("learned_h_0", [False, True])
def test_leaky_with_alpha_1_is_the_vanilla_cell(learned_h_0):
    leaky = cells.leaky(3, 4, alpha=1.0, learned_h_0=learned_h_0)
    elman = cells.elman(3, 4, learned_h_0=learned_h_0)
    one, two = (run_jacobians(cell, *make_sequence(cell, 3, 5)) for cell in (leaky, elman))
    assert_close(one, two, 1)


def test_leaky_keeps_the_gradient_of_saturated_units():
    cell = cells.leaky(2, 3, alpha=0.1)
    params, h_0, xs = make_sequence(cell, 2, 4)
    _, js = run_jacobians(cell, params | {"b_h": jnp.full(3, 100.0)}, h_0, xs)
    assert_close(js, np.stack([0.9 * np.eye(3)] * 4))


@pytest.mark.parametrize("make", [cells.orthogonal_rnn, cells.antisymmetric, cells.leaky])
def test_starts_are_those_of_the_given_initializers(make, key):
    matrix = "W_hh" if make is cells.leaky else "A"
    fill = initializers.identity
    params = make(3, 3, input_init=fill(2.0), recurrent_init=fill(3.0), learned_h_0=True).init(key)
    assert_close(params["W_hx"], 2 * np.eye(3))
    assert_close(params[matrix], 3 * np.eye(3))
    assert shapes(params)["h_0"] == (3,)
    params["h_0"] = jnp.ones(3)
    assert_close(make(3, 3, learned_h_0=True).init_state(params), np.ones(3))
    assert "h_0" not in make(3, 3).init(key)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("match", "make", "options"),
    [
        ("orthogonal_rnn: parametrization is 'qr'; .*'cayley', 'exponential'", cells.orthogonal_rnn,
         {"parametrization": "qr"}),
        ("orthogonal_rnn: activation is 'gelu'; .*'modrelu'", cells.orthogonal_rnn, {"activation": "gelu"}),
        ("activation is 'modrelu'", cells.leaky, {"activation": "modrelu"}),
        ("antisymmetric: step_size is 0; expected a positive", cells.antisymmetric, {"step_size": 0}),
        ("antisymmetric: step_size is inf", cells.antisymmetric, {"step_size": float("inf")}),
        ("antisymmetric: damping is -1; expected 0 <= damping", cells.antisymmetric, {"damping": -1}),
        ("antisymmetric: damping is nan", cells.antisymmetric, {"damping": float("nan")}),
        ("leaky: alpha is 0; expected 0 < alpha <= 1", cells.leaky, {"alpha": 0}),
        ("leaky: alpha is 1.5", cells.leaky, {"alpha": 1.5}),
        ("leaky: alpha is 1; expected 0 < alpha < 1 where", cells.leaky, {"alpha": 1, "learned_alpha": True}),
        *((f"{name}: {argument} is 0; expected at least 1", getattr(cells, name), {argument: 0})
          for name in ("orthogonal_rnn", "antisymmetric", "leaky")
          for argument in ("input_size", "hidden_size")),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(match, make, options):
    with pytest.raises(ValueError, match=match):
        make(**{"input_size": 2, "hidden_size": 3} | options)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["orthogonal_rnn", "antisymmetric", "leaky"])
def test_what_does_not_fit_is_refused(name):
    cell = getattr(cells, name)(2, 3)
    params, h, x = make_params(cell), jnp.ones(3), jnp.ones(2)
    learned = cells.leaky(2, 3, learned_alpha=True)
    for match, step, arguments in (
        (rf"{name}: x_t has shape \(3,\); expected \(2,\)", cell.step, (params, h, h)),
        (rf"{name}: h_tm1 has shape \(2,\); expected \(3,\)", cell.step, (params, x, x)),
        (f"{name}: params is .*; expected", cell.step, (make_params(cells.gru(2, 3)), h, x)),
        ("leaky: params is .*; expected .*'a'", learned.step, (params, h, x)),
    ):
        with pytest.raises(ValueError, match=match):
            step(*arguments)
