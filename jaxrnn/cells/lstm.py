"""The long short-term memory cell, E3."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid, tanh
from jaxrnn.cells.initializers import Initializer, gated, keep_bias
from jaxrnn.cells.normalization import Normalization, added_shapes
from jaxrnn.types import Cell

__all__ = ["LSTMState", "lstm"]


class LSTMState(NamedTuple):
    """What an LSTM carries: the hidden state and the memory cell, each [H]."""

    h: Float[Array, "*B H"]
    c: Float[Array, "*B H"]


def learned_start(H, dtype):
    """The parameters h_0 and c_0; two arrays, because jit takes no buffer twice as donated."""
    return {"h_0": jnp.zeros(H, dtype), "c_0": jnp.zeros(H, dtype)}


def start(H, learned_h_0, params):
    """The first state of a cell with memory: its parameters h_0 and c_0, or zeros."""
    if learned_h_0:
        return LSTMState(params["h_0"], params["c_0"])
    return LSTMState(*jnp.zeros((2, H), params["W_h"].dtype))


def memory_shapes(function, normalization, gates, H):
    """The shapes of the parameters that a normalisation adds to a cell with memory."""
    return added_shapes(function, normalization, gain=gates * H, gain_c=H, b_c=H)


def shown(params, normalization, o, c_t):
    """What the output gate lets through, ``σ(o)⊙tanh(c_t)``, of the normalised memory if there is one."""
    if normalization:
        c_t = normalization(params["gain_c"], c_t) + params["b_c"]
    return sigmoid(o) * tanh(c_t)


def check_sequence(function, h_tm1, x_t, d, H):
    """TypeError or ValueError unless h_tm1 is an LSTMState of [H] and x_t is [d]."""
    if not isinstance(h_tm1, LSTMState):
        raise TypeError(f"{function}: h_tm1 is a {type(h_tm1).__name__}; expected LSTMState(h [H], c [H]).")
    _checks.shape(function, "x_t", x_t, (d,), "xs is [T, d] for one sequence.")
    _checks.shape(function, "h_tm1.h", h_tm1.h, (H,), "h_0.h is [H] for one sequence.")
    _checks.shape(function, "h_tm1.c", h_tm1.c, (H,), "h_0.c is [H] for one sequence.")


@_checks.signature("lstm")
def lstm(
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
    """The LSTM cell ``c_t = f⊙c_{t-1} + i⊙g, h_t = o⊙tanh(c_t)``, with ``y_t = h_t`` (E3).

    Its memory path ``∂c_t/∂c_{t-1} ⊇ diag(f_t)`` (E16) is why gates help; the Jacobian of the whole
    state is [2H, 2H], h before c.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init, recurrent_init : initializers, per gate, of W_x (default Glorot) and W_h (orthogonal).
    forget_bias : the start of b's f block; 1 keeps the memory open (Jozefowicz et al. 2015).
    chrono : the longest lag expected, in steps, or None. b's f block starts at
        `initializers.chrono` of it in place of forget_bias, and its i block at minus that.
    normalization : `layer_norm` or `batch_norm` of ``W_x x_t + W_h h_{t-1}``, each gate by itself, before b
        is added, and of the memory that h_t shows, ``o⊙tanh(norm(c_t) + b_c)``; ``params["gain"]`` [4H],
        ``params["gain_c"]`` and ``params["b_c"]`` [H] are then parameters too.
    learned_h_0 : whether ``params["h_0"]`` and ``params["c_0"]`` [H] are parameters; otherwise 0.

    Returns
    -------
    Cell
        params ``{"W_x": [4H, d], "W_h": [4H, H], "b": [4H]}`` with gates i, f, g, o in this order;
        state ``LSTMState(h [H], c [H])``.

    Raises
    ------
    ValueError, TypeError
        If a size is below 1 or chrono below 2; from step, if parameters, h_tm1 or x_t do not fit.

    Example
    -------
    >>> import jax
    >>> cell = lstm(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.c.shape, y_1.shape
    ((4,), (4,))

    Reference
    ---------
    Hochreiter & Schmidhuber, Long short-term memory, 1997; Gers et al. 2000 for the forget gate;
    Tallec & Ollivier, Can recurrent neural networks warp time?, 2018, for chrono.
    """
    d = _checks.at_least("lstm", "input_size", input_size, 1)
    H = _checks.at_least("lstm", "hidden_size", hidden_size, 1)
    keep = keep_bias(chrono, forget_bias)
    added = memory_shapes("lstm", normalization, 4, H)

    def init(key):
        params = gated(key, 4, d, H, input_init, recurrent_init)
        zeros = params["b"][:H]
        b_f = keep(key, (H,), zeros.dtype)
        b_i = zeros if chrono is None else -b_f
        params["b"] = jnp.concatenate([b_i, b_f, zeros, zeros])
        if normalization:
            params |= normalization.start(added, zeros.dtype)
        return params | (learned_start(H, zeros.dtype) if learned_h_0 else {})

    def step(params, h_tm1, x_t):
        _checks.parameters("lstm", params, {"W_x": (4 * H, d), "W_h": (4 * H, H), "b": (4 * H,), **added})
        check_sequence("lstm", h_tm1, x_t, d, H)
        z = params["W_x"] @ x_t + params["W_h"] @ h_tm1.h
        if normalization:
            z = normalization(params["gain"], z, 4)
        i, f, g, o = jnp.split(z + params["b"], 4)
        c_t = sigmoid(f) * h_tm1.c + sigmoid(i) * tanh(g)
        h_t = shown(params, normalization, o, c_t)
        return LSTMState(h_t, c_t), h_t

    return Cell(init, partial(start, H, learned_h_0), step)
