"""How far the linear approximation at a fixed point carries along a trajectory."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.dynamics._solve import norm
from jaxrnn.types import Params, State, StepFn, Trajectory

__all__ = ["LinearApproximation", "linear_approximation"]


@result_type
class LinearApproximation(NamedTuple):
    """What the linear map at a point makes of a trajectory's start and inputs, and how far that is off."""

    states: State
    """The linear map's h_1 ... h_T, leaves [T, ...]."""
    error: Float[Array, "*B T"]
    """‖its state less h_t‖₂."""
    distance: Float[Array, "*B T"]
    """‖h_t - point‖₂: where the error is not small beside it, the network has left the neighbourhood."""


@_checks.signature("dynamics.linear_approximation")
@where_it_lies
def linear_approximation(
    step: StepFn, params: Params, x: PyTree, point: State, trajectory: Trajectory
) -> LinearApproximation:
    """Follow ``δh_t = J δh_{t-1} + ∂F/∂x (x_t - x) + F(h*) - h*`` from h_0, beside the network's own states.

    Parameters
    ----------
    step, params, x : as for `fixed_points`; the input at which the network rests.
    point : one state h*, a fixed point or a slow one.
    trajectory : of `unroll`, of one sequence; its inputs may differ from x.

    Returns
    -------
    LinearApproximation
        The linear states, their error and the distance from the point, at each step.

    Raises
    ------
    TypeError, ValueError
        If the point is no state of that step, the trajectory's inputs are none of it, or x is not floating.

    Notes
    -----
    Time: one linearization, and T tangents of a step. For several trajectories, or points, `jax.vmap`.

    Example
    -------
    >>> from jaxrnn import unroll
    >>> step = lambda w, h, x: (jnp.tanh(w * h + x), h)
    >>> pushed = unroll(step, 0.5, jnp.zeros(1), jnp.array([0.2, 0.0, 0.0]))
    >>> linear_approximation(step, 0.5, 0.0, jnp.zeros(1), pushed).states[:, 0].round(3)
    Array([0.2 , 0.1 , 0.05], dtype=float32)

    Reference
    ---------
    Sussillo & Barak, Opening the black box, Neural Computation 2013.
    """
    name = "dynamics.linear_approximation"
    minus, plus = partial(jax.tree.map, jnp.subtract), partial(jax.tree.map, jnp.add)
    length = _checks.trajectory(name, trajectory)
    point, x = (jax.tree.map(jnp.asarray, tree) for tree in (point, x))
    _checks.floating_leaves(name, "x", x, "Between symbols there is no linear map.")
    _checks.same_kind(name, "point", point, "trajectory.h_0", trajectory.h_0)
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), trajectory.xs)
    _checks.same_kind(name, "x", x, "a step of trajectory.xs", first)
    _checks.step_keeps_state(name, step, params, point, x)
    at_point, move = jax.linearize(lambda h, x: step(params, h, x)[0], point, x)

    drift = minus(at_point, point)

    def advance(d, x_t):
        d = plus(move(d, minus(x_t, x)), drift)
        return d, d

    _, moved = lax.scan(advance, minus(trajectory.h_0, point), trajectory.xs, length=length)
    really = jax.vmap(minus, (0, None))(trajectory.hs, point)
    return LinearApproximation(
        jax.vmap(plus, (0, None))(moved, point), _norms(minus(moved, really)), _norms(really)
    )


def _norms(states):
    return norm(jax.vmap(ravel)(states))
