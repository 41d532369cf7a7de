"""Two recurrences over the same sequence, one from its end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn import _checks
from jaxrnn.types import Cell

__all__ = ["aligned", "bidirectional", "both_ways"]


@_checks.signature("bidirectional")
def bidirectional(forward: Cell, backward: Cell) -> Cell:
    """Read a sequence from both ends at once: ``h→_t = f(x_t, h→_{t-1})``, ``h←_t = g(x_{T+1-t}, h←_{t-1})``.

    Its y_t is the concatenation of both outputs after t steps. At t = T both have read the whole sequence: a
    readout of y_T is the bidirectional many-to-one network, for any estimator. An output for every step
    of the sequence needs both at the same place: `aligned`.

    Parameters
    ----------
    forward, backward : cells whose outputs are arrays.

    Returns
    -------
    Cell
        params ``{"forward": ..., "backward": ...}``, state a pair; a step's Jacobian has a block for each.
        Its inputs are pairs ``(x_t, x_{T+1-t})``, as `both_ways` makes them.

    Raises
    ------
    TypeError
        If x_t is not a pair.

    Example
    -------
    >>> from jaxrnn import unroll
    >>> from jaxrnn.cells import elman
    >>> cell = bidirectional(elman(3, 4), elman(3, 4))
    >>> params = cell.init(jax.random.key(0))
    >>> traj = unroll(cell.step, params, cell.init_state(params), both_ways(jnp.ones((5, 3))))
    >>> aligned(traj.ys, 4).shape
    (5, 8)

    Reference
    ---------
    Schuster & Paliwal, Bidirectional recurrent neural networks, 1997.
    """

    def init(key):
        keys = jax.random.split(key)
        return {"forward": forward.init(keys[0]), "backward": backward.init(keys[1])}

    def init_state(params):
        _checks.both("bidirectional", "params", params, ("forward", "backward"))
        return forward.init_state(params["forward"]), backward.init_state(params["backward"])

    def step(params, h_tm1, x_t):
        _checks.both("bidirectional", "params", params, ("forward", "backward"))
        if not isinstance(h_tm1, tuple) or len(h_tm1) != 2:
            raise TypeError(f"bidirectional: h_tm1 is a {type(h_tm1).__name__}; expected a pair of states.")
        x_t, x_from_end = _checks.input_pair("bidirectional", x_t, "x_{T+1-t}")
        h_forward, y_forward = forward.step(params["forward"], h_tm1[0], x_t)
        h_backward, y_backward = backward.step(params["backward"], h_tm1[1], x_from_end)
        return (h_forward, h_backward), jnp.concatenate([y_forward, y_backward], axis=-1)

    return Cell(init, init_state, step)


@_checks.signature("both_ways")
def both_ways(xs: PyTree, *, axis: int = 0) -> tuple[PyTree, PyTree]:
    """``(xs, xs from the end)`` for `bidirectional`; with ``axis=1`` of a batch [B, T, ...]."""
    for leaf in jax.tree.leaves(xs):
        if not -jnp.ndim(leaf) <= axis < jnp.ndim(leaf):
            raise ValueError(f"both_ways: axis is {axis}; xs has a leaf of shape {jnp.shape(leaf)}.")
    return xs, jax.tree.map(lambda leaf: jnp.flip(leaf, axis), xs)


@_checks.signature("aligned")
def aligned(ys: PyTree, split: int) -> PyTree:
    """Outputs [T, a + b] of `bidirectional`, where row i has what both directions say of x_{i+1}.

    `split` is a, the size of the forward outputs: the others are put in the order of the sequence.
    """
    for leaf in jax.tree.leaves(ys):
        if jnp.ndim(leaf) != 2 or not 0 <= split <= jnp.shape(leaf)[1]:
            raise ValueError(
                f"aligned: ys has a leaf of shape {jnp.shape(leaf)} and split is {split}; expected [T, m] "
                "and 0 <= split <= m."
            )
    return jax.tree.map(lambda y: jnp.concatenate([y[:, :split], y[::-1, split:]], axis=-1), ys)
