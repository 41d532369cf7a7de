"""Products as if in more than the working precision, against exact fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import tolerance

from jaxrnn.jacobians._precise import precise_matmul, rounding

compiled = jax.jit(precise_matmul, static_argnums=2)


def exact_product(A, B):
    return np.array([[Fraction(float(x)) for x in row] for row in A]) @ np.array(
        [[Fraction(float(x)) for x in row] for row in B]
    )


def pairs(n, dtype):
    """kind -> (A, B) [n, n], many of whose products cancel or span many scales."""
    rng = np.random.default_rng(n)
    A, B = rng.normal(size=(2, n, n))
    inverse = np.linalg.inv(A)
    tiny = 2.0 ** -np.arange(0, 3 * n, 3)
    return {
        kind: (X.astype(dtype), Y.astype(dtype))
        for kind, (X, Y) in {
            "random": (A, B),
            "negative": (-np.abs(A), np.abs(B)),
            "inverse": (A, inverse),
            "cancelling": (np.c_[A[:, : n // 2], A[:, : n // 2]], np.r_[B[: n // 2], -B[: n // 2] * 1.0001]),
            "graded": (A * tiny, B / tiny[:, None]),
            "powers of two": (np.exp2(np.arange(n * n).reshape(n, n) % 7), -np.eye(n)),
            "zero": (A, 0 * B),
        }.items()
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 8, 24])
def test_one_slice_stays_within_its_bound(n, dtype):
    a, b = rounding(n, dtype)
    for kind, (A, B) in pairs(n, dtype).items():
        exact = exact_product(A, B)
        # The difference as fractions, so that it does not round.
        error = np.array([[Fraction(float(x)) for x in row] for row in compiled(A, B, 1)]) - exact
        error, exact, A, B = (np.linalg.norm(X.astype(float)) for X in (error, exact, A, B))
        assert error <= a * exact + b * A * B, kind


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_slices_lose_nothing_where_large_terms_cancel(dtype):
    (A, B), plain = pairs(8, dtype)["cancelling"], jnp.matmul
    exact = exact_product(A, B).astype(float)
    off = [np.max(np.abs(np.asarray(got, float) / exact - 1)) for got in (compiled(A, B, 2), plain(A, B))]
    assert off[0] <= tolerance(dtype, 1) and off[1] > tolerance(dtype, 1000)


def test_a_batch_is_multiplied_one_by_one():
    A, B = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 5)).astype(np.float32)
    alone = [[compiled(A[i, j], B[i, j], 1) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(compiled(A, B, 1), alone, atol=1e-6)
