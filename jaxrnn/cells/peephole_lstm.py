"""The LSTM cell whose gates see the memory."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid, tanh
from jaxrnn.cells.initializers import Initializer
from jaxrnn.cells.lstm import LSTMState, check_sequence, lstm, memory_shapes, shown
from jaxrnn.cells.normalization import Normalization
from jaxrnn.types import Cell

__all__ = ["peephole_lstm"]


@_checks.signature("peephole_lstm")
def peephole_lstm(
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
    """The LSTM cell (E3) with ``p_i⊙c_{t-1}``, ``p_f⊙c_{t-1}`` and ``p_o⊙c_t`` added inside its gates.

    ``c_t = f⊙c_{t-1} + i⊙g, h_t = o⊙tanh(c_t)``, with ``y_t = h_t``. A gate sees its own unit's
    memory, even while o hides it from h. Peepholes start at 0, where the cell is `lstm`. They join
    the memory path, ``∂c_t/∂c_{t-1} ⊇ diag(f_t + p_f⊙f'_t⊙c_{t-1} + p_i⊙i'_t⊙g_t)`` (E16).

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init, recurrent_init : initializers, per gate, of W_x (default Glorot) and W_h (orthogonal).
    forget_bias : the start of b's f block; 1 keeps the memory open (Jozefowicz et al. 2015).
    chrono : the longest lag expected, in steps, or None. b's f block starts at
        `initializers.chrono` of it in place of forget_bias, and its i block at minus that.
    normalization : `layer_norm` or `batch_norm` of ``W_x x_t + W_h h_{t-1}``, each gate by itself, before b
        and the peepholes are added, and of the memory that h_t shows, ``o⊙tanh(norm(c_t) + b_c)``;
        ``params["gain"]`` [4H], ``params["gain_c"]`` and ``params["b_c"]`` [H] are then parameters too.
    learned_h_0 : whether ``params["h_0"]`` and ``params["c_0"]`` [H] are parameters; otherwise 0.

    Returns
    -------
    Cell
        params ``{"W_x": [4H, d], "W_h": [4H, H], "b": [4H], "p": [3H]}`` with gates i, f, g, o in this
        order, and i, f, o in p; state ``LSTMState(h [H], c [H])``.

    Raises
    ------
    ValueError, TypeError
        If a size is below 1 or chrono below 2; from step, if parameters, h_tm1 or x_t do not fit.

    Example
    -------
    >>> import jax
    >>> cell = peephole_lstm(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.c.shape, y_1.shape
    ((4,), (4,))

    Reference
    ---------
    Gers & Schmidhuber, Recurrent nets that time and count, 2000; Tallec & Ollivier, Can recurrent
    neural networks warp time?, 2018, for chrono.
    """
    d = _checks.at_least("peephole_lstm", "input_size", input_size, 1)
    H = _checks.at_least("peephole_lstm", "hidden_size", hidden_size, 1)
    added = memory_shapes("peephole_lstm", normalization, 4, H)
    plain = lstm(
        d,
        H,
        input_init=input_init,
        recurrent_init=recurrent_init,
        forget_bias=forget_bias,
        chrono=chrono,
        normalization=normalization,
        learned_h_0=learned_h_0,
    )

    def init(key):
        params = plain.init(key)
        return params | {"p": jnp.zeros(3 * H, params["b"].dtype)}

    def step(params, h_tm1, x_t):
        sizes = {"W_x": (4 * H, d), "W_h": (4 * H, H), "b": (4 * H,), "p": (3 * H,), **added}
        _checks.parameters("peephole_lstm", params, sizes)
        check_sequence("peephole_lstm", h_tm1, x_t, d, H)
        z = params["W_x"] @ x_t + params["W_h"] @ h_tm1.h
        if normalization:
            z = normalization(params["gain"], z, 4)
        i, f, g, o = jnp.split(z + params["b"], 4)
        p_i, p_f, p_o = jnp.split(params["p"], 3)
        c_t = sigmoid(f + p_f * h_tm1.c) * h_tm1.c + sigmoid(i + p_i * h_tm1.c) * tanh(g)
        h_t = shown(params, normalization, o + p_o * c_t, c_t)
        return LSTMState(h_t, c_t), h_t

    return Cell(init, plain.init_state, step)
