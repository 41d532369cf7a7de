"""Graded chains with known singular values down to 1e-10000: spectrum and oracle against the formula."""

from __future__ import annotations

import jax
import numpy as np

import jaxrnn as jr
from validation.harness import LN10, difference, table

TITLE = "Closed forms down to 1e-10000"
BAR = {"float64": 1e-10, "float32": 5e-3}
GRADES = {2: (0, 17), 4: (0, 3, 7, 17), 8: (0, 1, 2, 4, 7, 9, 13, 17)}
"""log2 of 1/σ_i of one step; the factors then have at most 24 bits and are exact in float32."""


def run() -> tuple[str, list[str]]:
    """One row a kind, size and dtype, and the bars that are broken."""
    rows, broken = [], []
    spectrum = jax.jit(jr.jacobians.spectrum)
    for n, grades in GRADES.items():
        for kind, (js, log2_sigma) in chains(n, np.array(grades)).items():
            truth = np.log(2) * np.sort(log2_sigma)[::-1]
            for dtype, bar in BAR.items():
                name = f"{kind}, n = {n}, {dtype}"
                got = spectrum(js.astype(dtype))
                error = difference(got.log_sigma, truth).max() / LN10
                certified = np.mean(np.asarray(got.certified))
                oracle_error = difference(jr.jacobians.oracle.spectrum(js.astype(dtype)), truth)
                off = np.max(oracle_error / np.maximum(1, np.abs(truth)))
                smallest = f"1e{truth[-1] / LN10:.0f}"
                rows.append((name, str(len(js)), smallest, f"{error:.1e}", f"{certified:.2f}", f"{off:.1e}"))
                if error > bar:
                    broken.append(f"{name}: off by {error:.1e} decades")
                if np.any(np.asarray(got.certified) & (difference(got.log_sigma, truth) > got.log_error)):
                    broken.append(f"{name}: certified, and outside its error bound")
                if off > 1e-14:
                    broken.append(f"{name}: the ORACLE is off by {off:.1e} of the logarithm")
    header = ("chain", "T", "σₙ", "max Δ (decades)", "certified", "oracle: relative Δ of ln σ")
    return table(header, rows), broken


def chains(n: int, grades: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """kind -> (js [T, n, n], log2 of the singular values of the product)."""
    rng, T = np.random.default_rng(n), -(-33220 // int(grades.max()))
    D = np.diag(2.0**-grades)
    H = np.ones((1, 1))
    while len(H) < n:
        H = np.kron(H, [[1, 1], [1, -1]])
    # H_t = H with rows in random order: H_tᵀ H_t = n, and products of them with D are dyadic.
    orders = [rng.permutation(n) for _ in range(T + 1)]
    orders[T] = orders[0]
    turning = [H[orders[t + 1]] @ D @ H[orders[t]].T / n for t in range(T)]
    shuffled = [np.eye(n)[rng.permutation(n)] @ D for _ in range(T)]
    column, log2 = np.arange(n), np.zeros(n)
    for J in shuffled:  # follow every unit vector through the chain
        rows = np.argmax(J != 0, axis=0)
        log2, column = log2 + np.log2(J[rows[column], column]), rows[column]
    return {
        "diagonal": (np.stack([D] * T), -T * grades.astype(float)),
        "diagonal, permuted at random": (np.stack(shuffled), log2),
        "rotated": (np.stack([H @ D @ H.T / n] * T), -T * grades.astype(float)),
        "rotated anew at every step": (np.stack(turning), -T * grades.astype(float)),
    }
