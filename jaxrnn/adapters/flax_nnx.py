"""Flax NNX modules as cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxrnn import _checks
from jaxrnn.adapters._modules import refuse_loop
from jaxrnn.types import Cell

__all__ = ["flax_nnx"]


@_checks.signature("adapters.flax_nnx")
def flax_nnx(module: Any | Callable[[Any], Any]) -> Cell:
    """A Flax NNX module as a `Cell`, with the module's own parameters.

    Parameters
    ----------
    module : an ``nnx.RNNCellBase``, such as that of a trained model, ``model.rnn.cell``; or a module without
        memory, such as an ``nnx.Linear``, for a readout; or a function ``rngs -> module`` that makes one.

    Returns
    -------
    Cell
        params ``nnx.state(module, nnx.Param)``: ``nnx.update(module, params)`` hands them back. Of a module,
        ``init`` gives its present parameters for any key; of a function, those that it makes from
        ``nnx.Rngs(key)``. State the module's carry, an LSTM's being ``(c, h)``, and ``()`` without memory.
        What is not a parameter, as random streams and statistics, stays as it is.

    Raises
    ------
    ImportError
        Without Flax.
    TypeError
        If it is no NNX module, or an ``nnx.RNN``.

    Example
    -------
    >>> from flax import nnx
    >>> cell = flax_nnx(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jax.numpy.ones(3))[1].shape
    (4,)
    """
    with _checks.installed("adapters.flax_nnx", "Flax", "flax"):
        from flax import nnx

    if not isinstance(module, nnx.Module) and not callable(module):
        raise TypeError(
            f"adapters.flax_nnx: got a {type(module).__name__}; expected a module, or a function for one."
        )
    made: Any = module if isinstance(module, nnx.Module) else module(nnx.Rngs(0))
    if not isinstance(made, nnx.Module):
        raise TypeError(f"adapters.flax_nnx: got a {type(made).__name__}; expected an NNX module.")
    # Copied: what nnx.split gives are the module's own variables, which change with it.
    definition, _, rest = jax.tree.map(lambda leaf: leaf, nnx.split(made, nnx.Param, ...))
    has_memory = hasattr(made, "initialize_carry")
    if not has_memory:
        refuse_loop("adapters.flax_nnx", made)

    def init(key):
        holder = made if made is module else module(nnx.Rngs(key))
        return jax.tree.map(lambda leaf: leaf, nnx.state(holder, nnx.Param))

    def start(params):
        if not has_memory:
            return ()
        whole: Any = nnx.merge(definition, params, rest)
        # The length of x_t decides nothing in Flax's own cells; one of your own may not tell it.
        return whole.initialize_carry((getattr(whole, "in_features", 1),), nnx.Rngs(0))

    def step(params, h_tm1, x_t):
        whole = nnx.merge(definition, params, rest)
        return whole(h_tm1, x_t) if has_memory else (h_tm1, whole(x_t))

    return Cell(init, start, step)
