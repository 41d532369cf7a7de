"""unroll on states of any structure, without inputs, and its derivative."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import CELLS, EPS_12, assert_close, make_sequence
from oracles import central_difference

from jaxrnn import unroll


def test_a_tuple_state_and_an_input_of_any_dtype_travel_through():
    def step(params, h, x):
        token, key = x
        noise = jax.random.normal(key)
        return (h[0] + params, {"count": h[1]["count"] + token + 0 * noise}), noise

    keys = jax.random.split(jax.random.key(0), 3)
    traj = unroll(step, 2.0, (jnp.zeros(()), {"count": jnp.zeros(2)}), (jnp.arange(3.0), keys))
    assert_close(traj.hs, (np.array([2.0, 4, 6]), {"count": np.repeat([[0.0], [1], [3]], 2, axis=1)}))
    assert_close(traj.ys, np.array([jax.random.normal(k) for k in keys]))


def test_an_autonomous_map_needs_only_a_length():
    traj = unroll(lambda w, h, _: (w * h, h), 0.5, jnp.float64(1), None, length=3)
    assert_close(traj.hs, np.array([0.5, 0.25, 0.125]))
    assert_close(traj.h_tm1s, np.array([1, 0.5, 0.25]))
    assert traj.xs is None


def test_no_steps_give_an_empty_trajectory():
    cell, d = CELLS["lstm"]
    params, h_0, _ = make_sequence(cell, d, 0)
    traj = unroll(cell.step, params, h_0, jnp.zeros((0, d)))
    assert {leaf.shape[0] for leaf in jax.tree.leaves((traj.hs, traj.ys))} == {0}
    assert_close(traj.h_0, h_0)


def test_gradient_of_the_scan_agrees_with_central_differences():
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 4)

    def total(params, h_0):
        return jnp.sum(jnp.sin(unroll(cell.step, params, h_0, xs).ys))

    exact = jax.jit(jax.grad(total, argnums=(0, 1)))(params, h_0)
    numeric = central_difference(lambda both: total(*both), (params, h_0))
    for a, b in zip(*map(jax.tree.leaves, (exact, numeric)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


def test_a_python_number_as_state_becomes_an_array():
    traj = unroll(lambda w, h, x: (w * h + x, h), 0.5, 0.0, jnp.ones(2))
    assert_close(traj.hs, np.array([1.0, 1.5]), EPS_12)
