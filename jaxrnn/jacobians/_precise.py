"""Matrix products as if in more than the working precision."""

from __future__ import annotations

from math import ceil, log2

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxrnn.jacobians import _scaled

__all__ = ["precise_matmul", "rounding"]


def precise_matmul(
    A: Float[Array, "*batch n m"], B: Float[Array, "*batch m k"], slices: int
) -> Float[Array, "*batch n k"]:
    """A B, right relative to its own entries also where large terms cancel.

    Each is cut into slices of few bits and a rest. Products of slices, and sums of them, are exact, so that
    what cancels does so without rounding; products with a rest are small, and rounded as usual. Nothing is
    dropped: an entry far below its neighbours is all rest. One slice takes three times the work of a plain
    product, two take six times.

    A and B must be stored arrays, or come from them without rounding: a compiler may compute an expression
    at each place that reads it, once rounded and once fused into the next operation, and the slices and the
    rest would not belong together.

    Reference: Ozaki, Ogita, Oishi & Rump 2012.
    """
    bits = _bits(A.shape[-1], A.dtype, slices)
    A_slices, A_rests = _cut(A, -1, slices, bits)
    B_slices, B_rests = _cut(B, -2, slices, bits)

    def product(left, right):
        return _scaled.matmul(jnp.concatenate(left, axis=-1), jnp.concatenate(right, axis=-2))

    # The i-th slice of A meets the slices of B that keep the product exact, and what is left of B after them.
    result = product([*A_slices, A_rests[-1]], [*reversed(B_rests[1:]), B])
    for level in range(slices, 0, -1):
        result = product(A_slices[:level], B_slices[:level][::-1]) + result
    return result


def rounding(m: int, dtype: DTypeLike) -> tuple[float, float]:
    """(a, b) such that `precise_matmul` with one slice, inner dimension m, is off by at most this.

    ``‖error‖_F <= a ‖A B‖_F + b ‖A‖_F ‖B‖_F``: the last addition rounds entries of A B. Before it, the dot
    products of 2m terms round, and each has a rest for a factor, of at most 2^(1-bits) of its row or column.
    """
    unit = float(jnp.finfo(dtype).eps) / 2
    return unit, 2 * m * unit * 2 * 2.0 ** (1 - _bits(m, dtype, slices=1)) * m**0.5


def _bits(m, dtype, slices):
    # A slice holds integers up to 2^(bits-1): sums of m·slices products of two of them must be exact.
    return (jnp.finfo(dtype).nmant + 3 - ceil(log2(m * slices))) // 2


def _cut(X, axis, slices, bits):
    """The slices of X, each of so many bits below the largest along the axis; what is left from X on."""
    _, exponent = jnp.frexp(jnp.max(jnp.abs(X), axis=axis, keepdims=True))
    cut, rests = [], [X]
    for level in range(1, slices + 1):
        shift = exponent + jnp.finfo(X.dtype).nmant + 1 - level * bits
        # 1.5: the sum keeps its exponent, and so its last bit, whatever the sign of X.
        shift = jnp.ldexp(jnp.full_like(exponent, 1.5, X.dtype), shift)
        # The barriers keep the compiler from taking (X + shift) - shift for X.
        cut.append(lax.optimization_barrier(lax.optimization_barrier(rests[-1] + shift) - shift))
        rests.append(rests[-1] - cut[-1])
    return cut, rests
