"""All products that end in the last state, ∂h_T/∂h_k for k = 0..T-1 (E12)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._sharding import where_it_lies
from jaxrnn._stages import block_size
from jaxrnn.jacobians.step import columns_of_steps
from jaxrnn.types import Params, StepFn, Trajectory

__all__ = ["last_products"]

_BLOCK_ENTRIES, _BLOCK_STEPS = 2**14, 64
# What a block may hold of step Jacobians: those of a large state are formed one by one, in the cache.


@_checks.signature("jacobians.last_products")
@where_it_lies
def last_products(step: StepFn, params: Params, trajectory: Trajectory) -> Float[Array, "T n n"]:
    """``out[k] = ∂h_T/∂h_k = J_T J_{T-1} ... J_{k+1}`` for every k = 0..T-1 (E12).

    What the last state has of every earlier one: multiplied by ``∂ℓ_T/∂h_T`` from the left, the terms of
    E10 before the immediate derivative.

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    trajectory : of `unroll`. Use `jax.vmap` over a batch of trajectories.

    Returns
    -------
    [T, n, n], output rows and input columns, of the raveled state, in its dtype.

    Raises
    ------
    ValueError
        If the trajectory is a batch, or the state has no entries.

    Notes
    -----
    Cost: the step Jacobians, block by block, and one product of n x n matrices a step; no memory but the
    result's T·n² and one block. The entries over- and underflow as any raw product does; `norms` and
    `spectrum` do not.

    Example
    -------
    >>> from jaxrnn.recurrence import unroll
    >>> linear = lambda w, h, x: (w * h + x, h)
    >>> traj = unroll(linear, 0.5, jnp.zeros(1), jnp.ones((3, 1)))
    >>> last_products(linear, 0.5, traj).ravel()
    Array([0.125, 0.25 , 0.5  ], dtype=float32)
    """
    length = _checks.trajectory("jacobians.last_products", trajectory)
    columns, rows = columns_of_steps(step, params, trajectory)
    h_0 = ravel(trajectory.h_0)
    size = max(1, block_size(length, h_0.size**2, _BLOCK_ENTRIES, _BLOCK_STEPS))
    n_blocks, rest = divmod(length, size)

    def times(P, columns_of_J_t):
        P = lax.dot_general(P, columns_of_J_t, (((1,), (1,)), ((), ())), precision="highest")
        return P, P

    def block(P, rows, size):
        return lax.scan(times, P, columns(rows, size), reverse=True)

    whole = [leaf[rest:].reshape(n_blocks, size, *leaf.shape[1:]) for leaf in rows]
    P, later = lax.scan(
        lambda P, rows: block(P, rows, size), jnp.eye(h_0.size, dtype=h_0.dtype), whole, reverse=True
    )
    later = later.reshape(n_blocks * size, *P.shape)
    if not rest:
        return later
    _, first = block(P, [leaf[:rest] for leaf in rows], rest)
    return jnp.concatenate([first, later])
