"""What rates cost over bare propagation: the leading 10 of n = 128 against products with 10 directions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

import jaxrnn as jr
from benchmarks.harness import Case, measure, table

TITLE = "Leading growth rates"
T, N, K = 1000, 128, 10


def run() -> str:
    """A table for T = 1000 random step Jacobians."""
    js = jax.random.normal(jax.random.key(0), (T, N, N)) / jnp.sqrt(N)
    timings = measure(
        [
            Case("plain JAX: products with 10 directions, nothing else", _propagate, (js,)),
            Case("plain JAX: a QR every step", _qr_every_step, (js,)),
            Case("jacobians.growth_rates", lambda js: jr.jacobians.growth_rates(js, k=K), (js,)),
        ],
        rounds=15,
    )
    return f"T = {T}, n = {N}, k = {K}\n\n{table(timings)}"


def _propagate(js):
    # Random J of gain 1 keep the directions in range.
    return lax.scan(lambda Q, J: (jnp.matmul(J, Q, precision="highest"), None), jnp.eye(N, K), js)[0]


def _qr_every_step(js):
    def step(carry, J):
        Q, total = carry
        Q, R = jnp.linalg.qr(jnp.matmul(J, Q, precision="highest"))
        return (Q, total + jnp.log(jnp.abs(jnp.diagonal(R)))), None

    return lax.scan(step, (jnp.eye(N, K), jnp.zeros(K)), js)[0][1] / T
