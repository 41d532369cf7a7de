"""Products and singular values of matrices whose scales span thousands of decades.

A product is kept as ``P = Q diag(m · 2^e) T`` (UDT): Q orthogonal, the scales apart with integer exponents,
T well-conditioned. Neither the product nor its small directions are ever formed, so nothing is lost in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn.jacobians import _scaled

__all__ = ["log_singular_values", "udt"]

Advance = Callable[[Float[Array, "n k"], Any], tuple[Float[Array, "n k"], Int[Array, ""]]]
"""(Q, a step's input) -> (mantissa, exponent) of J_t Q."""

_SWEEPS = 20
_ZERO = -(2**30)
# The exponent that stands for a scale of exactly zero.


def udt(
    advance: Advance, inputs: PyTree, Q: Float[Array, "n k"]
) -> tuple[Float[Array, " k"], Int[Array, " k"], Float[Array, "k k"]]:
    """(m, e, T) of ``J_T···J_1 Q = Q' diag(m · 2^e) T``, for k orthonormal columns Q.

    Per step: columns of ``C = J Q`` in descending order of their scaled norm, Householder QR ``C = Q' R``,
    and ``T ← (D'⁻¹ R D) T``, whose entries stay near or below 1 because of the order.
    """
    k = Q.shape[1]

    def step(carry, x):
        Q, m, e, T = carry
        C, exponent = advance(Q, x)
        order = jnp.argsort(-_log2_scale(jnp.linalg.norm(C, axis=0) * jnp.abs(m), e))
        C, m, e, T = C[:, order], m[order], e[order], T[order]
        # Rows, too, in descending order: rounding is then relative to each row, and J = diag(φ') W has rows
        # of all sizes.
        rows = jnp.argsort(-jnp.max(jnp.abs(C), axis=1))
        Q, R = jnp.linalg.qr(C[rows])
        Q = jnp.zeros_like(Q).at[rows].set(Q)
        new_m, grown = jnp.frexp(jnp.diagonal(R) * m)
        new_e = jnp.where(new_m == 0, _ZERO, e + grown + exponent)
        inverse = jnp.where(new_m == 0, 0, 1 / jnp.where(new_m == 0, 1, new_m))
        shift = jnp.clip(e[None, :] + exponent - new_e[:, None], -1000, 1000)
        U = jnp.triu(jnp.ldexp(R * m[None, :] * inverse[:, None], shift), 1)
        U = U + jnp.diag(jnp.where(new_m == 0, 0, 1).astype(U.dtype))
        return (Q, new_m, new_e, _scaled.matmul(U, T)), None

    start = (Q, jnp.full(k, 0.5, Q.dtype), jnp.ones(k, jnp.int32), jnp.eye(k, dtype=Q.dtype))
    (_, m, e, T), _ = lax.scan(step, start, inputs)
    return m, e, T


def log_singular_values(
    m: Float[Array, " n"], e: Int[Array, " n"], T: Float[Array, "n n"]
) -> Float[Array, " n"]:
    """ln of the singular values of ``diag(m · 2^e) T``, descending; -inf for zero.

    One-sided Jacobi: rotate pairs of rows until all are orthogonal; their norms are the singular values.
    Rows keep integer exponents, and a rotation uses only ``r = 2^(e_j - e_i) <= 1``, so that a small row
    is found relative to itself, however large the others are.
    """
    n = T.shape[0]
    X, e = _normalise_rows(T * m[:, None], e)
    if n % 2:  # an empty row completes the pairs
        X, e = jnp.concatenate([X, jnp.zeros((1, n), X.dtype)]), jnp.append(e, _ZERO)
    rounds = jnp.asarray(_round_robin(len(e)))
    eps = jnp.finfo(X.dtype).eps

    def sweep(carry):
        X, e, _, count = carry
        X, worst = lax.fori_loop(
            0, len(rounds), lambda k, c: _rotate(*c, e, rounds[k], eps), (X, jnp.zeros((), X.dtype))
        )
        X, e = _normalise_rows(X, e)
        return X, e, worst, count + 1

    def unfinished(carry):
        _, _, worst, count = carry
        return (worst > 4 * n * eps) & (count < _SWEEPS)

    start = (X, e, jnp.full((), jnp.inf, X.dtype), 0)
    X, e, _, _ = lax.while_loop(unfinished, sweep, start)
    norms = jnp.linalg.norm(X, axis=1)
    log_sigma = jnp.where(norms > 0, jnp.log(norms) + e.astype(X.dtype) * _scaled.LN2, -jnp.inf)
    return -jnp.sort(-log_sigma)[:n]


def _rotate(X, worst, e, pairs, eps):
    """One round of disjoint rotations, and the largest cosine between two rows so far."""
    squares = jnp.sum(X * X, axis=1)
    scale = _log2_scale(jnp.sqrt(squares), e)
    larger_first = scale[pairs[:, 0]] >= scale[pairs[:, 1]]
    i = jnp.where(larger_first, pairs[:, 0], pairs[:, 1])
    j = jnp.where(larger_first, pairs[:, 1], pairs[:, 0])
    a, b, dot = squares[i], squares[j], jnp.sum(X[i] * X[j], axis=1)
    size = jnp.sqrt(a) * jnp.sqrt(b)
    cosine = jnp.where(size > 0, jnp.abs(dot) / jnp.where(size > 0, size, 1), 0)
    active = cosine > eps
    # In units of 2^e_i the rows are x_i and r x_j; tan φ = r τ.
    r = jnp.ldexp(jnp.ones_like(a), jnp.clip(e[j] - e[i], -1000, 1000))
    eta = (r * r * b - a) / (2 * jnp.where(active, dot, 1))
    tau = jnp.where(eta >= 0, 1, -1) / (jnp.abs(eta) + jnp.sqrt(r * r + eta * eta))
    tau = jnp.where(active, tau, 0)
    cos = 1 / jnp.sqrt(1 + (r * tau) ** 2)
    x_i = cos[:, None] * (X[i] - (tau * r * r)[:, None] * X[j])
    x_j = cos[:, None] * (X[j] + tau[:, None] * X[i])
    return X.at[i].set(x_i).at[j].set(x_j), jnp.maximum(worst, jnp.max(cosine))


def _log2_scale(mantissa, exponent):
    positive = mantissa > 0
    log2 = exponent.astype(mantissa.dtype) + jnp.log2(jnp.where(positive, mantissa, 1))
    return jnp.where(positive, log2, -jnp.inf)


def _normalise_rows(X, e):
    mantissas, grown = _scaled.normalise(X[:, None, :])
    zero = jnp.all(X == 0, axis=1)
    return mantissas[:, 0, :], jnp.where(zero, _ZERO, e + grown)


def _round_robin(n):
    """[n - 1, n / 2, 2]: every pair of n (even) rows once, in rounds of disjoint pairs."""
    others, rounds = list(range(1, n)), []
    for _ in range(n - 1):
        line = [0, *others]
        rounds.append([(line[i], line[n - 1 - i]) for i in range(n // 2)])
        others = others[-1:] + others[:-1]
    return np.array(rounds)
