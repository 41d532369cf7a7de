"""Random and adversarial products: no certified value may lie outside its error bound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import jax
import numpy as np

import jaxrnn as jr
from validation.harness import difference, exact, pool, table

TITLE = "Random and adversarial products"
SHAPES = (
    (2, 60, 16),
    (3, 12, 16),
    (4, 30, 16),
    (5, 2, 16),
    (6, 10, 12),
    (8, 40, 12),
    (12, 24, 8),
    (4, 300, 3),
)
"""(n, T, chains of each kind)."""


def run() -> tuple[str, list[str]]:
    """One row a kind and dtype: how much is certified, and what broke its bound."""
    tallies, broken = defaultdict(list), []
    with pool() as workers:
        for n, T, count in SHAPES:
            kinds, chains = zip(*(pair for i in range(count) for pair in cases(n, T, i)), strict=True)
            for dtype in ("float64", "float32"):
                js = np.stack(chains).astype(dtype)
                truths = workers.map(exact, js, [[(T, 0)]] * len(js), chunksize=8)
                norms = jax.tree.map(lambda leaf: np.asarray(leaf)[:, -1, 0], _norms(js))
                spectra = jax.tree.map(np.asarray, _spectra(js))
                for i, (log_sigma, log_norm) in enumerate(truths):
                    norm = [np.reshape(leaf[i], 1) for leaf in norms]
                    for what, result, truth in (
                        ("norms", norm, np.array(log_norm)),
                        ("spectrum", [leaf[i] for leaf in spectra], log_sigma),
                    ):
                        name = f"{kinds[i]}, n = {n}, T = {T}, chain {i // len(set(kinds))}, {dtype}: {what}"
                        wrong, line = _check(result, truth)
                        broken += [f"{name}: {line}"] * bool(wrong)
                        tallies[kinds[i], dtype, what].append((len(truth), wrong, np.sum(result[2])))
    return _table(tallies), broken


_norms = jax.jit(jax.vmap(jr.jacobians.norms))
_spectra = jax.jit(jax.vmap(jr.jacobians.spectrum))


def _check(result, truth):
    """How many certified values are outside their bounds, and the worst of them in words."""
    value, bound, certified = result
    error = difference(value, truth)
    wrong = np.flatnonzero(certified & ~(error <= bound))
    if not len(wrong):
        return 0, ""
    i = wrong[np.argmax(error[wrong] / np.maximum(bound[wrong], 1e-300))]
    return len(wrong), f"value {i} is certified to {bound[i]:.1e} and off by {error[i]:.1e} nats"


def _table(tallies):
    rows = []
    for kind, dtype in dict.fromkeys(key[:2] for key in tallies):
        norm, spectrum = (np.sum(tallies[kind, dtype, what], axis=0) for what in ("norms", "spectrum"))
        cells = [str(int(norm[0]))]
        for total, wrong, certified in (norm, spectrum):
            cells += [f"{certified / total:.3f}", str(int(wrong))]
        rows.append((f"{kind}, {dtype}", *cells))
    sums = [np.sum([np.sum(tallies[key], axis=0) for key in tallies if key[2] == what], axis=0)
            for what in ("norms", "spectrum")]  # fmt: skip
    total = [str(int(sums[0][0]))]
    for values, wrong, certified in sums:
        total += [f"{certified / values:.3f}", str(int(wrong))]
    rows.append(("all", *total))
    header = ("kind", "products", "norms certified", "violations", "values certified", "violations")
    return table(header, rows)


def cases(n: int, T: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """(kind, js [T, n, n]) in float64; entries stay within float32's range."""
    rng = np.random.default_rng((n, T, seed))
    A = rng.normal(size=(T, n, n))
    U, V = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    step = 3 if T <= 60 else 1
    grade = np.diag(10.0 ** -(np.arange(n) * step / 4))
    reverse = np.eye(n)[::-1]
    first = (np.arange(T) < T // 2)[:, None, None]
    turns = (np.arange(T) % 4 < 2)[:, None, None]
    column, row = rng.normal(size=(T, n, 1)), rng.normal(size=(T, 1, n))
    yield "random", A
    yield "scaled steps", A * 10.0 ** rng.integers(-30, 30, size=(T, 1, 1))
    yield "scaled rows", A * 10.0 ** rng.integers(-4, 4, size=(T, n, 1))
    yield "saturated rows", A * np.exp(-4 * np.abs(rng.normal(size=(T, n, 1))))
    yield "graded, rotated", U @ grade @ V * np.ones((T, 1, 1))
    yield "graded, rotated at random", np.linalg.qr(A)[0] @ grade
    flat = np.diag(10.0 ** -np.minimum(np.arange(n), 1 + seed % 5))
    yield "symmetric, repeated", U @ flat @ U.T * np.ones((T, 1, 1))
    yield "contract, then expand", U @ np.where(first, grade, np.linalg.inv(grade)) @ U.T
    yield "crossing", np.where(turns, grade, reverse @ grade @ reverse) + 1e-3 * A * (seed % 2)
    yield "crossing, exactly", _crossing(n, T, 2 + seed % 3)
    yield "one exact step, repeated", _dyadic(n, 4 + seed) * np.ones((T, 1, 1))
    yield "non-normal, triangular", np.triu(A) + 10 * np.triu(np.ones((n, n)), 1)
    yield "nearly singular", column * row + 10.0 ** -(2 + seed % 12) * A
    yield "singular", np.where((np.arange(n) == seed % n) & (np.arange(T)[:, None, None] % 5 == 1), 0, A)
    yield "cancelling", A - np.where(np.arange(T) % 2, 1, -1)[:, None, None] * A[:, ::-1]
    yield "inverse pairs", _inverse_pairs(A)
    yield "nilpotent and more", np.diag(np.ones(n - 1), 1) + 2.0 ** -(8 * (seed % 8)) * np.tril(A)


def _dyadic(n, rate):
    """Pairs of units whose sum stays and whose difference shrinks by 2^-rate: a small value by cancellation.

    Its rounding is the same at every step, and adds up.
    """
    block = np.array([[1 + 2.0**-rate, 1 - 2.0**-rate], [1 - 2.0**-rate, 1 + 2.0**-rate]]) / 2
    return np.kron(np.diag(2.0 ** -np.arange(-(-n // 2))), block)[:n, :n]


def _crossing(n, T, rate):
    """Pairs of units whose difference shrinks, by 2^-rate a step, and then whose sum does, by its square.

    All entries are dyadic. A product in floating point forgets the difference, which dominates at the end.
    """
    half = np.array([[1.0, 1.0], [1.0, -1.0]])

    def block(s, d):
        return half @ np.diag([2.0**-s, 2.0**-d]) @ half / 2

    early, late = (np.kron(np.eye(-(-n // 2)), block(*pair))[:n, :n] for pair in ((0, rate), (2 * rate, 0)))
    return np.where((np.arange(T) < T // 2)[:, None, None], early, late)


def _inverse_pairs(A):
    """Every second factor is the rounded inverse of the one before: the product is near the identity."""
    B = A.copy()
    pairs = len(A) // 2
    B[1 : 2 * pairs : 2] = np.linalg.inv(A[0 : 2 * pairs : 2])
    return B
