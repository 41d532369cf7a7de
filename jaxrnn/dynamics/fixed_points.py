"""Where a network with a constant input rests: fixed points, and points where it is slow."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import ravel, state_step
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.dynamics._descent import gradient_descent, least_squares
from jaxrnn.dynamics._solve import norm
from jaxrnn.types import Params, State, StepFn

__all__ = ["FixedPoints", "fixed_points"]

_TOGETHER = 32
# Starts that are followed at once: all wait for the slowest of them, and their Jacobians lie in memory.


@result_type
class FixedPoints(NamedTuple):
    """Where each of S starts ended, and which of these ends are points."""

    states: State
    """Leaves [S, ...]; NaN where not `finite`. An end is a point only where `point` says so."""
    residual: Float[Array, "*B S"]
    """‖F(h) - h‖₂ there: how far one step moves the state."""
    iterations: Int[Array, "*B S"]
    """Steps of the solver."""
    converged: Bool[Array, "*B S"]
    """Whether the residual is rounding: a fixed point."""
    slow: Bool[Array, "*B S"]
    """Whether it is not, and q is below the threshold: a slow point."""
    outlier: Bool[Array, "*B S"]
    """Whether the end lies so far from the starts that it is discarded."""
    finite: Bool[Array, "*B S"]
    """False where the start, or every step from it, was not finite."""
    point: Int[Array, "*B S"]
    """Which end stands for the point that this one is: its own number for one end of each; -1 for none."""

    @property
    def q(self) -> Float[Array, "*B S"]:
        """½‖F(h) - h‖², the speed whose minima these are."""
        return self.residual**2 / 2

    @property
    def distinct(self) -> Bool[Array, "*B S"]:
        """One end of each point."""
        return self.point == lax.broadcasted_iota(self.point.dtype, self.point.shape, self.point.ndim - 1)

    def of_kind(self, kind: str = "fixed") -> State:
        """The distinct points as states, leaves [P, ...]; of one search, outside of jit.

        Parameters
        ----------
        kind : ``"fixed"`` or ``"slow"``.
        """
        _checks.choice("FixedPoints.of_kind", "kind", kind, ("fixed", "slow"))
        if self.point.ndim != 1:
            raise ValueError(
                f"FixedPoints.of_kind: point has shape {self.point.shape}; expected [S]. Take one search of "
                "the batch first: jax.tree.map(lambda leaf: leaf[i], found)."
            )
        chosen = np.asarray(self.distinct & (self.converged if kind == "fixed" else self.slow))
        return jax.tree.map(lambda leaf: leaf[chosen], self.states)


@_checks.signature("dynamics.fixed_points")
@where_it_lies
def fixed_points(
    step: StepFn,
    params: Params,
    x: PyTree,
    starts: State,
    *,
    iterations: int = 100,
    tolerance: float | None = None,
    slow: float = 0.0,
    merge: float = 1e-3,
    outlier: float = 10.0,
    optimizer: optax.GradientTransformation | None = None,
) -> FixedPoints:
    """States h with ``F(h) = h`` for ``F = step(params, ·, x)``, and slow ones, from many starts at once.

    Every start descends ``q(h) = ½‖F(h) - h‖²`` by the method of Levenberg and Marquardt, to a zero of q or
    another minimum. Ends closer to each other than `merge` are one point.

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    x : its input, held constant; None for an autonomous map. For several inputs, or the parameters of a
        whole training, `jax.vmap`.
    starts : states, leaves [S, ...], such as `states_along`.
    iterations : at most so many steps of the solver from each start.
    tolerance : the residual, relative to 1 + ‖h‖, below which an end is a fixed point; 100 eps by default.
    slow : the q below which another end is a slow point; by default none is.
    merge : the distance, in units of the state, within which two ends are one point.
    outlier : ends further from the mean start than so many times the furthest start, or 1, are discarded.
    optimizer : descend by the gradient of q instead, with an optimizer of optax such as ``optax.lbfgs()``:
        for states too large for their Jacobians. It takes many more iterations.

    Returns
    -------
    FixedPoints
        Of every start; ``.of_kind("fixed")`` are the distinct points. What did not converge is in a field
        and never a point, and starts that hold NaN or inf are `finite=False`.

    Raises
    ------
    TypeError
        If the state has a non-floating leaf, or a step changes its dtype or structure.
    ValueError
        If a step changes the shape of a state leaf, there is no start, or an option is out of range.

    Notes
    -----
    Time: a Jacobian, n tangents of a step, and a Cholesky factorization of n³/3 for each start and iteration;
    usually 5 to 30. Memory: S states, and 32 Jacobians. With an optimizer: a gradient of a step for each, and
    no Jacobian. The damping falls with the residual, so that the end is approached quadratically, also on a
    line of fixed points (Fan & Yuan 2005). Where J has the eigenvalue 1 at an isolated point, at a
    bifurcation, it is approached linearly and known to fewer digits.

    Example
    -------
    >>> step = lambda w, h, x: (jnp.tanh(w * h + x), h)
    >>> found = fixed_points(step, 2.0, 0.0, jnp.linspace(-2, 2, 9))
    >>> jnp.sort(found.of_kind("fixed")).round(4)
    Array([-0.9575,  0.    ,  0.9575], dtype=float32)

    Reference
    ---------
    Sussillo & Barak, Opening the black box, Neural Computation 2013; Golub & Sussillo 2018.
    """
    name = "dynamics.fixed_points"
    iterations = _checks.at_least(name, "iterations", iterations, 1)
    for option, value in (("slow", slow), ("merge", merge), ("outlier", outlier), ("tolerance", tolerance)):
        if value is not None and _checks.number(name, option, value) < 0:
            raise ValueError(f"{name}: {option} is {value}; expected a number that is not negative.")
    if optimizer is not None:
        _checks.instance(name, "optimizer", optimizer, optax.GradientTransformation)
    if not _checks.leading_axis(name, "starts", starts):
        raise ValueError(f"{name}: starts holds no state; expected leaves [S, ...] with S >= 1.")
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], starts)
    _checks.step_keeps_state(name, step, params, one, x)
    flat_step = state_step(step, params, one)
    flat = jax.vmap(ravel)(starts)
    tolerance = 100 * float(jnp.finfo(flat.dtype).eps) if tolerance is None else tolerance

    def displacement(h):
        return flat_step(h, x) - h

    if optimizer is None:
        search = partial(least_squares, displacement, tolerance)
    else:
        search = partial(gradient_descent, displacement, tolerance, optimizer)
    ends, residual, used = lax.map(partial(search, iterations), flat, batch_size=_TOGETHER)
    finite = jnp.isfinite(residual)
    converged = finite & (residual <= tolerance * (1 + norm(ends)))
    is_slow = finite & ~converged & (residual**2 / 2 < slow)
    usable = jnp.all(jnp.isfinite(flat), axis=1)
    center = jnp.sum(jnp.where(usable[:, None], flat, 0), axis=0, keepdims=True)
    center = center / jnp.maximum(jnp.sum(usable), 1).astype(flat.dtype)
    radius = jnp.max(jnp.where(usable, norm(flat - center), 0))
    far = finite & (norm(ends - center) > outlier * jnp.maximum(radius, 1))
    point = _merged(ends, residual, [kind & ~far for kind in (converged, is_slow)], merge)
    states = jax.vmap(ravel_pytree(one)[1])(jnp.where(finite[:, None], ends, jnp.nan))
    return FixedPoints(states, residual, used, converged, is_slow, far, finite, point)


def _merged(ends, residual, kinds, distance):
    """Of each end the number of the one of the smallest residual that is the same point; -1 of no point."""

    def unfinished(state):
        return jnp.any(state[1])

    def next_point(state, same):
        point, left = state
        best = jnp.argmin(jnp.where(left, residual, jnp.inf))
        near = left & same & (norm(ends - ends[best][None]) <= distance)
        return jnp.where(near, best, point), left & ~near

    point = jnp.full(len(ends), -1)
    for kind in kinds:
        point, _ = lax.while_loop(unfinished, lambda state, kind=kind: next_point(state, kind), (point, kind))
    return point
