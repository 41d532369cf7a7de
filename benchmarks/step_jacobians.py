"""All step Jacobians of a trajectory: `step_jacobians` against `vmap(jacrev)` and the formula of E11."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import jaxrnn as jr
from benchmarks.harness import Case, Report, measure

TITLE = "Step Jacobians J_1 ... J_T"
T, N = 100, 128


def run() -> Report:
    """Tables for the Elman cell and the GRU, T = 100, n = 128."""
    cells = {"elman": jr.cells.elman, "gru": jr.cells.gru}
    return Report([(f"{name}, T = {T}, n = {N}", _of_cell(name, make)) for name, make in cells.items()])


def _of_cell(name, make):
    cell = make(16, N)
    key_params, key_x = jax.random.split(jax.random.key(0))
    params = cell.init(key_params)
    xs = jax.random.normal(key_x, (T, 16))
    trajectory = jr.unroll(cell.step, params, cell.init_state(params), xs)

    def by_jacrev(params, trajectory):
        jacobian = jax.jacrev(lambda h, x: cell.step(params, h, x)[0])
        return jax.vmap(jacobian)(trajectory.h_tm1s, trajectory.xs)

    def by_library(params, trajectory):
        return jr.jacobians.step_jacobians(cell.step, params, trajectory)

    def by_formula(params, trajectory):
        return (1 - trajectory.hs**2)[:, :, None] * params["W_hh"]

    functions = {"plain JAX: vmap(jacrev)": by_jacrev, "jacobians.step_jacobians": by_library}
    if name == "elman":
        functions["formula diag(1 - h²) W_hh"] = by_formula
    timings = measure([Case(name, function, (params, trajectory)) for name, function in functions.items()])
    reference = by_jacrev(params, trajectory)
    for function in functions.values():
        assert jnp.allclose(function(params, trajectory), reference, atol=1e-5)
    return timings
