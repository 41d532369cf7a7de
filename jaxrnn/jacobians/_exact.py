"""Products of float matrices in fixed point of any width, with a bound of the error; NumPy only.

A matrix is ``Σ_a digit_a 2^(w a) · 2^exponent`` with balanced digits of w bits in float64, so that BLAS
multiplies matrices of integers exactly. No rounding but where low digits are dropped, which is counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Product", "Step", "product", "rank", "steps"]

_MOST_DIGITS = 128
# The widest float64 matrix, denormals beside 1e308, has fewer.
_PRIME = 2**127 - 1


class Product(NamedTuple):
    """``integers · 2^exponent``, off by at most 2^log2_error in the 2-norm (-inf: exact)."""

    integers: np.ndarray
    exponent: int
    log2_error: float


class Step(NamedTuple):
    """One factor: digits [a, n, n] from low to high, the exponent of the lowest, and log2 of ‖J‖₂."""

    digits: np.ndarray
    exponent: int
    log2_norm: float


def _width(n: int) -> int:
    """Bits of a digit such that sums of n · 128 products of two digits stay below 2^53."""
    return int((54.9 - np.log2(n * _MOST_DIGITS)) // 2)


def steps(js: np.ndarray) -> list[Step]:
    """The factors as digits, exactly: every float is an integer times a power of two."""
    w = _width(js.shape[1])
    return [_step(J, w) for J in js]


def _step(J, w):
    mantissa, exponent = np.frexp(J)
    bits = np.finfo(J.dtype).nmant + 1
    exponent = exponent.astype(int) - bits
    lowest = int(np.min(exponent, where=J != 0, initial=2**20))
    if lowest == 2**20:
        return Step(np.zeros((1, *J.shape)), 0, -np.inf)
    place, shift = np.divmod(np.where(J == 0, 0, exponent - lowest), w)
    rest = np.ldexp(mantissa, bits + shift)
    n_digits = -(-(bits + w) // w)
    digits = np.zeros((place.max() + n_digits, *J.shape))
    for b in reversed(range(n_digits)):
        digit = np.rint(np.ldexp(rest, -w * b))
        rest = rest - np.ldexp(digit, w * b)
        for a in np.unique(place):
            digits[a + b] += np.where(place == a, digit, 0)
    used = np.flatnonzero(np.any(digits != 0, axis=(1, 2)))
    largest = int(np.max(exponent, where=J != 0, initial=lowest))
    scaled = np.ldexp(mantissa, np.maximum(exponent - largest, -1000)).astype(float)
    # A thousandth of a bit is far more than the SVD's rounding.
    log2_norm = float(np.log2(np.linalg.norm(scaled, 2))) + largest + bits + 1e-3
    return Step(digits[used[0] : used[-1] + 1], lowest + w * int(used[0]), log2_norm)


def product(factors: list[Step], n: int, bits: int) -> Product:
    """``J_T ··· J_1``, with all digits or at least `bits` bits below the largest entry.

    Dropping digits at step s is an error E_s with ``‖E_s‖₂ <= n`` units of the lowest kept digit, and
    arrives as ``J_T ··· J_(s+1) E_s``, which is bounded by the product of the factors' norms.
    """
    w, keep = _width(n), -(-bits // _width(n)) + 2
    P, exponent, log2_error = np.eye(n)[:, None, :], 0, -np.inf
    for J in factors:
        P = _carry(_carry(_multiply(J.digits, P), w), w)
        exponent, log2_error = exponent + J.exponent, log2_error + J.log2_norm
        used = np.flatnonzero(np.any(P != 0, axis=(0, 2)))
        if not len(used):
            return Product(np.zeros((n, n), object), 0, log2_error)
        low = max(int(used[0]), int(used[-1]) + 1 - keep)
        exponent += w * low
        if low > used[0]:
            log2_error = float(np.logaddexp2(log2_error, np.log2(n) + exponent)) + 1e-12
        P = P[:, low : used[-1] + 1]
    return Product(_integers(P, w), exponent, log2_error)


def _multiply(digits, P):
    """The digits of J P before carrying; two empty places above for the carry."""
    n, length = P.shape[0], P.shape[1]
    Q = np.zeros((n, length + len(digits) + 1, n))
    flat = P.reshape(n, length * n)
    for a, A in enumerate(digits):
        if A.any():
            Q[:, a : a + length] += (A @ flat).reshape(n, length, n)
    return Q


def _carry(Q, w):
    """The same numbers with smaller digits: from below 2^53 in two calls to hardly more than 2^(w-1)."""
    carry = np.rint(Q * 0.5**w)
    carry[:, -1] = 0
    Q -= carry * 2.0**w
    Q[:, 1:] += carry[:, :-1]
    return Q


def _integers(P, w):
    """[n, n] Python integers from the digits [n, length, n], neighbours joined until one is left."""
    X = np.array([[int(x) for x in row.ravel()] for row in P], object).reshape(P.shape)
    while X.shape[1] > 1:
        if X.shape[1] % 2:
            X = np.concatenate([X, np.zeros_like(X[:, :1])], axis=1)
        X, w = X[:, ::2] + (X[:, 1::2] << w), 2 * w
    return X[:, 0]


def rank(factors: list[Step], n: int) -> int:
    """The rank of the product, modulo 2^127 - 1 and powers of two apart, where elimination is exact.

    It is never above the rank over the rationals, and below it only if the prime divides all the minors of
    that order, whose chance is below 1e-30.
    """
    w = _width(n)
    P = np.array([[int(i == j) for j in range(n)] for i in range(n)], object)
    for J in factors:
        P = _integers(np.moveaxis(J.digits, 0, 1), w) @ P % _PRIME
    found = 0
    for column in range(n):
        pivot = next((i for i in range(found, n) if P[i, column]), None)
        if pivot is None:
            continue
        P[[found, pivot]] = P[[pivot, found]]
        P[found] = P[found] * pow(int(P[found, column]), -1, _PRIME) % _PRIME
        for i in range(found + 1, n):
            P[i] = (P[i] - P[i, column] * P[found]) % _PRIME
        found += 1
    return found
