"""The recurrence: one step function, scanned over time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn import _checks
from jaxrnn.types import Params, State, StepFn, Trajectory

__all__ = ["unroll"]


def unroll(step: StepFn, params: Params, h_0: State, xs: PyTree, *, length: int | None = None) -> Trajectory:
    """Run ``h_t, y_t = step(params, h_{t-1}, x_t)`` for t = 1..T (E1, general form).

    Parameters
    ----------
    step : the recurrence of one sequence.
    params : its parameters, a pytree of floating arrays.
    h_0 : the state before the first input, any pytree of floating arrays.
    xs : inputs, leaves [T, ...]; any pytree, also of tokens or PRNG keys.
    length : T, needed only where `xs` has no leaves (an autonomous map, ``xs=None``).

    Returns
    -------
    Trajectory
        ``(h_0, hs [T, ...], ys [T, ...], xs)``; row i belongs to t = i + 1.

    Raises
    ------
    TypeError
        If the state has a non-floating leaf, or a step changes its dtype or structure.
    ValueError
        If a step changes the shape of a state leaf, or T is unknown or ambiguous.

    Notes
    -----
    Cost: T steps in time; memory T states and outputs. Use `jax.vmap` over a batch.

    Example
    -------
    >>> traj = unroll(lambda w, h, x: (w * h + x, h), 0.5, jnp.array(0.0), jnp.ones(3))
    >>> traj.hs
    Array([1.  , 1.5 , 1.75], dtype=float32)
    """
    found = _checks.leading_axis("unroll", "xs", xs)
    if length is not None:
        length = _checks.at_least("unroll", "length", length, 0)
    if found is None and length is None:
        raise ValueError("unroll: xs has no arrays, so T is unknown; give length=T.")
    if None not in (found, length) and found != length:
        raise ValueError(f"unroll: length is {length} but xs has T = {found} steps.")
    h_0 = jax.tree.map(jnp.asarray, h_0)
    x_t = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x)[1:], x.dtype), xs)
    _checks.step_keeps_state("unroll", step, params, h_0, x_t)

    def body(h_tm1, x_t):
        h_t, y_t = step(params, h_tm1, x_t)
        return h_t, (h_t, y_t)

    _, (hs, ys) = lax.scan(body, h_0, xs, length=length)
    return Trajectory(h_0, hs, ys, xs)
