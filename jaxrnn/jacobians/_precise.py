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

    Both are cut into slices of so few bits that sums of products of slices are exact; slices of equal total
    rank go into one plain product, and the few products are added from the smallest to the largest, which
    has cancelled without rounding.

    Reference: Ozaki, Ogita, Oishi & Rump 2012.
    """
    digits = jnp.finfo(A.dtype).nmant + 1
    # Two bits are for the sum over slices.
    bits = (digits - ceil(log2(A.shape[1])) - 3) // 2
    if bits < 1:  # a hundred thousand terms
        return _scaled.matmul(A, B)
    count = ceil(4 * digits / 3 / bits)
    A_slices, B_slices = (_slices(X, axis, count, digits - bits, bits) for X, axis in ((A, 1), (B, 0)))
    total = jnp.zeros((A.shape[0], B.shape[1]), A.dtype)
    for rank in reversed(range(count)):
        left = jnp.concatenate(A_slices[: rank + 1], axis=1)
        right = jnp.concatenate(B_slices[rank::-1], axis=0)
        total = total + _scaled.matmul(left, right)
    return total


def _slices(X, axis, count, above, bits):
    """`count` matrices that nearly add up to X, each of so many bits below the largest along the axis."""
    _, exponent = jnp.frexp(jnp.max(jnp.abs(X), axis=axis, keepdims=True))
    slices = []
    for i in range(count):
        shift = jnp.ldexp(jnp.ones_like(exponent, X.dtype), exponent + above - i * bits)
        # The barriers keep the compiler from taking (X + shift) - shift for X.
        top = lax.optimization_barrier(lax.optimization_barrier(X + shift) - shift)
        slices.append(top)
        X = X - top
    return slices
