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

    Each is cut into two slices of few bits and a rest. Products of slices, and sums of them, are exact, so
    that what cancels does so without rounding; products with a rest are small, and rounded as usual. Nothing
    is dropped: an entry far below its neighbours is all rest. Six times the work of a plain product.

    Reference: Ozaki, Ogita, Oishi & Rump 2012.
    """
    digits = jnp.finfo(A.dtype).nmant + 1
    bits = (digits - ceil(log2(A.shape[1])) - 2) // 2
    A_1, A_2, A_rest = _cut(A, 1, digits - bits, bits)
    B_1, B_2, B_rest = _cut(B, 0, digits - bits, bits)

    def product(left, right):
        return _scaled.matmul(jnp.concatenate(left, axis=1), jnp.concatenate(right, axis=0))

    small = product([A_2, A_rest, A_1 + A_2], [B_2, B, B_rest])
    return _scaled.matmul(A_1, B_1) + (product([A_1, A_2], [B_2, B_1]) + small)


def _cut(X, axis, above, bits):
    """(top, middle, rest) with the sum X: the first two of so many bits below the largest along the axis."""
    _, exponent = jnp.frexp(jnp.max(jnp.abs(X), axis=axis, keepdims=True))

    def top(X, level):
        shift = jnp.ldexp(jnp.ones_like(exponent, X.dtype), exponent + above - level * bits)
        # The barriers keep the compiler from taking (X + shift) - shift for X.
        return lax.optimization_barrier(lax.optimization_barrier(X + shift) - shift)

    first = top(X, 0)
    second = top(X - first, 1)
    return first, second, X - first - second
