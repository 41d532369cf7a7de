"""Cells out of cells: a readout, depth, and skip connections."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells import activations
from jaxrnn.cells.initializers import Initializer, default_dtype, glorot
from jaxrnn.types import Cell

__all__ = ["dense", "residual", "stack"]


@_checks.signature("dense")
def dense(
    n_in: int,
    n_out: int,
    *,
    activation: str | activations.Activation = "linear",
    init: Initializer | None = None,
) -> Cell:
    """A stateless layer ``y_t = φ(W x_t + b)``: the readout ``o_t = W_yh h_t + b_y`` of E1.

    Returns
    -------
    Cell
        params ``{"W": [n_out, n_in], "b": [n_out]}``, state ``()``.

    Example
    -------
    >>> cell = dense(3, 2)
    >>> cell.step(cell.init(jax.random.key(0)), (), jnp.zeros(3))
    ((), Array([0., 0.], dtype=float32))
    """
    d = _checks.at_least("dense", "n_in", n_in, 1)
    m = _checks.at_least("dense", "n_out", n_out, 1)
    phi = activations.get(activation)

    def init_params(key):
        dtype = default_dtype()
        return {"W": (init or glorot())(key, (m, d), dtype), "b": jnp.zeros(m, dtype)}

    def step(params, h_tm1, x_t):
        _checks.parameters("dense", params, {"W": (m, d), "b": (m,)})
        _checks.shape("dense", "x_t", x_t, (d,), "It reads the layer below, or xs [T, n_in].")
        if jax.tree.leaves(h_tm1):
            raise ValueError("dense: h_tm1 has entries; expected (), for this layer has no state.")
        return h_tm1, phi(params["W"] @ x_t + params["b"])

    return Cell(init_params, lambda _: (), step)


@_checks.signature("stack")
def stack(*cells: Cell) -> Cell:
    """Layers on top of each other: each reads the y_t of the one below, at the same t.

    Parameters and state are tuples, one entry a layer; y_t is the top layer's. A whole network is a
    Cell: ``stack(lstm(26, 128), dense(128, 26))`` has the logits o_t as its y_t.

    Example
    -------
    >>> from jaxrnn.cells import elman
    >>> cell = stack(elman(3, 4), dense(4, 2))
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.zeros(3))[1].shape
    (2,)
    """
    if not cells:
        raise ValueError("stack: got no cells; expected at least one.")

    def init(key):
        keys = jax.random.split(key, len(cells))
        return tuple(cell.init(k) for cell, k in zip(cells, keys, strict=True))

    def init_state(params):
        _same_length("params", params)
        return tuple(cell.init_state(p) for cell, p in zip(cells, params, strict=True))

    def step(params, h_tm1, x_t):
        _same_length("params", params)
        _same_length("h_tm1", h_tm1)
        hs, y_t = [], x_t
        for cell, cell_params, cell_h_tm1 in zip(cells, params, h_tm1, strict=True):
            cell_h_t, y_t = cell.step(cell_params, cell_h_tm1, y_t)
            hs.append(cell_h_t)
        return tuple(hs), y_t

    def _same_length(argument, value):
        if not isinstance(value, tuple | list) or len(value) != len(cells):
            raise ValueError(
                f"stack: {argument} is not a tuple of {len(cells)} entries, one a layer, as stack.init gives."
            )

    return Cell(init, init_state, step)


@_checks.signature("residual")
def residual(cell: Cell) -> Cell:
    """A skip connection around a layer, ``y_t = x_t + cell's y_t`` (E20); input and output sizes agree.

    Parameters and state are the cell's own.

    Example
    -------
    >>> cell = residual(dense(2, 2))
    >>> params = {"W": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    >>> cell.step(params, (), jnp.array([1.0, 2.0]))[1]
    Array([1., 2.], dtype=float32)
    """

    def step(params, h_tm1, x_t):
        h_t, y_t = cell.step(params, h_tm1, x_t)
        _checks.shape("residual", "x_t", x_t, jnp.shape(y_t), "A skip connection adds x_t to y_t.")
        return h_t, x_t + y_t

    return Cell(cell.init, cell.init_state, step)
