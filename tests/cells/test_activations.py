"""γ, the derivatives, and their accuracy where an activation saturates (E13, E14)."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from cases import assert_close
from oracles import ACTIVATIONS

from jaxrnn.cells import activations

KINDS = [*activations.NAMES, activations.leaky_relu(2.5), activations.leaky_relu(-3.0), activations.elu(1.7)]


def slope(phi, z):
    return jax.vmap(jax.grad(phi))(z)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: getattr(kind, "name", kind))
def test_gamma_is_the_supremum_of_the_slope_on_a_grid(kind):
    phi = activations.get(kind)
    z = jnp.concatenate([jnp.linspace(-30.0, 30.0, 6_001), jnp.asarray([-1e-9, 1e-9])])
    largest = float(jnp.max(jnp.abs(slope(phi, z))))
    assert phi.gamma * (1 - 1e-6) <= largest <= phi.gamma * (1 + 1e-12)


@pytest.mark.parametrize("name", activations.NAMES)
def test_activation_equals_its_formula(name):
    z = np.linspace(-20, 20, 401)
    assert_close(activations.get(name)(jnp.asarray(z)), ACTIVATIONS[name](z))


@pytest.mark.parametrize("make", [activations.leaky_relu, activations.elu])
def test_alpha_changes_the_negative_side(make):
    assert float(make(0.5)(jnp.float64(-1.0))) != float(make(0.25)(jnp.float64(-1.0)))


def exact_slope(name, z):
    with mpmath.workdps(60):
        z = mpmath.mpf(float(z))
        return mpmath.sech(z) ** 2 if name == "tanh" else 1 / (2 * mpmath.cosh(z / 2)) ** 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "points"), [("tanh", [-9, 0, 0.3, 5, 9, 18, 40]), ("sigmoid", [-17, 0, 1, 10, 17, 36, 80])]
)
def test_slope_keeps_its_digits_at_saturation(name, points, dtype):
    for z in points:
        got = float(jax.grad(activations.get(name))(jnp.asarray(z, dtype)))
        exact = exact_slope(name, z)
        # exp(-z) alone carries a relative error of about |z| half-eps from its argument's rounding.
        assert abs(got - exact) <= (8 + abs(z) / 8) * np.finfo(dtype).eps * exact, (z, got, float(exact))


def test_sigmoid_slope_is_a_quarter_at_zero_and_saturates_at_ten():
    z = jnp.asarray([0.0, 10.0, -10.0])
    s = activations.sigmoid(z)
    np.testing.assert_allclose(slope(activations.sigmoid, z), s * (1 - s), rtol=1e-10)
    assert float(slope(activations.sigmoid, z)[0]) == 0.25
    np.testing.assert_allclose(slope(activations.sigmoid, z)[1:], 4.5e-5, rtol=0.02)
    np.testing.assert_allclose(slope(activations.tanh, z), 1 - activations.tanh(z) ** 2, atol=1e-15)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("z", [0.0, 0.7, -2.0])
def test_higher_derivatives_agree_with_mpmath(name, z):
    exact_fn = mpmath.tanh if name == "tanh" else lambda x: 1 / (1 + mpmath.exp(-x))
    phi = activations.get(name)
    for order in range(4):
        with mpmath.workdps(40):
            exact = float(mpmath.diff(exact_fn, z, order))
        assert abs(float(phi(jnp.float64(z))) - exact) <= 1e-13, order
        phi = jax.grad(phi)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_forward_and_reverse_mode_give_the_same_slope(name):
    phi, z = activations.get(name), jnp.linspace(-12.0, 12.0, 25)
    assert_close(jax.jvp(phi, (z,), (jnp.ones_like(z),))[1], slope(phi, z), 4)


def test_an_activation_of_ones_own_is_taken_as_it_is():
    own = activations.Activation("half", lambda z: z / 2, 0.5)
    assert activations.get(own) is own
