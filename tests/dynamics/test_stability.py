"""Modes at fixed points: identities of eigenvectors, and maps whose modes are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close

from jaxrnn import cells
from jaxrnn.dynamics import fixed_points, stability


def linear(A, h, _):
    h = A @ h
    return h, h


def test_slopes_of_one_tanh_unit_within_1e_12():
    def step(w, h, _):
        return jnp.tanh(w * h), h

    points = fixed_points(step, 2.0, None, jnp.linspace(-1.0, 1.0, 5)).of_kind()
    found = stability(step, 2.0, None, points)
    exact = 2 * (1 - np.asarray(points) ** 2)
    np.testing.assert_allclose(found.eigenvalues[:, 0].real, exact, atol=1e-12)
    assert found.unstable.tolist() == [int(h == 0) for h in np.round(points, 6)]
    assert (found.stable == (found.unstable == 0)).all()


def test_left_and_right_modes_belong_to_j():
    cell = cells.lstm(2, 3)
    params = cell.init(jax.random.key(0))
    points = jax.tree.map(
        lambda leaf: 0.3 * jax.random.normal(jax.random.key(1), (4, *leaf.shape)), cell.init_state(params)
    )
    x = jnp.array([1.0, -1.0])
    found = stability(cell.step, params, x, points)
    for i in range(4):
        h = jax.tree.map(lambda leaf, i=i: leaf[i], points)
        flat, unravel = jax.flatten_util.ravel_pytree(h)

        def flat_step(flat, unravel=unravel):
            return jax.flatten_util.ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

        J = np.asarray(jax.jacrev(flat_step)(flat))
        values, right, left = (np.asarray(part[i]) for part in found[:3])
        np.testing.assert_allclose(J @ right, right * values, atol=1e-12)
        np.testing.assert_allclose(left.conj().T @ J, values[:, None] * left.conj().T, atol=1e-11)
        np.testing.assert_allclose(left.conj().T @ right, np.eye(6), atol=1e-11)
        np.testing.assert_allclose(np.linalg.norm(right, axis=0), 1)
        known = np.linalg.eigvals(J)
        np.testing.assert_allclose(np.sort(np.abs(values)), np.sort(np.abs(known)), atol=1e-12)
        assert (np.diff(np.abs(values)) <= 1e-12).all()


def test_a_damped_rotation_turns_at_its_frequency_and_decays_in_its_time():
    angle, decay = 2 * np.pi / 10, np.exp(-1 / 25)
    A = decay * jnp.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = stability(linear, A, None, jnp.zeros((1, 2)))
    np.testing.assert_allclose(found.frequencies, 0.1, rtol=1e-12)
    np.testing.assert_allclose(found.time_constants, 25, rtol=1e-10)
    np.testing.assert_allclose(found.conditions, 1, rtol=1e-12)
    assert found.departure_from_normality[0] < 1e-7 and found.stable.all()


def test_a_non_normal_map_says_so():
    A = jnp.array([[0.5, 8.0], [0.0, 0.4]])
    found = stability(linear, A, None, jnp.zeros((1, 2)))
    assert found.stable.all() and found.departure_from_normality[0] > 0.9
    # The eigenvectors (1, 0) and (8, -0.1)/|...| are nearly parallel.
    np.testing.assert_allclose(found.conditions, np.hypot(8, 0.1) / 0.1, rtol=1e-10)


def test_saddles_are_counted_and_nan_is_no_verdict():
    found = stability(linear, jnp.diag(jnp.array([2.0, -1.5, 0.1])), None, jnp.zeros((1, 3)))
    assert found.unstable.tolist() == [2] and not found.stable.any()
    assert found.frequencies[0].tolist() == [0, 0.5, 0]
    assert (found.time_constants[0] < 0).tolist() == [True, True, False]

    def step(_params, h, _):
        return h**2, h

    spoilt = stability(step, (), None, jnp.array([[0.5], [jnp.nan]]))
    assert spoilt.unstable.tolist() == [0, -1] and not spoilt.stable.any()
    assert jnp.isnan(spoilt.eigenvalues).tolist() == [[False], [True]]


def test_vmap_over_parameters_equals_one_by_one():
    As = jnp.stack([0.5 * jnp.eye(2), jnp.array([[0.0, 1.0], [-1.0, 0.0]])])
    together = jax.jit(jax.vmap(lambda A: stability(linear, A, None, jnp.zeros((1, 2)))))(As)
    for i, A in enumerate(As):
        one = stability(linear, A, None, jnp.zeros((1, 2)))
        assert_close(together.eigenvalues[i], one.eigenvalues)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_points_are_named():
    with pytest.raises(ValueError, match=r"dynamics\.stability: points holds no state"):
        stability(linear, jnp.eye(2), None, jnp.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"dynamics\.stability: state leaf"):
        stability(lambda _A, h, _: (jnp.zeros(3), h), jnp.eye(2), None, jnp.zeros((1, 2)))
