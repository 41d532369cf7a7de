"""Pytrees as vectors: ravel, label, dot, norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

__all__ = ["leaf_paths", "ravel", "state_step", "tree_dot", "tree_norm"]


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
