"""The last arbiter: norms and singular values of ∂h_t/∂h_k in as many digits as they take (E15).

It shares no algorithm with `norms` and `spectrum`, calls no JAX, and runs on the host. It needs mpmath:
``pip install "jaxrnn[oracle]"``.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn.jacobians import _exact

__all__ = ["log_norm", "spectrum"]

_RESOLVED = 70
# A singular value counts when it is this many bits above the error of the product.


@_checks.signature("jacobians.oracle.log_norm")
def log_norm(
    js: Float[np.ndarray, "T n n"] | Float[Array, "T n n"], t: int | None = None, k: int = 0
) -> float:
    """``ln ‖∂h_t/∂h_k‖₂`` in nats, as float64 holds it (E15).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`, of any floating dtype; its entries are taken as exact.
    t, k : Python integers, 0 <= k <= t <= T; by default the whole sequence.

    Returns
    -------
    float
        -inf for a product of exactly zero.

    Raises
    ------
    ImportError
        Without mpmath.
    IndexError, ValueError
        If the pair (t, k) is out of range, or js is not finite or not [T, n, n].

    Notes
    -----
    As `spectrum`, but digits are added only until the largest value is known. The norm of the product,
    scaled by a power of two and rounded to float64 at the end, is LAPACK's: off by n·eps at most.

    Cost: n = 32, T = 2000 takes a few seconds.

    Example
    -------
    >>> log_norm(np.full((100, 1, 1), 1e-100))  # ln 1e-10000
    -23025.850929940458
    """
    mp = _context()
    js = _segment("jacobians.oracle.log_norm", js, t, k)
    factors, n, rank = _exact.steps(js), js.shape[1], None
    bits = 128 + int(_bits_lost(js, factors).min())
    while True:
        P = _exact.product(factors, n, bits)
        shift = max(0, _bit_length(P.integers) - 900)
        top = float(np.linalg.norm((P.integers >> shift).astype(float), 2))
        if top > 0 and np.log2(top) + shift + P.exponent > P.log2_error + _RESOLVED:
            return float(mp.log(mp.ldexp(top, shift + P.exponent)))
        rank = _exact.rank(factors, n) if rank is None else rank
        if rank == 0:
            return -np.inf
        bits *= 2


@_checks.signature("jacobians.oracle.spectrum")
def spectrum(
    js: Float[np.ndarray, "T n n"] | Float[Array, "T n n"], t: int | None = None, k: int = 0
) -> Float[np.ndarray, " n"]:
    """ln of all singular values of ``∂h_t/∂h_k``, as float64 holds them (E15).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`, of any floating dtype; its entries are taken as exact.
    t, k : Python integers, 0 <= k <= t <= T; by default the whole sequence. ``t == k``: all zeros.

    Returns
    -------
    [n] float64
        Nats, descending; -inf where a value is exactly zero.

    Raises
    ------
    ImportError
        Without mpmath.
    IndexError, ValueError
        If the pair (t, k) is out of range, or js is not finite or not [T, n, n].

    Notes
    -----
    What makes the answer right:

    1. Every float is an integer times a power of two. The product P is formed in integer arithmetic, and an
       upper bound of ‖E‖₂ is kept for the digits E that were dropped. By Weyl, no singular value moves by
       more than that; digits are added until every value is 2^70 times larger.
    2. Values below are zero if the rank of P says so. The rank is found modulo the prime 2^127 - 1; the
       chance that this takes a nonzero value for zero is below 1e-30.
    3. Pivoted Gram-Schmidt in the digits of P gives rows ``R = diag(d) U``, U unit triangular with entries
       of at most 1, so that κ(U) <= n 2^n. One-sided Jacobi on the rows, in 160 + 2n bits with exponents
       that know no end, finds each value relative to itself (Demmel & Veselić 1992).

    Cost: integer products of n²T entries by as many bits as the values span, then n³ products of two such
    numbers. n = 32, T = 2000 takes 10 s if they span 2000 decades, and about a minute at 6000.

    Example
    -------
    >>> js = np.broadcast_to(np.diag([1.0, 1e-30, 0.0]), (300, 3, 3))
    >>> spectrum(js) / np.log(10)
    array([    0., -9000.,   -inf])

    Reference
    ---------
    Weyl 1912; Demmel & Veselić, *Jacobi's method is more accurate than QR*, 1992.
    """
    mp = _context()
    js = _segment("jacobians.oracle.spectrum", js, t, k)
    factors, n, rank = _exact.steps(js), js.shape[1], None
    mp.prec = 160 + 2 * n
    bits = 128 + int(_bits_lost(js, factors).max())
    while True:
        P = _exact.product(factors, n, bits)
        # A product with all its digits may have values below its unit.
        shift = max(0, bits - _bit_length(P.integers))
        sigma = _singular_values(mp, P.integers << shift)
        unit = P.exponent - shift
        floor = mp.mpf(2) ** (max(P.log2_error - unit, 0) + _RESOLVED)
        resolved = sum(s > floor for s in sigma)
        if resolved < n and rank is None:
            rank = _exact.rank(factors, n)
        if resolved in (n, rank):
            logs = [float(mp.log(mp.ldexp(s, unit))) for s in sigma[:resolved]]
            return np.array(logs + [-np.inf] * (n - resolved))
        bits *= 2


def _context():
    """Arithmetic of our own, so that the precision of the user's `mpmath.mp` neither matters nor changes."""
    with _checks.installed("jacobians.oracle", "mpmath", "oracle"):
        from mpmath import MPContext
    return MPContext()


def _segment(function, js, t, k):
    """The factors of the pair (t, k), checked, in a dtype that NumPy's own functions take."""
    js = np.asarray(js)
    T, _ = _checks.jacobian_chain(function, js)
    t, k = _checks.pair(function, T if t is None else t, k, T)
    js = js[k:t] if js.dtype == np.longdouble else js[k:t].astype(np.float64)
    bad = np.flatnonzero(~np.all(np.isfinite(js), axis=(1, 2)))
    if len(bad):
        raise ValueError(
            f"{function}: js[{k + int(bad[0])}] is not finite; an exact product needs finite step Jacobians."
        )
    return js


def _bits_lost(js, factors):
    """A guess, by QR in float64: how many bits below the product of the norms each singular value lies."""
    n = js.shape[1]
    Q, lost = np.eye(n), np.zeros(n)
    for J, factor in zip(js, factors, strict=True):
        if factor.log2_norm == -np.inf:
            return np.zeros(n)
        Q, R = np.linalg.qr(np.ldexp(J, -int(factor.log2_norm)).astype(float) @ Q)
        shrunk = np.abs(np.diagonal(R))
        # Below float64's digits it is as well a zero, which no bits would resolve.
        lost += np.where(shrunk > 2.0**-45, 1 - np.log2(np.maximum(shrunk, 2.0**-45)), 0)
    return lost


def _bit_length(integers):
    return max(int(abs(x)).bit_length() for x in integers.flat)


def _singular_values(mp, integers):
    """All singular values of a matrix of Python integers, descending; off by less than 1."""
    n = len(integers)
    X = _triangular(mp, integers)
    limit = mp.ldexp(1, -100)
    unfinished = len(X) > 1
    while unfinished:
        X = sorted(X, key=lambda row: -mp.fdot(row, row))
        pairs = [(i, j) for i in range(len(X)) for j in range(i + 1, len(X))]
        unfinished = sum(_rotate(mp, X, i, j, limit) for i, j in pairs) > 0
    sigma = sorted((mp.sqrt(mp.fdot(row, row)) for row in X), reverse=True)
    return sigma + [mp.mpf(0)] * (n - len(sigma))


def _triangular(mp, integers):
    """Rows R of a pivoted QR: column by column the largest rest, until less than 2^-32 is left.

    Each column is taken off with as many bits as the rest still has, and more than 100 to spare.
    """
    n, rows = len(integers), []
    with mp.workprec(_bit_length(integers) + 1):
        rest = [[mp.mpf(int(x)) for x in column] for column in integers.T]
    for _ in range(n):
        with mp.workprec(60):
            sizes = [mp.fsum(x * x for x in column) for column in rest]
        p = max(range(n), key=sizes.__getitem__)
        if sizes[p] < mp.ldexp(1, -64):
            break
        with mp.workprec(max(int(mp.mag(sizes[p])) // 2, 0) + 128 + 2 * n):
            size = mp.sqrt(mp.fdot(rest[p], rest[p]))
            q = [x / size for x in rest[p]]
            row = [mp.fdot(q, column) for column in rest]
            rest = [
                [x - q_i * r for x, q_i in zip(column, q, strict=True)]
                for column, r in zip(rest, row, strict=True)
            ]
        rest[p] = [mp.mpf(0)] * n
        rows.append([+r for r in row])
    return rows


def _rotate(mp, X, i, j, limit):
    """Make rows i and j orthogonal; False if they were."""
    a, b, dot = mp.fdot(X[i], X[i]), mp.fdot(X[j], X[j]), mp.fdot(X[i], X[j])
    if abs(dot) <= limit * mp.sqrt(a * b):
        return False
    zeta = (b - a) / (2 * dot)
    tangent = (1 if zeta >= 0 else -1) / (abs(zeta) + mp.sqrt(1 + zeta * zeta))
    cosine = 1 / mp.sqrt(1 + tangent * tangent)
    x_i = [cosine * (x - tangent * y) for x, y in zip(X[i], X[j], strict=True)]
    X[j] = [cosine * (y + tangent * x) for x, y in zip(X[i], X[j], strict=True)]
    X[i] = x_i
    return True
