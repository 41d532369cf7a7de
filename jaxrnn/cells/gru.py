"""The gated recurrent unit, E4 (reset after)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid, tanh
from jaxrnn.cells.initializers import Initializer, default_dtype, glorot, orthogonal, per_gate
from jaxrnn.types import Cell

__all__ = ["gru"]


def gru(
    input_size: int,
    hidden_size: int,
    *,
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The GRU cell ``h_t = z⊙h_{t-1} + (1-z)⊙tanh(W_h x_t + r⊙(U_h h_{t-1} + b_hn) + b_h)`` (E4).

    Reset after the product, as torch, Flax and Equinox have it; ``y_t = h_t``. Its direct path
    ``∂h_t/∂h_{t-1} ⊇ diag(z_t)`` (E16) keeps the gradient while z is near 1.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init, recurrent_init : initializers, per gate, of W_x (default Glorot) and W_h (orthogonal).
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_x": [3H, d], "W_h": [3H, H], "b": [3H], "b_hn": [H]}`` with gates r, z, n in this
        order; state [H].

    Example
    -------
    >>> cell = gru(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[0].shape
    (4,)

    Reference
    ---------
    Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
    """
    d = _checks.at_least("gru", "input_size", input_size, 1)
    H = _checks.at_least("gru", "hidden_size", hidden_size, 1)

    def init(key):
        key_x, key_h = jax.random.split(key)
        dtype = default_dtype()
        params = {
            "W_x": per_gate(input_init or glorot(), 3)(key_x, (3 * H, d), dtype),
            "W_h": per_gate(recurrent_init or orthogonal(), 3)(key_h, (3 * H, H), dtype),
            "b": jnp.zeros(3 * H, dtype),
            "b_hn": jnp.zeros(H, dtype),
        }
        return params | ({"h_0": jnp.zeros(H, dtype)} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["W_h"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("gru", params, {"W_x": (3 * H, d), "W_h": (3 * H, H), "b": (3 * H,), "b_hn": (H,)})
        _checks.shape("gru", "x_t", x_t, (d,), "xs is [T, d] for one sequence.")
        _checks.shape("gru", "h_tm1", h_tm1, (H,), "h_0 is [H] for one sequence.")
        x_r, x_z, x_n = jnp.split(params["W_x"] @ x_t + params["b"], 3)
        h_r, h_z, h_n = jnp.split(params["W_h"] @ h_tm1, 3)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = tanh(x_n + r * (h_n + params["b_hn"]))
        h_t = z * h_tm1 + (1 - z) * n
        return h_t, h_t

    return Cell(init, init_state, step)
