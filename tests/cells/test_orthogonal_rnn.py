"""The cell with an orthogonal recurrent matrix, and the two maps that make one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import EPS_12, assert_close, make_params, make_sequence, run, run_jacobians
from jax.extend import core
from oracles import ACTIVATIONS, numpied, shapes, states

from jaxrnn import cells, mixed_precision, unroll
from jaxrnn.cells import orthogonal_matrix

both = pytest.mark.parametrize("parametrization", ["exponential", "cayley"])


def by_eigenvalues(A, parametrization):
    """W from the eigenvectors of the Hermitian matrix i(A - Aᵀ)."""
    values, vectors = np.linalg.eigh(1j * (np.asarray(A, np.float64) - np.asarray(A, np.float64).T))
    if parametrization == "exponential":
        values = np.exp(-1j * values)
    else:
        values = (1 + 1j * values) / (1 - 1j * values)
    return ((vectors * values) @ vectors.conj().T).real


def off_orthogonal(W):
    W = np.asarray(W, np.float64)
    return np.linalg.norm(W.T @ W - np.eye(len(W)), 2)


@both
@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_orthogonal_matrix_equals_the_function_of_the_eigenvalues(parametrization, size):
    A = size * jax.random.normal(jax.random.key(0), (5, 5))
    assert_close(
        orthogonal_matrix(A, parametrization=parametrization), by_eigenvalues(A, parametrization), EPS_12
    )


@both
@pytest.mark.parametrize("activation", cells.activations.NAMES)
def test_orthogonal_rnn_follows_its_equation(activation, parametrization):
    cell = cells.orthogonal_rnn(3, 5, activation=activation, parametrization=parametrization)
    params, h_0, xs = make_sequence(cell, 3, 7)
    p, W = numpied(params), by_eigenvalues(params["A"], parametrization)
    phi = ACTIVATIONS[activation]
    traj = run(cell, params, h_0, xs)
    assert_close(traj.hs, states(lambda h, x: phi(p["W_hx"] @ x + W @ h + p["b_h"]), h_0, xs), EPS_12)
    assert_close(traj.ys, traj.hs)
    assert shapes(params) == {"W_hx": (5, 3), "A": (5, 5), "b_h": (5,)}


@both
def test_modrelu_is_the_default_and_has_its_bias_within(parametrization):
    cell = cells.orthogonal_rnn(3, 5, parametrization=parametrization)
    params, h_0, xs = make_sequence(cell, 3, 9)
    params["b_h"] = jnp.array([-2.0, -1.0, -0.3, 0.1, 0.5])
    p, W = numpied(params), by_eigenvalues(params["A"], parametrization)

    def step(h, x):
        z = p["W_hx"] @ x + W @ h
        return np.sign(z) * np.maximum(np.abs(z) + p["b_h"], 0)

    hs = states(step, h_0, xs)
    assert 5 < (hs == 0).sum() < hs.size / 2
    assert_close(run(cell, params, h_0, xs).hs, hs, EPS_12)


@both
def test_modrelu_loses_no_gradient_at_its_start_even_in_a_silent_sequence(parametrization, key):
    cell = cells.orthogonal_rnn(2, 4, parametrization=parametrization)
    params = cell.init(key)
    _, js = run_jacobians(cell, params, cell.init_state(params), jnp.zeros((3, 2)))
    assert_close(js[0], by_eigenvalues(params["A"], parametrization), EPS_12)


@both
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_w_stays_orthogonal_over_a_thousand_updates(dtype, parametrization, key):
    params = cells.orthogonal_rnn(2, 64, parametrization=parametrization).init(key)
    A, optimizer = params["A"].astype(dtype), optax.adam(1e-2)

    def update(carry, key):
        A, state = carry
        updates, state = optimizer.update(jax.random.normal(key, A.shape, dtype), state)
        return (A + updates, state), None

    # optax mixes dtypes, which the suite's strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        (end, _), _ = jax.lax.scan(update, (A, optimizer.init(A)), jax.random.split(key, 1000))
    W_0, W = (orthogonal_matrix(A, parametrization=parametrization) for A in (A, end))
    assert W.dtype == dtype
    assert np.abs(W - W_0).max() > 0.5
    assert off_orthogonal(W) <= 8 * np.finfo(dtype).eps <= 1e-6


@both
def test_linear_orthogonal_rnn_keeps_every_norm(parametrization):
    cell = cells.orthogonal_rnn(2, 5, activation="linear", parametrization=parametrization)
    _, js = run_jacobians(cell, *make_sequence(cell, 2, 50))
    assert_close(np.linalg.svd(js, compute_uv=False), np.ones((50, 5)))
    assert_close(np.linalg.svd(np.linalg.multi_dot(js), compute_uv=False), np.ones(5), EPS_12)


@both
def test_an_orthogonal_start_is_one_of_rotations_by_up_to_a_right_angle(parametrization, key):
    A = cells.orthogonal_rnn(2, 9, parametrization=parametrization).init(key)["A"]
    W = orthogonal_matrix(A, parametrization=parametrization)
    phases = np.sort(np.angle(np.linalg.eigvals(W)))
    assert_close(phases[:4], -phases[:4:-1])
    assert abs(phases[4]) < 1e-12
    assert 0 < phases[5] < phases[8] < np.pi / 2
    assert_close(W, orthogonal_matrix(cells.orthogonal_rnn(2, 9).init(key)["A"]))


@both
def test_the_gradient_of_the_correction_is_that_of_the_map_itself(parametrization):
    A, C = jax.random.normal(jax.random.key(2), (2, 4, 4))
    dA = jax.random.normal(jax.random.key(3), (4, 4))
    slope = jax.grad(lambda A: jnp.sum(C * orthogonal_matrix(A, parametrization=parametrization)))(A)
    up, down = (by_eigenvalues(A + e * dA, parametrization) for e in (1e-5, -1e-5))
    np.testing.assert_allclose(jnp.sum(slope * dA), np.sum(C * (up - down)) / 2e-5, rtol=1e-8)


@both
def test_half_precision_computes_w_in_float32(parametrization):
    A = jax.random.normal(jax.random.key(0), (6, 6), jnp.bfloat16)
    W = orthogonal_matrix(A, parametrization=parametrization)
    exact = by_eigenvalues(np.asarray(A, np.float32), parametrization)
    assert W.dtype == jnp.bfloat16
    assert np.abs(np.asarray(W, np.float64) - exact).max() <= float(jnp.finfo(jnp.bfloat16).eps) / 4


@both
def test_mixed_precision_rounds_the_orthogonal_matrix_only_where_it_is_used(parametrization, key):
    cell = cells.orthogonal_rnn(1, 16, activation="linear", parametrization=parametrization)
    params = make_params(cell)
    step = mixed_precision(cell.step)
    J = jax.jacrev(lambda h: step(params, h, jnp.zeros(1))[0])(jax.random.normal(key, (16,)))
    W = orthogonal_matrix(params["A"], parametrization=parametrization)
    assert_close(J, W.astype(jnp.bfloat16).astype(jnp.float64))


def primitives(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in core.jaxprs_in_params(eqn.params):
            yield from primitives(inner)


def scans(jaxpr, length):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan" and eqn.params["length"] == length:
            yield eqn.params["jaxpr"].jaxpr
        else:
            for inner in core.jaxprs_in_params(eqn.params):
                yield from scans(inner, length)


@both
def test_w_is_computed_once_a_sequence_and_not_once_a_step(parametrization):
    cell, T = cells.orthogonal_rnn(2, 4, parametrization=parametrization), 11
    params, h_0, xs = make_sequence(cell, 2, T)
    total = jax.grad(lambda params: jnp.sum(unroll(cell.step, params, h_0, xs).hs))
    found = [list(primitives(body)) for body in scans(jax.make_jaxpr(total)(params).jaxpr, T)]
    assert [names.count("dot_general") for names in found] == [1, 1]
    assert not {"lu", "triangular_solve", "custom_linear_solve", "cond", "scan"} & {*found[0], *found[1]}


@pytest.mark.usefixtures("unchecked_types")
def test_orthogonal_matrix_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="orthogonal_matrix: parametrization is 'qr'"):
        orthogonal_matrix(jnp.eye(2), parametrization="qr")
