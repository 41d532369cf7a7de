"""Follow a fixed point along a parameter, around folds, and find where it bifurcates."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

from jaxrnn import _checks
from jaxrnn.dynamics._along import step_along
from jaxrnn.dynamics._curve import Curve
from jaxrnn.dynamics._solve import norm
from jaxrnn.dynamics.branch import Branch
from jaxrnn.jacobians import eigenvalues
from jaxrnn.types import Params, State, StepFn

__all__ = ["continuation"]


@_checks.signature("dynamics.continuation")
def continuation(
    step: StepFn,
    at: Callable[..., tuple[Params, PyTree]],
    state: State,
    *,
    along: tuple[float, float],
    points: int = 400,
    longest: float = 0.02,
    tolerance: float | None = None,
) -> Branch:
    """Follow a fixed point of ``F(h, s) = step(*at(s), ·)`` from s = along[0] towards along[1].

    The branch is followed by its arclength, so that it may turn back in s at a fold, until it leaves the
    range. Between two points at which another number of eigenvalues of J = ∂F/∂h lie outside of the unit
    circle, or s turns, the bifurcation is located: there the gradient along the trajectory neither decays
    nor grows, and a small change of s sends it elsewhere.

    Parameters
    ----------
    step : the recurrence of one sequence, ``step(params, h, x)``.
    at : s -> (params, x): what the parameter changes, a gain, a bias, an input.
    state : a fixed point at along[0], or near one, such as one of ``fixed_points(...).of_kind("fixed")``.
    along : where s starts and where it leads.
    points : how many there may be, at most.
    longest : the longest step between two points, relative to 1 + the root mean square of the state, to which
        s counts as a fraction of its range; smaller steps are chosen where the branch bends.
    tolerance : the residual, relative to 1 + ‖h‖, of a point; 100 eps by default.

    Returns
    -------
    Branch
        With `.bifurcations`: fold, transcritical (the exchange of stability with another branch), pitchfork,
        flip (at -1: the period doubles) and Neimark-Sacker (a complex pair: a closed curve).

    Raises
    ------
    TypeError, ValueError
        If `state` is no state of that step, `along` are not two different numbers, or an option is out of
        range.

    Notes
    -----
    Time: for each point a few corrections of a Jacobian and (n+1)³/3, and its eigenvalues, about 10 n³; for
    each bifurcation as much for every secant that locates it. One between two points is found; choose a
    shorter `longest` where several may be. `jax.jit` and `jax.vmap` work over all that `at`, `state` and
    `step` close over.

    Example
    -------
    >>> step = lambda w, h, x: (jnp.tanh(w * h), h)
    >>> branch = continuation(step, lambda w: (w, None), jnp.zeros(1), along=(0.5, 1.5))
    >>> [(found.kind, round(found.value, 5)) for found in branch.bifurcations]
    [('pitchfork', 1.0)]

    Reference
    ---------
    Allgower & Georg, Introduction to Numerical Continuation Methods, 1990; Doya, Bifurcations in the learning
    of recurrent neural networks, 1992; Pascanu, Mikolov & Bengio 2013.
    """
    name = "dynamics.continuation"
    points = _checks.at_least(name, "points", points, 2)
    for option, value in (("longest", longest), ("tolerance", tolerance)):
        if value is not None and not _checks.number(name, option, value) > 0:
            raise ValueError(f"{name}: {option} is {value}; expected a positive number.")
    first, last = _range(name, along)
    flat, unravel, displaced = step_along(name, step, at, state, first)
    scale = math.sqrt(flat.size)

    def displacement(y):
        """(F(h) - h)/√n of the point y = (h/√n, (s - first)/(last - first))."""
        h = scale * y[:-1]
        return (displaced(h, first + (last - first) * y[-1]) - h) / scale

    tolerance = 100 * float(jnp.finfo(flat.dtype).eps) if tolerance is None else tolerance
    curve = Curve(displacement, tolerance)
    ys, tangents, reached, complete = curve.follow(jnp.append(flat / scale, 0), points, longest)
    ys, tangents = (jnp.where(reached[:, None], array, jnp.nan) for array in (ys, tangents))
    slopes, r = lax.map(curve.slopes, ys)
    values = eigenvalues(slopes[:, :, :-1] + jnp.eye(flat.size, dtype=flat.dtype)[None]).values
    found = ys, tangents, values
    pairs = tuple(tuple(array[part] for array in found) for part in (slice(-1), slice(1, None)))
    # After the last point nothing happens.
    kind, crossings, crossing_values = jax.tree.map(
        lambda found, nothing: jnp.append(found, jnp.full_like(found[:1], nothing), axis=0),
        lax.map(lambda pair: curve.crossing(*pair), pairs),
        (0, jnp.nan, jnp.nan),
    )

    def on_axis(ys):
        return first + (last - first) * ys[:, -1]

    def states(ys):
        return jax.vmap(unravel)(scale * ys[:, :-1])

    return Branch(
        on_axis(ys),
        states(ys),
        values,
        scale * norm(r),
        reached,
        complete,
        kind,
        on_axis(crossings),
        states(crossings),
        crossing_values,
    )


def _range(name, along):
    """(first, last) as numbers that differ."""
    try:
        first, last = along
    except (TypeError, ValueError):
        raise TypeError(f"{name}: along is {along!r}; expected two numbers.") from None
    first, last = _checks.number(name, "along", first), _checks.number(name, "along", last)
    if not (np.isfinite(first) and np.isfinite(last) and first != last):
        raise ValueError(f"{name}: along is {along!r}; expected two different, finite numbers.")
    return first, last
