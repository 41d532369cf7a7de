"""The LSTM cell with coupled input and forget gates (CIFG)."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid, tanh
from jaxrnn.cells.initializers import Initializer, gated, keep_bias
from jaxrnn.cells.lstm import LSTMState, check_sequence, learned_start, memory_shapes, shown, start
from jaxrnn.cells.normalization import Normalization
from jaxrnn.types import Cell

__all__ = ["coupled_lstm"]


@_checks.signature("coupled_lstm")
def coupled_lstm(
    input_size: int,
    hidden_size: int,
    *,
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    forget_bias: float = 1.0,
    chrono: int | None = None,
    normalization: Normalization | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The LSTM cell with i = 1-f: ``c_t = f⊙c_{t-1} + (1-f)⊙g, h_t = o⊙tanh(c_t)``, with ``y_t = h_t``.

    The memory c_t is a weighted mean of c_{t-1} and ``g = tanh(·)``, so that from c_0 = 0 it stays
    within -1 and 1. The memory path ``∂c_t/∂c_{t-1} ⊇ diag(f_t)`` (E16) is that of `lstm`.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init, recurrent_init : initializers, per gate, of W_x (default Glorot) and W_h (orthogonal).
    forget_bias : the start of b's f block; 1 keeps the memory open (Jozefowicz et al. 2015).
    chrono : the longest lag expected, in steps, or None. b's f block starts at
        `initializers.chrono` of it in place of forget_bias.
    normalization : `layer_norm` or `batch_norm` of ``W_x x_t + W_h h_{t-1}``, each gate by itself, before b
        is added, and of the memory that h_t shows, ``o⊙tanh(norm(c_t) + b_c)``; ``params["gain"]`` [3H],
        ``params["gain_c"]`` and ``params["b_c"]`` [H] are then parameters too.
    learned_h_0 : whether ``params["h_0"]`` and ``params["c_0"]`` [H] are parameters; otherwise 0.

    Returns
    -------
    Cell
        params ``{"W_x": [3H, d], "W_h": [3H, H], "b": [3H]}`` with gates f, g, o in this order;
        state ``LSTMState(h [H], c [H])``.

    Raises
    ------
    ValueError, TypeError
        If a size is below 1 or chrono below 2; from step, if parameters, h_tm1 or x_t do not fit.

    Example
    -------
    >>> import jax
    >>> cell = coupled_lstm(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.c.shape, y_1.shape
    ((4,), (4,))

    Reference
    ---------
    Greff et al., LSTM: a search space odyssey, 2017; Tallec & Ollivier, Can recurrent neural networks
    warp time?, 2018, for chrono.
    """
    d = _checks.at_least("coupled_lstm", "input_size", input_size, 1)
    H = _checks.at_least("coupled_lstm", "hidden_size", hidden_size, 1)
    keep = keep_bias(chrono, forget_bias)
    added = memory_shapes("coupled_lstm", normalization, 3, H)

    def init(key):
        params = gated(key, 3, d, H, input_init, recurrent_init)
        zeros = params["b"][:H]
        params["b"] = jnp.concatenate([keep(key, (H,), zeros.dtype), zeros, zeros])
        if normalization:
            params |= normalization.start(added, zeros.dtype)
        return params | (learned_start(H, zeros.dtype) if learned_h_0 else {})

    def step(params, h_tm1, x_t):
        sizes = {"W_x": (3 * H, d), "W_h": (3 * H, H), "b": (3 * H,), **added}
        _checks.parameters("coupled_lstm", params, sizes)
        check_sequence("coupled_lstm", h_tm1, x_t, d, H)
        z = params["W_x"] @ x_t + params["W_h"] @ h_tm1.h
        if normalization:
            z = normalization(params["gain"], z, 3)
        f, g, o = jnp.split(z + params["b"], 3)
        # σ(-f) keeps the digits of a nearly closed input gate, which 1 - σ(f) would round to 0.
        c_t = sigmoid(f) * h_tm1.c + sigmoid(-f) * tanh(g)
        h_t = shown(params, normalization, o, c_t)
        return LSTMState(h_t, c_t), h_t

    return Cell(init, partial(start, H, learned_h_0), step)
