"""Pytrees as vectors: ravel, label, dot, norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

__all__ = ["after", "is_key", "leaf_paths", "ravel", "state_step", "tree_dot", "tree_norm", "widest"]


def after(tree: PyTree, done: PyTree) -> PyTree:
    """The floating tree itself, which cannot be read before `done`, of floating leaves, is there.

    Two batched LAPACK calls that do not depend on each other may run at the same time on the CPU, each waits
    for the same threads, and on a machine with two of them that is for ever (jaxlib 0.10, a wait inside of
    `ParallelBatchMap`). A barrier does not help, since the compiler removes it first; so a zero is added that
    only the run shows to be one.
    """
    zero = jnp.zeros((), jnp.uint32)
    for leaf in jax.tree.leaves(done):
        unsigned = jnp.uint32 if leaf.dtype == jnp.float32 else jnp.uint64
        bits = lax.bitcast_convert_type(leaf.ravel()[:1], unsigned)
        zero |= jnp.sum(lax.population_count(bits)).astype(jnp.uint32) >> 7  # of at most 64
    return jax.tree.map(lambda leaf: leaf + zero.astype(leaf.dtype), tree)


def is_key(leaf) -> bool:
    """Whether the leaf is an array of JAX's typed keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def ravel(tree: PyTree) -> Float[Array, " n"]:
    """All leaves as one vector, in `jax.tree.leaves` order."""
    return ravel_pytree(tree)[0]


def leaf_paths(tree: PyTree) -> list[str]:
    """The path of every leaf, such as ``0.W_hh`` or ``h``, in `jax.tree.leaves` order."""
    return [
        jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree.leaves_with_path(tree)
    ]


def state_step(step, params, h):
    """`step` as a function of the raveled state alone: (flat h_tm1, x_t) -> flat h_t."""
    _, unravel = ravel_pytree(h)

    def flat_step(flat_h_tm1, x_t):
        h_t, _ = step(params, unravel(flat_h_tm1), x_t)
        return ravel(h_t)

    return flat_step


def tree_dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Σ a·b over all leaves."""
    return jnp.asarray(sum(jax.tree.leaves(jax.tree.map(jnp.vdot, a, b)), start=0.0))


def tree_norm(tree: PyTree) -> Float[Array, ""]:
    """The Euclidean norm over all leaves, scaled so that no square over- or underflows."""
    largest = jnp.asarray([jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(tree)])
    scale = jnp.max(largest, initial=0.0)
    divisor = jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1)
    scaled = jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype), tree)
    return divisor * jnp.sqrt(tree_dot(scaled, scaled))


def widest(*dtypes):
    """The widest of these floating dtypes, and float32 at least."""
    return max(
        (jnp.dtype(dtype) for dtype in (jnp.float32, *dtypes)), key=lambda dtype: jnp.finfo(dtype).bits
    )
