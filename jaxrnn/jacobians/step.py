"""Step Jacobians J_t = ∂h_t/∂h_{t-1} along a trajectory, E11."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._stages import Staged
from jaxrnn.types import Params, StepFn, Trajectory

__all__ = ["columns_of_steps", "step_jacobians"]


@_checks.signature("jacobians.step_jacobians")
def step_jacobians(step: StepFn, params: Params, trajectory: Trajectory) -> Float[Array, "T n n"]:
    """``js[i] = ∂h_{i+1}/∂h_i`` of the raveled state, for every step of one sequence (E11).

    Rows are outputs, columns inputs: ``js[t-1][a, b] = ∂h_t[a]/∂h_{t-1}[b]``. For the Elman cell this
    is ``diag(φ'(z_t)) W_hh``; for the LSTM the state is (h, c) and n = 2H.

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    trajectory : of `unroll`. Use `jax.vmap` over a batch of trajectories.

    Returns
    -------
    [T, n, n], in the state's dtype.

    Raises
    ------
    ValueError
        If the trajectory is a batch, or the state has no entries.

    Notes
    -----
    Forward mode, all steps and unit vectors at once, T·n² in memory. What the step does to the state first
    is done once for all steps: where that is a product with a weight matrix, it is the matrix itself, and
    J_t takes no product but for the layers above. Otherwise n tangents a step in time.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from jaxrnn.recurrence import unroll
    >>> linear = lambda w, h, x: (w * h + x, h)
    >>> traj = unroll(linear, 0.5, jnp.zeros(1), jnp.ones((2, 1)))
    >>> step_jacobians(linear, 0.5, traj).ravel()
    Array([0.5, 0.5], dtype=float32)
    """
    length = _checks.trajectory("jacobians.step_jacobians", trajectory)
    columns, rows = columns_of_steps(step, params, trajectory)
    return jnp.swapaxes(columns(rows, length), 1, 2)


def columns_of_steps(step: StepFn, params: Params, trajectory: Trajectory) -> tuple[Callable, list]:
    """``(rows, length) -> [length, n, n]``, J_tᵀ for some steps of the trajectory, and the rows of all."""
    h_0, state_tree = jax.tree.flatten(trajectory.h_0)
    fixed, params_tree = jax.tree.flatten(params)
    rows, rows_tree = jax.tree.flatten((trajectory.h_tm1s, trajectory.xs))

    def tangent_step(fixed, row, dh_tm1):
        h_tm1, x_t = jax.tree.unflatten(rows_tree, row)

        def state(*h_tm1):
            h_t, _ = step(jax.tree.unflatten(params_tree, fixed), jax.tree.unflatten(state_tree, h_tm1), x_t)
            return jax.tree.leaves(h_t)

        return jax.jvp(state, jax.tree.leaves(h_tm1), dh_tm1)[1], []

    row = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in rows]
    tangent = Staged(tangent_step, fixed, row, h_0)
    prepared = tangent.prepare(fixed)

    def columns(rows, length):
        return jax.vmap(jax.vmap(ravel))(tangent.columns(prepared, rows, length))

    return columns, rows
