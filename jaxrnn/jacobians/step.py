"""Step Jacobians J_t = ∂h_t/∂h_{t-1} along a trajectory, E11."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import ravel, state_step
from jaxrnn.types import Params, StepFn, Trajectory

__all__ = ["step_jacobians"]


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
    Forward mode (`jax.jacfwd`), all steps at once: n tangents a step in time, T·n² in memory.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from jaxrnn.recurrence import unroll
    >>> linear = lambda w, h, x: (w * h + x, h)
    >>> traj = unroll(linear, 0.5, jnp.zeros(1), jnp.ones((2, 1)))
    >>> step_jacobians(linear, 0.5, traj).ravel()
    Array([0.5, 0.5], dtype=float32)
    """
    _checks.trajectory("jacobians.step_jacobians", trajectory)
    jacobian = jax.jacfwd(state_step(step, params, trajectory.h_0))
    return jax.vmap(lambda h_tm1, x_t: jacobian(ravel(h_tm1), x_t))(trajectory.h_tm1s, trajectory.xs)
