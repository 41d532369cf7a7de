"""Noise that regularises a recurrence; its keys travel with the inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Batch, Cell, Key

__all__ = ["dropout", "with_keys", "zoneout"]


@_checks.signature("zoneout")
def zoneout(cell: Cell, rate: float) -> Cell:
    """Keep each unit at its last value with probability `rate` (E20).

    ``h_t = m⊙h_{t-1} + (1-m)⊙f(x_t, h_{t-1})`` with m Bernoulli(rate), drawn anew for every step: the kept
    units pass their gradient unchanged. Without a key m is its mean, the `rate`, as in evaluation.

    Parameters
    ----------
    cell : any cell; all leaves of its state are treated alike.
    rate : from 0 (the cell itself) to below 1.

    Returns
    -------
    Cell
        Its inputs are pairs ``(x_t, key_t)``, or ``(x_t, None)`` for the mean; `with_keys` makes them. An
        output that is a leaf of the cell's state follows that leaf.

    Raises
    ------
    ValueError
        If the rate is not in 0 <= rate < 1.
    TypeError
        If x_t is not a pair.

    Example
    -------
    >>> from jaxrnn.cells import elman
    >>> cell = zoneout(elman(3, 4), 0.1)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), (jnp.ones(3), jax.random.key(1)))[1].shape
    (4,)

    Reference
    ---------
    Krueger et al., Zoneout: regularizing RNNs by randomly preserving hidden activations, 2017.
    """
    rate = _checks.fraction("zoneout", "rate", rate, below_1=True)

    def step(params, h_tm1, x_t):
        x_t, key_t = _checks.keyed("zoneout", x_t)
        h_t, y_t = cell.step(params, h_tm1, x_t)
        leaves, tree = jax.tree.flatten(h_t)
        if key_t is None:
            masks = [jnp.asarray(rate, leaf.dtype) for leaf in leaves]
        else:
            masks = [
                _mask(k, rate, leaf)
                for k, leaf in zip(jax.random.split(key_t, len(leaves)), leaves, strict=True)
            ]
        kept = [
            mask * old + (1 - mask) * new
            for mask, old, new in zip(masks, jax.tree.leaves(h_tm1), leaves, strict=True)
        ]
        follows = {id(leaf): mixed for leaf, mixed in zip(leaves, kept, strict=True)}
        return jax.tree.unflatten(tree, kept), jax.tree.map(lambda y: follows.get(id(y), y), y_t)

    return Cell(cell.init, cell.init_state, step)


@_checks.signature("dropout")
def dropout(cell: Cell, rate: float) -> Cell:
    """Drop each entry of a cell's input with probability `rate`: ``x_t⊙m/(1-rate)``, m Bernoulli(1-rate).

    The recurrence itself is not touched, so that nothing is lost over time (Zaremba et al. 2014). Without a
    key nothing is dropped, as in evaluation.

    Parameters
    ----------
    cell : any cell; of its inputs, tokens, flags and keys stay as they are.
    rate : from 0 (the cell itself) to below 1.

    Returns
    -------
    Cell
        Its inputs are pairs ``(x_t, key_t)``, or ``(x_t, None)``; `with_keys` makes them.

    Raises
    ------
    ValueError
        If the rate is not in 0 <= rate < 1.
    TypeError
        If x_t is not a pair.

    Example
    -------
    >>> from jaxrnn.cells import dense
    >>> cell = dropout(dense(2, 2), 0.5)
    >>> params = {"W": jnp.eye(2), "b": jnp.zeros(2)}
    >>> cell.step(params, (), (jnp.ones(2), jax.random.key(0)))[1]
    Array([2., 0.], dtype=float32)

    Reference
    ---------
    Zaremba, Sutskever & Vinyals, Recurrent neural network regularization, 2014.
    """
    rate = _checks.fraction("dropout", "rate", rate, below_1=True)

    def dropped(x, key):
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        return (1 - _mask(key, rate, x)) * x / (1 - rate)

    def step(params, h_tm1, x_t):
        x_t, key_t = _checks.keyed("dropout", x_t)
        if key_t is not None:
            leaves, tree = jax.tree.flatten(x_t)
            keys = jax.random.split(key_t, len(leaves))
            x_t = jax.tree.unflatten(tree, map(dropped, leaves, keys))
        return cell.step(params, h_tm1, x_t)

    return Cell(cell.init, cell.init_state, step)


@_checks.signature("with_keys")
def with_keys(batch: Batch, key: Key) -> Batch:
    """The batch with ``xs = (xs, keys [B, T])``, a key for every step of every sequence.

    Example
    -------
    >>> batch = with_keys(Batch(jnp.ones((2, 5, 3)), jnp.zeros((2, 5, 1))), jax.random.key(0))
    >>> batch.xs[1].shape
    (2, 5)
    """
    return batch._replace(xs=(batch.xs, jax.random.split(key, _checks.batch_shape("with_keys", batch))))


def _mask(key, rate, leaf):
    """1 with probability `rate` and else 0, shaped and typed as the leaf."""
    return jax.random.bernoulli(key, rate, leaf.shape).astype(leaf.dtype)
