"""Matrices as mantissa · 2^exponent, so that a product of thousands neither over- nor underflows."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

__all__ = ["LN2", "Chain", "advance_column_sums", "chain", "log_scaled", "matmul", "normalise", "widen"]

LN2 = 0.6931471805599453


class Chain(NamedTuple):
    """Step Jacobians ``J_t = mantissa · 2^exponent``; a factor that is not finite counts as zero."""

    mantissas: Float[Array, "T n n"]
    exponents: Int[Array, " T"]
    support: Bool[Array, "T n n"]
    """Where the entries are not zero, also those that the mantissa flushed to zero."""
    finite: Bool[Array, " T"]


def chain(js: Float[Array, "T n n"]) -> Chain:
    """The factors in a dtype that LAPACK has, scaled by exact powers of two."""
    js = widen(js)
    finite = jnp.all(jnp.isfinite(js), axis=(1, 2))
    js = jnp.where(finite[:, None, None], js, 0)
    # By their bits: the processor may take denormals for zero, which they are not.
    bits = lax.bitcast_convert_type(js, jnp.uint32 if js.dtype == jnp.float32 else jnp.uint64)
    return Chain(*normalise(js), (bits << 1) != 0, finite)


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


def log_scaled(mantissa: Float[Array, "*#shape"], exponent: Int[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """``ln(mantissa · 2^exponent)``; -inf for zero."""
    return jnp.log(mantissa) + exponent.astype(mantissa.dtype) * LN2


def matmul(A: Float[Array, ...], B: Float[Array, ...]) -> Float[Array, ...]:
    """A B of matrices or vectors in full precision.

    Accelerators round float32 operands to TF32 or bfloat16 by default.
    """
    return jnp.matmul(A, B, precision="highest")


def advance_column_sums(
    a: Float[Array, "*batch r n"], J: Float[Array, "*batch n n"], support: Bool[Array, "*batch n n"]
) -> tuple[Float[Array, "*batch r n"], Int[Array, "*batch r"]]:
    """Column sums over r groups of rows of ``|J_t|...|J_k|``, the factor J_k being new, as `normalise`.

    What underflows in a mantissa leaves a floor behind that is large enough to account for it, so that a
    product counts as exactly zero only if the pattern `support` of nonzero entries says so.
    """
    floor = jnp.finfo(a.dtype).tiny / jnp.finfo(a.dtype).eps
    reached = matmul((a > 0).astype(a.dtype), support.astype(a.dtype)) > 0
    sums = jnp.where(reached, jnp.maximum(matmul(a, jnp.abs(J)), floor), 0.0)
    sums, grown = normalise(sums[..., None, :])
    return sums[..., 0, :], grown
