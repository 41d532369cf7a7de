"""Networks, batches and chains that several rows share; all from seed 0."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as jr

norms = jax.jit(jr.jacobians.norms, static_argnames=("at", "lags"))
spectrum = jax.jit(jr.jacobians.spectrum)
growth_rates = jax.jit(jr.jacobians.growth_rates, static_argnames=("k", "warm_up"))

D, H = 3, 5
CELLS = {
    "tanh": jr.cells.stack(jr.cells.elman(D, H), jr.cells.dense(H, 2)),
    "LSTM": jr.cells.stack(jr.cells.lstm(D, H), jr.cells.dense(H, 2)),
    "GRU": jr.cells.stack(jr.cells.gru(D, H), jr.cells.dense(H, 2)),
}


def params_of(cell: jr.Cell, seed: int = 0) -> Any:
    """In float64, with noise in every leaf, so that no bias is zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf + 0.2 * rng.normal(size=leaf.shape)), cell.init(jax.random.key(seed))
    )


def problem(cell: jr.Cell, B: int = 3, T: int = 12, seed: int = 0) -> tuple[Any, Any, jr.Batch]:
    """(params, h_0 [B, ...], a Batch of two real targets a step)."""
    rng, params = np.random.default_rng(seed + 1), params_of(cell, seed)
    h_0 = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), cell.initial_states(params, B)
    )
    xs, targets = (jnp.asarray(rng.normal(size=(B, T, size))) for size in (D, 2))
    return params, h_0, jr.Batch(xs, targets)


def estimate(make: Any, cell: jr.Cell, args: Any, **options: Any) -> Any:
    """(loss, gradient) by an estimator under the squared error."""
    estimator = make(cell.step, jr.losses.squared_error, **options)
    params, h_0, batch = args

    def run(params, h_0, batch):
        return estimator.estimate(params, estimator.init(params, h_0), batch, jax.random.key(0))[0]

    return jax.jit(run)(params, h_0, batch)


@partial(jax.jit, static_argnums=0)
def chain(cell: jr.Cell, params: Any, h_0: Any, xs: Any) -> tuple[jr.Trajectory, jax.Array]:
    """(trajectory, step Jacobians) of one sequence."""
    trajectory = jr.unroll(cell.step, params, h_0, xs)
    return trajectory, jr.jacobians.step_jacobians(cell.step, params, trajectory)


@partial(jax.jit, static_argnums=(0, 3, 4))
def product_of(cell: jr.Cell, params: Any, trajectory: jr.Trajectory, t: int, k: int) -> jax.Array:
    """∂h_t/∂h_k by the definition."""
    return jr.jacobians.product(cell.step, params, trajectory, t, k)


def chain_of(cell: jr.Cell, T: int, seed: int = 0) -> tuple[Any, jr.Trajectory, jax.Array]:
    """(params, trajectory, step Jacobians) of the first sequence of `problem`."""
    params, h_0, batch = problem(cell, 1, T, seed)
    h_0, xs = jax.tree.map(lambda leaf: leaf[0], (h_0, batch.xs))
    return params, *chain(cell, params, h_0, xs)


def constant(matrix: Any, T: int, dtype: str = "float64") -> jax.Array:
    """The same step T times."""
    matrix = np.atleast_2d(matrix)
    return jnp.asarray(np.broadcast_to(matrix, (T, *matrix.shape)), dtype)


def rates_of_map(step: Any, start: Any, T: int, warm_up: int = 0) -> jr.jacobians.GrowthRates:
    """All growth rates of h ← step(h) from `start`."""

    def run(h_0):
        trajectory = jr.unroll(step, (), h_0, None, length=T)
        js = jr.jacobians.step_jacobians(step, (), trajectory)
        return jr.jacobians.growth_rates(js, warm_up=warm_up)

    return jax.tree.map(np.asarray, jax.jit(run)(jnp.asarray(start)))
