"""Matrix products as if in more than the working precision."""

from __future__ import annotations

from math import ceil, log2

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn.jacobians import _scaled

__all__ = ["precise_matmul"]


def precise_matmul(A: Float[Array, "n m"], B: Float[Array, "m k"]) -> Float[Array, "n k"]:
    """A B, right relative to its own entries also where large terms cancel.

    Both are cut into slices of so few bits that the product of two slices is exact; about ten plain products
    of slices are added from the smallest to the largest, the last of which has cancelled without rounding.

    Reference: Ozaki, Ogita, Oishi & Rump 2012.
    """
    digits = jnp.finfo(A.dtype).nmant + 1
    bits = (digits - ceil(log2(A.shape[1])) - 1) // 2
    if bits < 1:  # more than a million terms
        return _scaled.matmul(A, B)
    count = ceil(4 * digits / 3 / bits)
    A_slices, B_slices = (_slices(X, axis, count, digits - bits, bits) for X, axis in ((A, 1), (B, 0)))
    total = jnp.zeros((A.shape[0], B.shape[1]), A.dtype)
    for level in reversed(range(count)):
        total = total + sum(_scaled.matmul(A_slices[i], B_slices[level - i]) for i in range(level + 1))
    return total


def _slices(X, axis, count, above, bits):
    """`count` matrices that add up to X nearly, each of `bits` bits relative to the largest along the axis."""
    _, exponent = jnp.frexp(jnp.max(jnp.abs(X), axis=axis, keepdims=True))
    slices = []
    for i in range(count):
        shift = jnp.ldexp(jnp.ones_like(exponent, X.dtype), exponent + above - i * bits)
        # The barriers keep the compiler from taking (X + shift) - shift for X.
        top = lax.optimization_barrier(lax.optimization_barrier(X + shift) - shift)
        slices.append(top)
        X = X - top
    return slices
