"""The linear approximation: exact for linear maps, of second order elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close

import jaxrnn as jr
from jaxrnn import cells
from jaxrnn.dynamics import linear_approximation


def linear(params, h, x):
    A, B = params
    h = A @ h + B @ x
    return h, h


def test_of_a_linear_map_it_is_the_trajectory_whatever_the_point_is():
    A, B = jax.random.normal(jax.random.key(0), (2, 3, 3))
    xs = jax.random.normal(jax.random.key(1), (9, 3))
    trajectory = jr.unroll(linear, (A, B), jnp.ones(3), xs)
    found = linear_approximation(linear, (A, B), jnp.array([1.0, 0.0, 2.0]), jnp.full(3, 0.5), trajectory)
    assert_close(found.states, trajectory.hs, 1e4)
    assert_close(found.distance, jnp.linalg.norm(trajectory.hs - 0.5, axis=1), 100)
    assert found.error.shape == (9,) and (found.error < 1e-10).all()


def test_the_error_is_of_second_order_in_the_state_and_the_input():
    cell = cells.stack(cells.lstm(2, 3), cells.gru(3, 2))
    params, x = cell.init(jax.random.key(0)), jnp.array([0.3, -1.0])
    toward = jr.unroll(cell.step, params, cell.init_state(params), jnp.broadcast_to(x, (300, 2)))
    point = jax.tree.map(lambda leaf: leaf[-1], toward.hs)
    direction = jax.random.normal(jax.random.key(1), (5, 2))

    def error(size):
        h_0 = jax.tree.map(lambda leaf: leaf + size, point)
        trajectory = jr.unroll(cell.step, params, h_0, x[None] + size * direction)
        return linear_approximation(cell.step, params, x, point, trajectory).error

    errors = jax.jit(jax.vmap(error))(jnp.array([1e-3, 1e-4]))
    np.testing.assert_allclose(errors[0] / errors[1], 100, rtol=0.05)


def test_an_autonomous_map_and_a_slow_point():
    def step(_params, h, _):
        return h + 0.1 - 0.5 * h**2, h

    trajectory = jr.unroll(step, (), jnp.zeros(1), None, length=3)
    found = linear_approximation(step, (), None, jnp.zeros(1), trajectory)
    assert_close(found.states[:, 0], jnp.array([0.1, 0.2, 0.3]))  # J = 1, and 0.1 a step of drift
    assert found.error[0] == 0 and (found.error[1:] > 0).all()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"point": jnp.zeros(2)}, ValueError, r"point is float64\[2\]; expected float64\[3\]"),
        ({"x": jnp.zeros(2)}, ValueError, r"x is float64\[2\]; expected float64\[3\], as in a step of"),
        ({"x": jnp.zeros(3, int)}, TypeError, "x leaf .* has dtype int"),
        ({"trajectory": 3}, TypeError, "trajectory"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    params = jnp.eye(3), jnp.eye(3)
    arguments = {
        "step": linear,
        "params": params,
        "x": jnp.zeros(3),
        "point": jnp.zeros(3),
        "trajectory": jr.unroll(linear, params, jnp.ones(3), jnp.zeros((2, 3))),
    } | options
    with pytest.raises(error, match=rf"dynamics\.linear_approximation: .*{message}"):
        linear_approximation(**arguments)
