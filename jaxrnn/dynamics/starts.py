"""From where to look for fixed points."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Key, State

__all__ = ["states_along"]


@_checks.signature("dynamics.states_along")
def states_along(hs: State, *, count: int, noise: float, key: Key) -> State:
    """States that a network visits, drawn at random, with Gaussian noise: starts for `fixed_points`.

    Parameters
    ----------
    hs : visited states, leaves [N, ...]; of a batch of trajectories, [B, T, ...] made [B·T, ...].
    count : how many to draw, with replacement.
    noise : standard deviation of what is added to every entry, relative to the standard deviation of that
        entry over the visited states.
    key : a JAX random key.

    Returns
    -------
    Leaves [count, ...].

    Raises
    ------
    ValueError
        If there is no state, count < 1 or noise < 0.

    Example
    -------
    >>> states_along(jnp.zeros((5, 3)), count=2, noise=0.1, key=jax.random.key(0)).shape
    (2, 3)
    """
    count = _checks.at_least("dynamics.states_along", "count", count, 1)
    if not _checks.number("dynamics.states_along", "noise", noise) >= 0:
        raise ValueError(f"dynamics.states_along: noise is {noise}; expected a number that is not negative.")
    _checks.floating_leaves("dynamics.states_along", "hs", hs, "They are states [N, ...].")
    visited = _checks.leading_axis("dynamics.states_along", "hs", hs)
    if not visited:
        raise ValueError("dynamics.states_along: hs holds no state; expected leaves [N, ...] with N >= 1.")
    key_rows, *keys = jax.random.split(key, 1 + len(jax.tree.leaves(hs)))
    rows = jax.random.randint(key_rows, (count,), 0, visited)

    def drawn(leaf, key):
        leaf = jnp.asarray(leaf)
        spread = noise * jnp.std(leaf, axis=0, keepdims=True)
        return leaf[rows] + spread * jax.random.normal(key, (count, *leaf.shape[1:]), leaf.dtype)

    return jax.tree.map(drawn, hs, jax.tree.unflatten(jax.tree.structure(hs), keys))
