"""The product by its definition, and the step Jacobians, on networks with closed forms (E11, E12)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, assert_close, make_sequence, run, run_jacobians
from oracles import central_difference

from jaxrnn import cells, unroll
from jaxrnn.jacobians import last_products, product, step_jacobians


def test_product_of_every_pair_is_the_chain_of_step_jacobians():
    cell, d = CELLS["lstm"]
    params, h_0, xs = make_sequence(cell, d, 4)
    traj, js = run_jacobians(cell, params, h_0, xs)
    for k in range(5):
        chain = jnp.eye(6)
        for t in range(k, 5):
            assert_close(product(cell.step, params, traj, t, k), chain, 1000)
            chain = js[t] @ chain if t < 4 else chain


@pytest.mark.parametrize("T", [0, 1, 7, 131])
def test_products_to_the_last_state_are_those_of_each_pair(T):
    """Also over blocks of steps that do not divide T."""
    cell, d = CELLS["lstm"]
    params, h_0, xs = make_sequence(cell, d, T)
    traj = run(cell, params, h_0, xs)
    found = jax.jit(last_products, static_argnums=0)(cell.step, params, traj)
    assert found.shape == (T, 6, 6)
    for k in {0, T // 2, T - 1} if T else ():
        assert_close(found[k], product(cell.step, params, traj, T, k), 1000)


def test_products_to_the_last_state_under_vmap_are_those_of_each_sequence():
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 5)
    trajs = jax.vmap(lambda xs: run(cell, params, h_0, xs))(jnp.stack([xs, -xs]))
    found = jax.vmap(lambda traj: last_products(cell.step, params, traj))(trajs)
    for i, single in enumerate((xs, -xs)):
        assert_close(found[i], last_products(cell.step, params, run(cell, params, h_0, single)), 10)


def test_linear_network_has_powers_of_w():
    cell = cells.elman(2, 3, activation="linear")
    params, h_0, xs = make_sequence(cell, 2, 5)
    traj = run(cell, params, h_0, xs)
    for t, k in ((5, 0), (4, 1), (3, 3)):
        power = np.linalg.matrix_power(np.asarray(params["W_hh"]), t - k)
        assert_close(product(cell.step, params, traj, t, k), power)


def test_scalar_tanh_has_the_product_of_its_slopes():
    cell = cells.elman(1, 1)
    params, h_0, xs = make_sequence(cell, 1, 6)
    traj = run(cell, params, h_0, xs)
    w, s = params["W_hh"][0, 0], traj.hs[:, 0]
    assert_close(product(cell.step, params, traj, 5, 2)[0, 0], w**3 * jnp.prod(1 - s[2:5] ** 2))


def test_a_sigmoid_unit_at_zero_shrinks_by_a_quarter_of_its_weight_a_step():
    cell = cells.elman(1, 1, activation="sigmoid")
    params = {"W_hx": jnp.zeros((1, 1)), "W_hh": jnp.full((1, 1), 2.0), "b_h": jnp.full(1, -1.0)}
    traj = unroll(cell.step, params, jnp.full(1, 0.5), jnp.zeros((4, 1)))
    assert_close(product(cell.step, params, traj, 4, 0), np.full((1, 1), 0.5**4))


def test_step_jacobians_have_output_rows_and_agree_with_central_differences():
    cell, d = CELLS["gru_residual_elman"]
    params, h_0, xs = make_sequence(cell, d, 1)
    _, js = run_jacobians(cell, params, h_0, xs)
    for a in range(6):

        def output(h, a=a):
            return jax.flatten_util.ravel_pytree(cell.step(params, h, xs[0])[0])[0][a]

        numeric = jax.flatten_util.ravel_pytree(central_difference(output, h_0))[0]
        np.testing.assert_allclose(js[0, a], numeric, atol=1e-9)


def test_jacobians_of_a_state_of_several_leaves_follow_the_raveled_order():
    def step(params, h, x):
        del x
        return {"a": params * h["b"], "b": h["a"][:1] + h["b"]}, ()

    h_0 = {"a": jnp.ones(1), "b": jnp.ones(1)}
    traj = unroll(step, 3.0, h_0, None, length=2)
    assert_close(step_jacobians(step, 3.0, traj)[1], np.array([[0.0, 3.0], [1.0, 1.0]]))


def test_vmap_over_trajectories_equals_one_by_one():
    cell, d = CELLS["elman_tanh"]
    params, h_0, xs = make_sequence(cell, d, 4)
    trajs = jax.vmap(lambda x: unroll(cell.step, params, h_0, x))(jnp.stack([xs, -xs]))
    js = jax.vmap(lambda traj: step_jacobians(cell.step, params, traj))(trajs)
    assert_close(js[1], run_jacobians(cell, params, h_0, -xs)[1])


@pytest.mark.parametrize("T", [0, 1])
def test_an_empty_or_single_step_segment(T):
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, T)
    traj = unroll(cell.step, params, h_0, xs)
    assert step_jacobians(cell.step, params, traj).shape == (T, 4, 4)
    assert_close(product(cell.step, params, traj, 0, 0), np.eye(4))
