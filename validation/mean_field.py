"""Chaotic networks h = W tanh(h) against mean-field theory, which holds for n to infinity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as jr
from validation.harness import table

TITLE = "Mean-field exponents"
GAINS = (1.2, 1.5, 2.0, 3.0, 5.0)
NETWORKS = {1000: 8, 4000: 2}
"""Number of units -> number of networks for every gain."""
WARM_UP, COUNTED = 500, 2000
BAR = 0.02
"""For the mean at every gain and size. Towards the critical gain 1 it takes more units than 1000."""
AGAIN = 1000
"""Up to so many units by NumPy as well, in double precision."""


def run() -> tuple[str, list[str]]:
    """One row a gain and size, and the bars that are broken."""
    rows, broken = [], []
    for g in GAINS:
        theory = exponent(g)
        for n, count in NETWORKS.items():
            found = np.array([float(leading_rate(*network(g, n, seed))) for seed in range(count)])
            again = [by_numpy(g, n, seed) for seed in range(count)] if n <= AGAIN else []
            off = found.mean() / theory - 1
            error = found.std(ddof=1) / np.sqrt(count)
            rows.append(
                (
                    f"{g:g}, {n}",
                    str(count),
                    f"{theory:.4f}",
                    f"{found.mean():.4f} ± {error:.4f}",
                    f"{np.mean(again):.4f}" if again else "",
                    f"{off:+.1%}",
                )
            )
            if abs(off) > BAR:
                broken.append(f"g = {g:g}, n = {n}: {off:+.1%}")
    header = ("g, n", "networks", "theory", "mean λ₁ (nats a step)", "NumPy", "deviation")
    return (
        f"W = g · N(0, 1/n), float32, {COUNTED} steps counted; ± is the standard error of the mean. "
        "NumPy: of the same networks, in float64, by the growth of one tangent vector. "
        f"All are to be within {BAR:.0%}.\n\n{table(header, rows)}",
        broken,
    )


def exponent(g: float) -> float:
    """λ₁ = ½ ln(g² E[(1 - tanh²(√q z))²]) at the fixed point q = g² E[tanh²(√q z)], z standard normal."""
    z = np.linspace(-12, 12, 4001)
    weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    q = g**2
    for _ in range(1000):
        q = g**2 * weights @ np.tanh(np.sqrt(q) * z) ** 2
    return 0.5 * np.log(g**2 * weights @ (1 - np.tanh(np.sqrt(q) * z) ** 2) ** 2)


def network(g, n, seed):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n)).astype(np.float32) * np.float32(g / np.sqrt(n))
    return jnp.asarray(W), jnp.asarray(rng.normal(size=n), jnp.float32)


def _step(W, h, x):
    del x
    return jnp.tanh(W @ h), ()


@jax.jit
def leading_rate(W, h_0):
    trajectory = jr.unroll(_step, W, h_0, None, length=WARM_UP + COUNTED)
    return jr.jacobians.leading_growth_rates(_step, W, trajectory, k=1, warm_up=WARM_UP).rates[0]


def by_numpy(g, n, seed):
    """λ₁ without jaxrnn and JAX."""
    W, h = (np.asarray(array, np.float64) for array in network(g, n, seed))
    tangent, logs = np.random.default_rng(seed).normal(size=n), []
    for _ in range(WARM_UP + COUNTED):
        h = np.tanh(W @ h)
        tangent = (1 - h**2) * (W @ tangent)
        logs.append(np.log(np.linalg.norm(tangent)))
        tangent /= np.exp(logs[-1])
    return np.mean(logs[WARM_UP:])
