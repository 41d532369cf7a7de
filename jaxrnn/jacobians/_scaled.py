"""Matrices as mantissa · 2^exponent, so that a product of thousands neither over- nor underflows."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["LN2", "advance_row_sums", "matmul", "normalise", "widen"]

LN2 = 0.6931471805599453


def widen(array: Float[Array, ...]) -> Float[Array, ...]:
    """float16 and bfloat16 as float32, since LAPACK has no routines for them."""
    return array.astype(jnp.float32) if jnp.finfo(array.dtype).bits < 32 else array


def normalise(
    A: Float[Array, "*batch n m"],
) -> tuple[Float[Array, "*batch n m"], Int[Array, "*batch"]]:
    """``A = mantissa · 2^exponent`` with max|mantissa| in [½, 1); exact but for denormals.

    The exponent is an int32: a logarithm kept in float32 has a spacing of 1e-3 near -10^4.
    """
    largest = jnp.max(jnp.abs(A), axis=(-2, -1))
    _, exponent = jnp.frexp(largest)
    exponent = jnp.where(largest > 0, exponent, 0).astype(jnp.int32)
    # Two halves: 2^149 alone is infinite in float32.
    half = exponent // 2
    A = jnp.ldexp(A, -half[..., None, None])
    return jnp.ldexp(A, (half - exponent)[..., None, None]), exponent


def matmul(A: Float[Array, "... n m"], B: Float[Array, "... m p"]) -> Float[Array, "... n p"]:
    """A B in full precision: accelerators round float32 operands to TF32 or bfloat16 by default."""
    return jnp.matmul(A, B, precision="highest")


def advance_row_sums(
    J: Float[Array, "n n"], support: Bool[Array, "n n"], a: Float[Array, "*batch n 1"]
) -> tuple[Float[Array, "*batch n 1"], Int[Array, "*batch"]]:
    """Row sums of ``|J_t|...|J_{k+1}|`` after the factor J, as `normalise`; zero only where they must be.

    What underflows in a mantissa leaves a floor behind that is large enough to account for it, so that a
    product counts as exactly zero only if the pattern `support` of nonzero entries says so.
    """
    floor = jnp.finfo(a.dtype).tiny / jnp.finfo(a.dtype).eps
    reached = matmul(support.astype(a.dtype), (a > 0).astype(a.dtype)) > 0
    return normalise(jnp.where(reached, jnp.maximum(matmul(jnp.abs(J), a), floor), 0.0))
