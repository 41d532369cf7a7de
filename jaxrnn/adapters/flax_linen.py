"""Flax Linen modules as cells."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.adapters._modules import refuse_loop
from jaxrnn.types import Cell

__all__ = ["flax_linen"]


@_checks.signature("adapters.flax_linen")
def flax_linen(module: Any, input_size: int) -> Cell:
    """A Flax Linen module as a `Cell`, with the module's own parameters.

    Parameters
    ----------
    module : an ``nn.RNNCellBase``, such as ``nn.LSTMCell(32)``, or your own; or a module without memory, such
        as ``nn.Dense(27)``, for a readout.
    input_size : the length of x_t, which Linen learns from data.

    Returns
    -------
    Cell
        params the ``"params"`` collection that ``module.init`` gives, so that the subtree of a trained model
        fits as it is; state the module's carry, an LSTM's being ``(c, h)``, and ``()`` without memory.

    Raises
    ------
    TypeError
        If `module` is no Linen module, or an ``nn.RNN``.
    ValueError
        If the module keeps more than parameters, as batch normalisation does, or input_size < 1.

    Example
    -------
    >>> from flax import linen as nn
    >>> cell = flax_linen(nn.GRUCell(4), input_size=3)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[1].shape
    (4,)
    """
    size = _checks.at_least("adapters.flax_linen", "input_size", input_size, 1)
    if not (hasattr(module, "apply") and hasattr(module, "init")):
        raise TypeError(f"adapters.flax_linen: module is a {type(module).__name__}; expected a Linen module.")
    has_memory = hasattr(module, "initialize_carry")
    if not has_memory:
        refuse_loop("adapters.flax_linen", module)

    def start():
        return module.initialize_carry(jax.random.key(0), (size,)) if has_memory else ()

    def init(key):
        # A module of your own may have no param_dtype.
        x = jnp.zeros(size, jax.dtypes.canonicalize_dtype(getattr(module, "param_dtype", float)))
        variables = module.init(key, *((start(), x) if has_memory else (x,)))
        more = sorted(set(variables) - {"params"})
        if more:
            raise ValueError(
                f"adapters.flax_linen: the module keeps {', '.join(more)} beside its parameters; a step is a "
                "pure function of parameters, state and input."
            )
        return variables.get("params", {})

    def step(params, h_tm1, x_t):
        if has_memory:
            return module.apply({"params": params}, h_tm1, x_t)
        return h_tm1, module.apply({"params": params}, x_t)

    return Cell(init, lambda _: start(), step)
