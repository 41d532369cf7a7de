"""The product ∂h_t/∂h_k by its definition, E12: the reference that faster ways are held against."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import ravel, state_step
from jaxrnn._sharding import where_it_lies
from jaxrnn.recurrence import unroll
from jaxrnn.types import Params, StepFn, Trajectory

__all__ = ["product"]


@_checks.signature("jacobians.product")
@where_it_lies
def product(step: StepFn, params: Params, trajectory: Trajectory, t: int, k: int) -> Float[Array, "n n"]:
    """``∂h_t/∂h_k = J_t J_{t-1} ... J_{k+1}`` by `jax.jacrev` through the segment k..t (E12).

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    trajectory : of `unroll`.
    t, k : Python integers, 0 <= k <= t <= T; ``t == k`` gives the identity.

    Returns
    -------
    [n, n], output rows and input columns, of the raveled state.

    Raises
    ------
    IndexError
        If t or k lies outside 0..T (JAX itself would clamp silently).
    ValueError
        If k > t.

    Notes
    -----
    Cost: n reverse sweeps over t-k steps. The entries over- and underflow as any raw product does;
    `norms` and `spectrum` do not.

    Example
    -------
    >>> linear = lambda w, h, x: (w * h + x, h)
    >>> traj = unroll(linear, 0.5, jnp.zeros(1), jnp.ones((3, 1)))
    >>> product(linear, 0.5, traj, t=3, k=1)
    Array([[0.25]], dtype=float32)
    """
    length = _checks.trajectory("jacobians.product", trajectory)
    t, k = _checks.pair("jacobians.product", t, k, length)
    h_k = jax.tree.map(lambda leaf: leaf[k], trajectory.h_tm1s) if k < length else trajectory.h_0
    flat_step = state_step(step, params, h_k)
    xs = jax.tree.map(lambda x: x[k:t], trajectory.xs)

    def last_state(flat_h_k):
        hs = unroll(lambda _, h, x: (flat_step(h, x), ()), (), flat_h_k, xs, length=t - k).hs
        return jnp.concatenate([flat_h_k[None], hs])[-1]

    return jax.jacrev(last_state)(ravel(h_k))
