"""The gradient along a parameter against automatic differentiation and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close

import jaxrnn as jr
from jaxrnn import cells
from jaxrnn.dynamics import sensitivity


def test_it_is_the_norm_of_the_derivative_of_the_last_state():
    cell = cells.lstm(2, 3)
    params, x = cell.init(jax.random.key(0)), jnp.array([0.3, -1.0])

    def at(s):
        return jax.tree.map(lambda leaf: s * leaf, params), s * x

    h_0 = jax.tree.map(lambda leaf: leaf + 0.1, cell.init_state(params))

    def last(s):
        grown, x_s = at(s)
        hs = jr.unroll(cell.step, grown, h_0, jnp.broadcast_to(x_s, (7, 2))).hs
        return jax.tree.map(lambda leaf: leaf[-1], hs)

    values = jnp.array([0.5, 1.0, 3.0])
    found = sensitivity(cell.step, at, values, h_0, steps=7)
    exact = jax.vmap(jax.jacfwd(last))(values)
    squares = sum(jnp.sum(leaf**2, axis=1) for leaf in jax.tree.leaves(exact))
    assert_close(found.log_gradient, jnp.log(squares) / 2, 1000)
    assert_close(found.states, jax.vmap(last)(values), 1000)


def test_gradients_far_beyond_overflow_are_exact():
    def doubling(s, h, _):
        return 4 * h + s, h

    found = sensitivity(doubling, lambda s: (s, None), jnp.array([0.0]), jnp.zeros(2), steps=3000)
    # dh_T/ds = (4^T - 1)/3 in both entries.
    np.testing.assert_allclose(found.log_gradient, 3000 * np.log(4) - np.log(3) + np.log(2) / 2, rtol=1e-12)


def test_it_peaks_where_the_attractor_changes():
    def step(b, h, _):
        h = jnp.tanh(2 * h + b)
        return h, h

    values = jnp.linspace(0.3, 0.8, 251)
    found = sensitivity(step, lambda b: (b, None), values, jnp.array([-0.9]), steps=300)
    peak = values[jnp.argmax(found.log_gradient)]
    fold = 2 * np.sqrt(0.5) - np.arctanh(np.sqrt(0.5))
    assert abs(peak - fold) < 0.003
    assert (found.states[:, 0] > 0).tolist() == (values > fold).tolist()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps is 0; expected at least 1"),
        ({"values": jnp.zeros((2, 2))}, ValueError, "values"),
        ({"h_0": jnp.zeros(0)}, ValueError, "the state is empty"),
        ({"at": lambda _: (1.0, 2.0, 3.0)}, TypeError, "at returned tuple; expected the pair"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    arguments = {
        "step": lambda w, h, x: (w * h + x, h),
        "at": lambda w: (w, 0.0),
        "values": jnp.zeros(2),
        "h_0": jnp.zeros(1),
        "steps": 3,
    } | options
    with pytest.raises(error, match=rf"dynamics\.sensitivity: .*{message}"):
        sensitivity(**arguments)
