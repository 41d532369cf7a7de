"""Connections that leap over steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Cell

__all__ = ["skip"]


@_checks.signature("skip")
def skip(cell: Cell, steps: int, *, share: float = 0.5) -> Cell:
    """Let a cell read a state of several steps ago, ``h_t = f(x_t, (1-a) h_{t-1} + a h_{t-s})`` (E20).

    From h_k to h_t there is now a path of (t-k)/s steps instead of t-k, along which the gradient shrinks or
    grows by that many factors only; a = 1 leaves no other path.

    Parameters
    ----------
    cell : any cell; parameters, inputs and outputs stay its own.
    steps : s; 1 is the cell itself.
    share : a, from 0 (the cell itself) to 1 (a dilated recurrence: s chains that take turns).

    Returns
    -------
    Cell
        Its state has the cell's leaves with a leading axis [s], the newest first, so that the Jacobian of a
        step is [s·n, s·n]; h_0, h_{-1}, ... all are ``init_state``.

    Raises
    ------
    ValueError
        If steps < 1 or share is not within 0..1.

    Example
    -------
    >>> from jaxrnn.cells import elman
    >>> cell = skip(elman(3, 4), 5)
    >>> cell.init_state(cell.init(jax.random.key(0))).shape
    (5, 4)

    Reference
    ---------
    Lin et al., Learning long-term dependencies in NARX recurrent neural networks, 1996; Chang et al.,
    Dilated recurrent neural networks, 2017 (a = 1).
    """
    s = _checks.at_least("skip", "steps", steps, 1)
    a = _checks.fraction("skip", "share", share)

    def init_state(params):
        return jax.tree.map(lambda leaf: jnp.tile(leaf, (s,) + (1,) * leaf.ndim), cell.init_state(params))

    def step(params, h_tm1, x_t):
        _checks.floating_leaves("skip", "h_tm1", h_tm1, "init_state gives the last states.")
        for leaf in jax.tree.leaves(h_tm1):
            expected = (s, *jnp.shape(leaf)[1:])
            _checks.shape("skip", "h_tm1", leaf, expected, "init_state gives the last s states.")
        read = jax.tree.map(lambda leaf: (1 - a) * leaf[0] + a * leaf[-1], h_tm1)
        h_t, y_t = cell.step(params, read, x_t)
        return jax.tree.map(lambda new, old: jnp.concatenate([new[None], old[:-1]]), h_t, h_tm1), y_t

    return Cell(cell.init, init_state, step)
