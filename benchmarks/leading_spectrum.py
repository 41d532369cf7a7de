"""The top 5 singular values over 100 steps without an n×n product, against the product and an SVD."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import jaxrnn as jr
from benchmarks import harness
from benchmarks.harness import Case, Report, measure

TITLE = "Leading spectrum of a large state"
T, TOP = 100, 5


def run() -> Report:
    """Tables for n = 256, where the whole spectrum is affordable, and for n = 4096."""
    panels = []
    for n, rounds in ((256, 7),) if harness.QUICK else ((256, 7), (4096, 2)):
        cell = jr.cells.elman(4, n, recurrent_init=jr.cells.initializers.orthogonal(1.0))
        params = cell.init(jax.random.key(0))
        trajectory = jr.unroll(
            cell.step, params, cell.init_state(params), jax.random.normal(jax.random.key(1), (T, 4))
        )

        def leading(params, trajectory, cell=cell):
            return jr.jacobians.leading_spectrum(cell.step, params, trajectory, top=TOP).log_sigma

        def whole(params, trajectory, cell=cell):
            P = jr.jacobians.product(cell.step, params, trajectory, T, 0)
            return jnp.linalg.svd(P, compute_uv=False)[:TOP]

        cases = [Case("jacobians.leading_spectrum", leading, (params, trajectory))]
        if n <= 256:
            cases.append(Case("jacobians.product and an SVD", whole, (params, trajectory)))
        panels.append((f"n = {n}, T = {T}, top {TOP}", measure(cases, rounds=rounds)))
    return Report(panels)
