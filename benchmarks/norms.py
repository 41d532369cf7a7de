"""What log scaling and the error bound cost: `norms` of all pairs against a bare SVD of as many matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import jaxrnn as jr
from benchmarks.harness import Case, measure, table

TITLE = "Norms of all pairs"
T, N = 140, 32


def run() -> str:
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
    return f"T = {T}, n = {N}\n\n{table(timings)}"


def _svd(matrices):
    return jnp.linalg.svd(matrices, compute_uv=False)[:, 0]
