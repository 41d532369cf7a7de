"""Eigenvalues of single steps and the departure from normality, where both are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import tolerance

from jaxrnn.jacobians import eigenvalues

compiled = jax.jit(eigenvalues)


def compute(matrices, dtype=np.float64):
    return jax.tree.map(np.asarray, compiled(jnp.asarray(np.stack(matrices), dtype)))


def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


ROTATION = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 0.5]])
U = orthogonal(3)
KNOWN = {
    "symmetric": (U @ np.diag([0.5, -3.0, 2.0]) @ U.T, [-3, 2, 0.5], 0.0),
    "rotation": (2 * ROTATION, [1.2 + 1.6j, 1.2 - 1.6j, 1.0], 0.0),
    "nilpotent": (8 * np.eye(3, k=1), [0, 0, 0], 1.0),
    # ‖J‖_F² = 4 + 1 + 4 + 7² and Σ|λ|² = 9.
    "triangular": (np.array([[1.0, 7, 0], [0, 2, 0], [0, 0, -2]]), [2, -2, 1], np.sqrt(49 / 58)),
    "zero": (np.zeros((3, 3)), [0, 0, 0], 0.0),
}


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_departure_are_the_known_ones_at_every_scale(dtype, scale):
    result = compute([scale * J for J, _, _ in KNOWN.values()], dtype)
    for name, values, departure, (_, exact, expected) in zip(KNOWN, *result, KNOWN.values(), strict=True):
        # A set: two values of one modulus come in either order.
        distance = np.abs(values[:, None] / scale - np.array(exact)[None, :])
        assert np.all(distance.min(axis=0) < tolerance(dtype, 30)), (name, values)
        assert np.all(distance.min(axis=1) < tolerance(dtype, 30)), (name, values)
        assert abs(departure - expected) < np.sqrt(tolerance(dtype, 10)), (name, departure)
    assert result.values.dtype == np.result_type(dtype, np.complex64)
    assert result.departure_from_normality.dtype == dtype


def test_values_fall_in_modulus_and_the_first_is_the_spectral_radius():
    js = np.random.default_rng(1).normal(size=(20, 3, 3))
    result = compute(js)
    moduli = np.abs(result.values)
    assert np.all(np.diff(moduli, axis=1) <= tolerance(np.float64, 10))
    reference = np.array([np.abs(np.linalg.eigvals(J)).max() for J in js])
    np.testing.assert_allclose(result.spectral_radius, reference, rtol=tolerance(np.float64, 1000))
    # Trace and determinant do not ask in which order they come.
    np.testing.assert_allclose(result.values.sum(axis=1), np.trace(js, axis1=1, axis2=2), atol=1e-13)
    np.testing.assert_allclose(result.values.prod(axis=1), np.linalg.det(js), atol=1e-13)


def test_departure_is_what_lies_above_the_diagonal_of_the_schur_form():
    rng = np.random.default_rng(2)
    triangles = np.triu(rng.normal(size=(20, 3, 3)))
    rotated = np.stack([orthogonal(3, i) @ R @ orthogonal(3, i).T for i, R in enumerate(triangles)])
    above = np.linalg.norm(np.triu(triangles, 1), axis=(1, 2)) / np.linalg.norm(triangles, axis=(1, 2))
    np.testing.assert_allclose(compute(rotated).departure_from_normality, above, rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_step_is_nan_and_the_others_stay(bad):
    js = np.random.default_rng(1).normal(size=(20, 3, 3))
    clean = compute(js)
    js[7, 0, 2] = bad
    spoilt, others = compute(js), np.arange(20) != 7
    assert np.all(np.isnan(spoilt.values[7])) and np.isnan(spoilt.departure_from_normality[7])
    assert np.isnan(spoilt.spectral_radius[7])
    for got, expected in zip(spoilt, clean, strict=True):
        np.testing.assert_array_equal(got[others], expected[others])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    result = eigenvalues(jnp.asarray(np.diag([4.0, 0.5])[None], dtype))
    assert result.values.dtype == jnp.complex64
    np.testing.assert_array_equal(result.values, [[4, 0.5]])


def test_vmap_equals_one_by_one():
    js = jnp.asarray(np.random.default_rng(1).normal(size=(20, 3, 3)))
    batched = jax.vmap(eigenvalues)(js[None])
    np.testing.assert_allclose(batched.spectral_radius[0], compiled(js).spectral_radius, rtol=1e-13)


@pytest.mark.usefixtures("unchecked_types")
def test_one_matrix_without_a_leading_axis_is_refused():
    with pytest.raises(ValueError, match=r"jacobians.eigenvalues: js has shape \(3, 3\)"):
        eigenvalues(jnp.eye(3))
