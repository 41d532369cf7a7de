"""What a training gradient costs over its matrix products alone, which no program can do without."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import harness
from benchmarks.harness import Case, Report, measure
from benchmarks.peers import of_full
from benchmarks.training_gradient import SIZES

TITLE = "The training gradient over its products"
GATES = {"elman": 1, "gru": 3, "lstm": 4}


def run() -> Report:
    """A table for every layer and size."""
    sizes = SIZES[:1] if harness.QUICK else SIZES
    return Report([_of_case(kind, *size) for kind in GATES for size in sizes])


def _of_case(kind, T, B, d, H):
    keys = jax.random.split(jax.random.key(0), 6)
    n = GATES[kind] * H
    xs, hs, dz, W_x, W, W_t = (
        jax.random.normal(key, shape) / 10
        for key, shape in zip(keys, [(T, B, d), (T, B, H), (T, B, n), (d, n), (H, n), (n, H)], strict=True)
    )
    timings = measure(
        [
            Case("plain JAX: the products, nothing else", _products, (xs, hs, dz, W_x, W, W_t)),
            of_full(kind, d, H, xs),
        ],
        rounds=11 if T * B * H < 4e6 else 7,
    )
    return f"{kind}, T = {T}, B = {B}, d = {d}, H = {H}", timings


def _products(xs, hs, dz, W_x, W, W_t):
    """W_x x and W h forward, Wᵀ δ backward, and the gradients of both weights as one product each."""
    H = hs.shape[-1]
    rows = [array.reshape(-1, array.shape[-1]) for array in (xs, hs, dz)]

    def forward(h, _):
        return (h @ W)[:, :H], ()

    def backward(h, dz_t):
        return (dz_t + h[:, :1]) @ W_t, ()

    h, _ = lax.scan(forward, hs[0], None, length=len(hs))
    dh, _ = lax.scan(backward, hs[0], dz)
    return jnp.sum(rows[0] @ W_x), h, dh, rows[0].T @ rows[2], rows[1].T @ rows[2]
