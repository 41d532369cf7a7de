"""What log scaling and the error bound cost: `norms` of all pairs against a bare SVD of as many matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as jr
from benchmarks.harness import Case, Report, measure

TITLE = "Norms of all pairs"
T, N = 140, 32


def run() -> Report:
    """A table for T = 140, n = 32: 9870 pairs k < t."""
    js = jax.random.normal(jax.random.key(0), (T, N, N)) / jnp.sqrt(N)
    matrices = jax.random.normal(jax.random.key(1), (T * (T + 1) // 2, N, N))
    timings = measure(
        [
            Case(f"plain JAX: {len(matrices)} SVDs, nothing else", _svd, (matrices,)),
            Case("jacobians.norms: products, SVDs, error bounds", jr.jacobians.norms, (js,)),
        ],
        rounds=7,
    )
    return Report([(f"T = {T}, n = {N}", timings)], f"Of the {T * (T + 1) // 2} norms, {_accuracy(js)}.")


def _accuracy(js):
    """Of the norms against products and SVDs in double precision, in which these do not underflow."""
    found = jr.jacobians.norms(js)
    with jax.enable_x64(True):
        exact = jax.jit(jr.jacobians.norms)(jnp.asarray(js, jnp.float64))
        pairs = np.tril_indices(T + 1, -1)
        error = np.abs(np.asarray(found.log_norm, np.float64)[pairs] - np.asarray(exact.log_norm)[pairs])
    share = np.mean(np.asarray(found.certified)[pairs])
    return f"the largest error is {error.max():.1e} nats (against float64), and {share:.1%} are certified"


def _svd(matrices):
    return jnp.linalg.svd(matrices, compute_uv=False)[:, 0]
