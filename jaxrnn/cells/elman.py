"""The vanilla (Elman) recurrent cell, E1."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells import activations
from jaxrnn.cells.initializers import Initializer, ungated
from jaxrnn.cells.normalization import Normalization, added_shapes
from jaxrnn.types import Cell

__all__ = ["elman"]


@_checks.signature("elman")
def elman(
    input_size: int,
    hidden_size: int,
    *,
    activation: str | activations.Activation = "tanh",
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    normalization: Normalization | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The vanilla RNN cell ``h_t = φ(W_hx x_t + W_hh h_{t-1} + b_h)``, with ``y_t = h_t`` (E1).

    Its step Jacobian is ``J_t = diag(φ'(z_t)) W_hh`` (E11), so ``W_hh`` IS the notes' matrix.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    activation : a name of `activations.NAMES`, or an Activation.
    input_init, recurrent_init : initializers of W_hx (default Glorot) and W_hh (default orthogonal).
    normalization : `layer_norm` or `batch_norm` of ``z_t = W_hx x_t + W_hh h_{t-1}``, before b_h is added;
        ``params["gain"]`` [H] is then a parameter too.
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_hx": [H, d], "W_hh": [H, H], "b_h": [H]}``, state [H].

    Example
    -------
    >>> import jax
    >>> cell = elman(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.shape
    (4,)

    Reference
    ---------
    Elman, Finding structure in time, 1990.
    """
    d = _checks.at_least("elman", "input_size", input_size, 1)
    H = _checks.at_least("elman", "hidden_size", hidden_size, 1)
    phi = activations.get(activation)
    added = added_shapes("elman", normalization, gain=H)

    def init(key):
        params = ungated(key, d, H, input_init, recurrent_init)
        if normalization:
            params |= normalization.start(added, params["b_h"].dtype)
        return params | ({"h_0": jnp.zeros_like(params["b_h"])} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["W_hh"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("elman", params, {"W_hx": (H, d), "W_hh": (H, H), "b_h": (H,), **added})
        _checks.one_sequence("elman", x_t, h_tm1, d, H)
        z_t = params["W_hx"] @ x_t + params["W_hh"] @ h_tm1
        if normalization:
            z_t = normalization(params["gain"], z_t)
        h_t = phi(z_t + params["b_h"])
        return h_t, h_t

    return Cell(init, init_state, step)
