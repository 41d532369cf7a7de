"""Haiku cores as cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Cell

__all__ = ["haiku"]


@_checks.signature("adapters.haiku")
def haiku(make: Callable[[], Any], input_size: int) -> Cell:
    """A Haiku core as a `Cell`, with Haiku's own parameters.

    Parameters
    ----------
    make : a function that makes an ``hk.RNNCore``, as it stands within ``hk.transform``: ``lambda:
        hk.LSTM(32)``, or a whole network, ``lambda: hk.DeepRNN([hk.LSTM(32), hk.Linear(27)])``; or a module
        without memory, ``lambda: hk.Linear(27)``.
    input_size : the length of x_t, which Haiku learns from data.

    Returns
    -------
    Cell
        params ``{module name: {name: array}}`` as ``hk.transform`` names them; state the core's, an LSTM's
        being ``hk.LSTMState(hidden, cell)``, and ``()`` without memory.

    Raises
    ------
    ImportError
        Without Haiku.
    ValueError
        If input_size < 1.

    Example
    -------
    >>> import haiku as hk
    >>> cell = haiku(lambda: hk.GRU(4), input_size=3)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[1].shape
    (4,)
    """
    size = _checks.at_least("adapters.haiku", "input_size", input_size, 1)
    with _checks.installed("adapters.haiku", "Haiku", "haiku"):
        import haiku as hk

    def stepped(h_tm1, x_t):
        core = make()
        if not isinstance(core, hk.RNNCore):
            return h_tm1, core(x_t)
        y_t, h_t = core(x_t, h_tm1)
        return h_t, y_t

    def started():
        core = make()
        return core.initial_state(None) if isinstance(core, hk.RNNCore) else ()

    step = hk.without_apply_rng(hk.transform(stepped))
    start = hk.without_apply_rng(hk.transform(started))

    def init(key):
        return step.init(key, start.apply({}), jnp.zeros(size))

    def init_state(params):
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
        return jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(*dtypes)), start.apply({}))

    return Cell(init, init_state, step.apply)
