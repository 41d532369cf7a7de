"""ln ‖J_T···J_1‖₂ and its derivative, where a plain norm of the product under- or overflows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import make_sequence, tolerance
from jax.test_util import check_grads

from jaxrnn import cells, unroll
from jaxrnn.jacobians import log_norm, step_jacobians

T, N = 5, 3
JS = jnp.asarray(np.random.default_rng(0).normal(size=(T, N, N)))
with_gradient = jax.jit(jax.value_and_grad(log_norm))


def plain(js):
    P = jnp.eye(js.shape[1], dtype=js.dtype)
    for J in js:
        P = J @ P
    return jnp.log(jnp.linalg.norm(P, 2))


def test_value_and_gradient_are_those_of_the_plain_norm():
    value, gradient = with_gradient(JS)
    np.testing.assert_allclose(value, plain(JS), atol=1e-14)
    np.testing.assert_allclose(gradient, jax.grad(plain)(JS), atol=1e-12)


def test_derivatives_agree_with_finite_differences_forwards_and_backwards():
    of_numpy = jax.jit(lambda js: log_norm(jnp.asarray(js)))
    check_grads(of_numpy, (JS,), order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


def test_forward_and_reverse_mode_are_transposes():
    tangent = jnp.asarray(np.random.default_rng(1).normal(size=JS.shape))
    _, forwards = jax.jit(lambda js, v: jax.jvp(log_norm, (js,), (v,)))(JS, tangent)
    np.testing.assert_allclose(forwards, jnp.sum(with_gradient(JS)[1] * tangent), rtol=1e-12)


def test_jit_and_vmap_change_nothing():
    batch = jnp.stack([JS, 2 * JS])
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(log_norm)))(batch)
    assert values.shape == (2,)
    np.testing.assert_allclose(values[1] - values[0], T * np.log(2), rtol=1e-13)
    np.testing.assert_allclose(gradients[0], with_gradient(JS)[1], rtol=1e-12)
    np.testing.assert_allclose(gradients[1], gradients[0] / 2, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_an_isometry_has_a_finite_subgradient(scale):
    """All singular values are equal: the derivative of an SVD would divide by their difference, 0."""
    Q = np.linalg.qr(np.random.default_rng(2).normal(size=(N, N)))[0]
    js = jnp.asarray(scale * np.broadcast_to(Q, (T, N, N)))
    value, gradient = with_gradient(js)
    np.testing.assert_allclose(value, T * np.log(scale), atol=1e-13)
    assert np.all(np.isfinite(gradient))
    # One factor along the gradient is a direction u vᵀ of norm 1/scale.
    np.testing.assert_allclose(jnp.linalg.norm(gradient, axis=(1, 2)), 1 / scale, rtol=1e-13)
    np.testing.assert_allclose(jnp.sum(js * gradient, axis=(1, 2)), 1, rtol=1e-13)


@pytest.mark.parametrize("zero", ["a step", "the product"])
def test_a_product_of_zero_has_a_derivative_of_zero(zero):
    js = JS.at[2].set(0) if zero == "a step" else jnp.broadcast_to(jnp.eye(N, k=1), (T, N, N))
    value, gradient = with_gradient(js)
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, np.zeros((T, N, N)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_step_gives_nan(bad):
    assert np.isnan(with_gradient(JS.at[1, 0, 0].set(bad))[0])


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_a_thousand_steps_in_float32_are_homogeneous_in_every_factor(scale):
    """f(s·J_t) = f(J_t) + ln s for every t, so that each J_t·∂f/∂J_t is 1, and all together T."""
    length = 1000
    js = scale * np.random.default_rng(3).normal(size=(length, N, N)).astype(np.float32)
    value, gradient = map(np.asarray, with_gradient(jnp.asarray(js, jnp.float32)))
    assert gradient.dtype == np.float32
    P, reference = np.eye(N), 0.0
    for J in js.astype(float):
        P = J @ P
        size = np.linalg.norm(P, 2)
        P, reference = P / size, reference + np.log(size)
    np.testing.assert_allclose(value, reference, atol=tolerance(np.float32, length))
    shares = np.sum(js.astype(float) * gradient, axis=(1, 2))
    np.testing.assert_allclose(shares, 1, atol=tolerance(np.float32, 3 * length))
    np.testing.assert_allclose(shares.sum(), length, rtol=tolerance(np.float32, 1000))


def test_one_step_is_the_norm_of_its_matrix():
    np.testing.assert_allclose(log_norm(JS[:1]), np.log(np.linalg.norm(JS[0], 2)), rtol=1e-13)


def test_a_penalty_on_it_keeps_the_gradient_of_a_network_alive():
    cell, length = cells.elman(2, 4), 10
    params, h_0, xs = make_sequence(cell, 2, length)

    def penalty(params):
        trajectory = unroll(cell.step, params, h_0, xs)
        return log_norm(step_jacobians(cell.step, params, trajectory)) ** 2

    descend = jax.jit(jax.value_and_grad(penalty))
    values = []
    for _ in range(10):
        value, grads = descend(params)
        values.append(float(value))
        size = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grads)))
        params = jax.tree.map(lambda p, g, size=size: p - 0.05 * g / size, params, grads)
    assert np.all(np.diff(values) < 0), values
    assert values[-1] < 0.5 * values[0], values


@pytest.mark.usefixtures("unchecked_types")
def test_one_matrix_without_a_leading_axis_is_refused():
    with pytest.raises(ValueError, match=r"jacobians.log_norm: js has shape \(3, 3\)"):
        log_norm(JS[0])
