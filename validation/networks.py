"""Driven tanh networks: norms and whole spectra of up to 2000 steps against the oracle."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as jr
from validation.harness import LN10, difference, exact, pool, table

TITLE = "Driven tanh networks"
SIZES, GAINS, LENGTHS = (10, 16, 32), (0.5, 0.9, 1.0, 1.5), (100, 500, 1000, 2000)
TABLE_UP_TO = 500
"""Longer chains are compared in the last row of their table, which `norms(at=[T])` gives."""
NORM_BAR = {"float64": 1e-11, "float32": 2e-4}
SPECTRUM_BAR = {"float64": 1e-8, "float32": 0.3}
ALL_CERTIFIED = {"float64": 2000, "float32": 500}
"""Up to this length every norm and every value must be certified."""


def run() -> tuple[str, list[str]]:
    """One row a network, dtype and length, and the bars that are broken."""
    rows, broken = [], []
    chains = {
        (n, gain, dtype): step_jacobians(n, gain).astype(dtype)
        for n, gain, dtype in itertools.product(reversed(SIZES), GAINS, NORM_BAR)
    }
    with pool() as workers:
        truths = {}
        for key, js in chains.items():
            for T in LENGTHS:
                truths[key, T] = workers.submit(exact, js[:T], [(T, k) for k in _starts(T)])
        for key, js in chains.items():
            for T in LENGTHS:
                at = None if T <= TABLE_UP_TO else (T,)
                norms = jax.tree.map(np.asarray, _norms(js[:T], at=at))
                row, failed = _compare(key, T, norms, _spectrum(js[:T]), *truths[key, T].result())
                rows.append(row)
                broken += failed
    header = (
        "n, gain, dtype",
        "T",
        "σ₁",
        "σₙ",
        "max Δ norms",
        "pairs certified",
        "max Δ spectrum",
        "certified",
    )
    return f"Gains as W = gain · N(0, 1/n); σ and Δ in decades.\n\n{table(header, rows)}", broken


_norms = jax.jit(jr.jacobians.norms, static_argnames="at")
_spectrum = jax.jit(jr.jacobians.spectrum)


def step_jacobians(n: int, gain: float) -> np.ndarray:
    """[2000, n, n] in float64: h_t = tanh(W h_tm1 + U x_t), Gaussian weights and white input."""
    keys = jax.random.split(jax.random.key(n), 4)
    cell = jr.cells.elman(n, n)
    params = {
        "W_hh": gain / np.sqrt(n) * jax.random.normal(keys[0], (n, n)),
        "W_hx": jax.random.normal(keys[1], (n, n)) / np.sqrt(n),
        "b_h": jnp.zeros(n),
    }
    xs = jax.random.normal(keys[2], (LENGTHS[-1], n))
    trajectory = jr.unroll(cell.step, params, jax.random.normal(keys[3], (n,)), xs)
    return np.asarray(jr.jacobians.step_jacobians(cell.step, params, trajectory))


def _starts(T):
    """The k of ∂h_T/∂h_k that are compared: the start, the middle, the last 200 steps and the last."""
    return sorted({0, T // 2, max(T - 200, 0), T - 1})


def _compare(key, T, norms, spectrum, log_sigma, log_norms):
    n, gain, dtype = key
    norm_error = difference(norms.log_norm[-1, _starts(T)], np.array(log_norms)).max() / LN10
    # Pairs k > t count as certified in every table.
    missing = T * (T + 1) / 2 if len(norms.certified) > 1 else 0
    pairs_certified = 1 - np.sum(~norms.certified) / (norms.certified.size - missing)
    error = difference(spectrum.log_sigma, log_sigma).max() / LN10
    certified = np.mean(np.asarray(spectrum.certified))
    name = f"n = {n}, gain {gain}, {dtype}"
    sizes = (f"1e{log_sigma[0] / LN10:.1f}", f"1e{log_sigma[-1] / LN10:.1f}")
    measured = (f"{norm_error:.1e}", f"{pairs_certified:.4f}", f"{error:.1e}", f"{certified:.3f}")
    broken = [
        f"{name}, T = {T}: {what}"
        for what, fails in (
            (f"norms off by {norm_error:.1e} decades", norm_error > NORM_BAR[dtype]),
            (f"spectrum off by {error:.1e} decades", error > SPECTRUM_BAR[dtype]),
            (f"{pairs_certified:.4f} of pairs certified", T <= ALL_CERTIFIED[dtype] and pairs_certified < 1),
            (f"{certified:.3f} of the spectrum certified", T <= ALL_CERTIFIED[dtype] and certified < 1),
        )
        if fails
    ]
    return (name, str(T), *sizes, *measured), broken
