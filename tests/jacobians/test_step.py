"""How step Jacobians are formed; that they are right is tested for every cell in tests/cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, FEW, make_sequence, run
from jax.extend import core

from jaxrnn import Cell, cells
from jaxrnn.jacobians import step_jacobians


def products(jaxpr):
    """Shapes of the results of all matrix products, those of nested programs included."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            yield eqn.outvars[0].aval.shape
        for inner in core.jaxprs_in_params(eqn.params):
            yield from products(inner)


@pytest.mark.parametrize("make", [cells.elman, cells.gru, cells.lstm])
def test_no_product_with_all_unit_vectors_is_made_at_every_step(make):
    """The product of the weights with the unit vectors is the weights: one for all T steps."""
    T, d, n = 7, 3, 4
    cell = make(d, n)
    params, h_0, xs = make_sequence(cell, d, T)
    traced = jax.make_jaxpr(lambda trajectory: step_jacobians(cell.step, params, trajectory))
    found = list(products(traced(run(cell, params, h_0, xs)).jaxpr))
    assert found and all(len(shape) == 2 for shape in found), found


@pytest.mark.parametrize("name", FEW)
def test_no_steps_have_no_jacobians(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 0)
    n = sum(leaf.size for leaf in jax.tree.leaves(h_0))
    assert step_jacobians(cell.step, params, run(cell, params, h_0, xs)).shape == (0, n, n)


def test_leaves_of_two_dtypes_share_the_wider_one():
    def step(w, h, x):
        a, b = h
        return (jnp.tanh(w * a + b.astype(a.dtype)), (b * x).astype(b.dtype)), x

    h_0 = jnp.ones(2, jnp.float64), jnp.ones(2, jnp.float32)
    trajectory = run(Cell(None, None, step), 0.5, h_0, jnp.ones(3, jnp.float32))
    with jax.numpy_dtype_promotion("standard"):
        js = step_jacobians(step, 0.5, trajectory)
    slope = 1 - trajectory.hs[0] ** 2
    expected = np.zeros((3, 4, 4))
    for i in range(2):
        expected[:, i, i], expected[:, i, 2 + i] = 0.5 * slope[:, i], slope[:, i]
        expected[:, 2 + i, 2 + i] = 1
    assert js.dtype == jnp.float64
    np.testing.assert_allclose(js, expected, rtol=1e-12)


def test_a_state_that_does_not_depend_on_the_last_one_has_zero_jacobians():
    def step(w, h, x):
        del h
        return w * x, x

    trajectory = run(Cell(None, None, step), 0.5, jnp.ones(2), jnp.ones((3, 2)))
    assert not np.any(step_jacobians(step, 0.5, trajectory))
