"""The largest singular value by bidiagonalisation, against NumPy's SVD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import tolerance

from jaxrnn.jacobians._top import top_singular_values

N = 80


@jax.jit
def compiled(A):
    sigma, residual = top_singular_values(A, 1)
    return sigma[:, 0], residual


def matrices():
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.normal(size=(N, N)))[0] for _ in range(2))
    nearly = np.linspace(0.99, 0, N)
    nearly[:3] = 1, 1 - 1e-3, 1 - 2e-3
    return {
        "random": rng.normal(size=(N, N)),
        "rank one": np.outer(U[0], V[0]),
        "rank three": U[:, :3] @ np.diag([3, 2, 1]) @ V[:3],
        "zero": np.zeros((N, N)),
        "orthogonal": U,
        "permutation": np.eye(N)[rng.permutation(N)],
        "nilpotent": np.eye(N, k=1),
        "graded": U @ np.diag(10.0 ** -np.linspace(0, 20, N)) @ V,
        "nearly equal": U @ np.diag(nearly) @ V,
        "crowded": U @ np.diag(1 + 0.01 * rng.random(N)) @ V,
        "jordan": 0.5 * np.eye(N) + 0.5 * np.eye(N, k=1),
        "one row": np.pad(rng.normal(size=(1, N)), ((5, N - 6), (0, 0))),
        "one larger": np.diag(np.r_[np.ones(N - 1), 2.0]),
    }


SLOW = ["nearly equal", "jordan"]
"""16 or 32 steps are too few for these."""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", matrices())
def test_largest_value_agrees_with_the_svd_within_its_residual(name, dtype):
    A = matrices()[name].astype(dtype)
    exact = np.linalg.norm(A.astype(np.float64), 2)
    (sigma,), (residual,) = map(np.asarray, compiled(jnp.asarray(A[None])))
    assert abs(float(sigma) - exact) <= (tolerance(dtype, 100) + float(residual)) * exact
    # An error that is quadratic in the residual stays near eps.
    assert abs(float(sigma) - exact) <= tolerance(dtype, 1000) * exact
    assert sigma.dtype == residual.dtype == dtype
    assert residual <= np.sqrt(tolerance(dtype, 1))
    if name in SLOW:
        assert residual == 0, "the SVD has taken over"


@pytest.mark.parametrize("name", SLOW)
def test_one_matrix_that_does_not_converge_sends_the_batch_to_the_svd(name):
    all_of_them = matrices()
    batch = np.stack([all_of_them["random"], all_of_them[name]])
    alone = compiled(jnp.asarray(batch[:1]))[1]
    sigma, residual = compiled(jnp.asarray(batch))
    np.testing.assert_allclose(sigma, np.linalg.norm(batch, 2, axis=(1, 2)), rtol=tolerance(np.float64, 100))
    assert alone[0] > 0 and np.all(residual == 0)


@pytest.mark.parametrize("shape", [(3, 90), (66, 90), (90, 66), (64, 64)])
def test_blocks_that_are_not_square(shape):
    A = np.random.default_rng(1).normal(size=(2, *shape))
    sigma, residual = compiled(jnp.asarray(A))
    np.testing.assert_allclose(sigma, np.linalg.norm(A, 2, axis=(1, 2)), rtol=tolerance(np.float64, 100))
    assert np.all((residual == 0) == (min(shape) <= 64))
