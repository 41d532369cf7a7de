"""Keras 3 layers, on its JAX backend, as cells."""

from __future__ import annotations

from typing import Any

import jax

from jaxrnn import _checks
from jaxrnn.adapters._modules import refuse_loop
from jaxrnn.types import Cell

__all__ = ["keras"]


@_checks.signature("adapters.keras")
def keras(layer: Any, input_size: int | None = None) -> Cell:
    """A Keras 3 cell or layer as a `Cell`, with Keras' own parameters; ``KERAS_BACKEND=jax`` only.

    Parameters
    ----------
    layer : a cell, such as ``keras.layers.LSTMCell(32)``, that of a trained ``LSTM`` layer, ``layer.cell``,
        or your own with ``state_size``; or a layer without memory, such as a ``Dense``, for a readout.
    input_size : the length of x_t; not needed if the layer is built, as in a trained model.

    Returns
    -------
    Cell
        params the values of ``layer.trainable_variables``, a list in their order, to be handed back by
        ``variable.assign``; ``init`` gives the layer's present values for any key. State the list of the
        cell's states, an LSTM's being ``[h, c]``, and ``[]`` without memory.

    Raises
    ------
    ImportError
        Without Keras.
    ValueError
        If Keras runs on another backend, or neither is the layer built nor input_size given.
    TypeError
        If it is a layer that runs a cell over a sequence.

    Notes
    -----
    Keras' own activations round to single precision, also in a layer of float64; with ``activation=jnp.tanh,
    recurrent_activation=jax.nn.sigmoid`` all of it is in double precision.

    Example
    -------
    >>> import os
    >>> os.environ["KERAS_BACKEND"] = "jax"
    >>> from keras import layers
    >>> cell = keras(layers.GRUCell(4), input_size=3)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jax.numpy.ones(3))[1].shape
    (4,)
    """
    with _checks.installed("adapters.keras", "Keras", "keras"):
        from keras.config import backend
    if backend() != "jax":
        raise ValueError(
            f"adapters.keras: Keras runs on {backend()}; set KERAS_BACKEND=jax before Keras is imported."
        )
    refuse_loop("adapters.keras", layer)
    if not layer.built:
        if input_size is None:
            raise ValueError("adapters.keras: the layer is not built; give input_size=.")
        layer.build((None, _checks.at_least("adapters.keras", "input_size", input_size, 1)))
    fixed = [variable.value for variable in layer.non_trainable_variables]
    has_memory = hasattr(layer, "state_size")

    def one(tree):
        """Of a batch of one sequence."""
        return jax.tree.map(lambda leaf: leaf[0], tree)

    def init_state(_):
        return one(layer.get_initial_state(batch_size=1)) if has_memory else []

    def step(params, h_tm1, x_t):
        batch = jax.tree.map(lambda leaf: leaf[None], (x_t, h_tm1) if has_memory else (x_t,))
        result = one(layer.stateless_call(params, fixed, *batch)[0])
        return (result[1], result[0]) if has_memory else (h_tm1, result)

    return Cell(lambda _: [variable.value for variable in layer.trainable_variables], init_state, step)
