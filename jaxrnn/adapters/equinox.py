"""Equinox modules as cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Cell, Params, State

__all__ = ["equinox"]


@_checks.signature("adapters.equinox")
def equinox(
    module: Any | Callable[[Any], Any], *, init_state: State | Callable[[Params], State] | None = None
) -> Cell:
    """An Equinox module as a `Cell`, with the module's own parameters.

    Parameters
    ----------
    module : an ``eqx.nn.GRUCell`` or ``LSTMCell`` or your own module ``(x_t, h_tm1) -> h_t``, such as that
        of a trained model; or a module without memory ``x_t -> y_t``, such as an ``eqx.nn.Linear``, for a
        readout; or a function ``key -> module`` that makes one.
    init_state : the state of a module of your own, or a function of params; ``()`` without memory. Of
        Equinox's own modules it is known.

    Returns
    -------
    Cell
        params the module with None for all that is no floating array, as ``eqx.filter(module,
        eqx.is_inexact_array)`` has it: ``eqx.combine(params, module)`` hands them back. Of a module, ``init``
        gives its present parameters for any key; of a function, those that it makes from the key. State
        ``h`` or, of an LSTM, ``(h, c)``; ``y_t`` is h_t.

    Raises
    ------
    ImportError
        Without Equinox.
    TypeError
        If it is no Equinox module, or one of your own without init_state.

    Example
    -------
    >>> import equinox as eqx
    >>> cell = equinox(eqx.nn.GRUCell(3, 4, key=jax.random.key(0)))
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[1].shape
    (4,)
    """
    with _checks.installed("adapters.equinox", "Equinox", "equinox"):
        import equinox as eqx

    if not isinstance(module, eqx.Module) and not callable(module):
        raise TypeError(
            f"adapters.equinox: got a {type(module).__name__}; expected a module, or a function for one."
        )
    made = module if isinstance(module, eqx.Module) else module(jax.random.key(0))
    if not isinstance(made, eqx.Module):
        raise TypeError(f"adapters.equinox: got a {type(made).__name__}; expected an Equinox module.")
    own, rest = eqx.partition(made, eqx.is_inexact_array)
    is_lstm = isinstance(made, eqx.nn.LSTMCell)
    if init_state is None:
        if is_lstm or isinstance(made, eqx.nn.GRUCell):
            init_state = _zeros(made.hidden_size, 2 if is_lstm else 1)
        elif type(made).__module__.startswith("equinox."):
            init_state = ()
        else:
            raise TypeError(
                f"adapters.equinox: the state of a {type(made).__name__} is unknown; give init_state=, or () "
                "for a layer without memory."
            )
    start = init_state if callable(init_state) else lambda _: init_state

    def init(key):
        return own if made is module else eqx.partition(module(key), eqx.is_inexact_array)[0]

    def step(params, h_tm1, x_t):
        whole = eqx.combine(params, rest)
        if not jax.tree.leaves(h_tm1):
            return h_tm1, whole(x_t)
        h_t = whole(x_t, h_tm1)
        return h_t, h_t[0] if is_lstm else h_t

    return Cell(init, start, step)


def _zeros(size, count):
    def start(params):
        dtype = jax.tree.leaves(params)[0].dtype
        zeros = tuple(jnp.zeros(size, dtype) for _ in range(count))
        return zeros if count > 1 else zeros[0]

    return start
