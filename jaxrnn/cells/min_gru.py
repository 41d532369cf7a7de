"""The minimal gated recurrent unit, whose gate does not read the state."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid
from jaxrnn.cells.initializers import Initializer, default_dtype, glorot, per_gate
from jaxrnn.types import Cell

__all__ = ["min_gru"]


@_checks.signature("min_gru")
def min_gru(
    input_size: int,
    hidden_size: int,
    *,
    input_init: Initializer | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The minGRU ``h_t = (1-z)⊙h_{t-1} + z⊙(W_h x_t + b_h)``, ``z = σ(W_z x_t + b_z)``, with ``y_t = h_t``.

    Gate and candidate read the input only, so the recurrence is linear and diagonal: ``J_t = diag(1-z_t)``,
    with entries in (0, 1), so that gradients may vanish but never explode. Its z weighs what is new, where
    the z of `gru` (E4) weighs what is kept.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init : initializer of W_z and of W_h (default Glorot).
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_x": [2H, d], "b": [2H]}``, W_z above W_h and b_z before b_h; state [H].

    Raises
    ------
    ValueError
        If a size is below 1.

    Example
    -------
    >>> import jax
    >>> cell = min_gru(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[0].shape
    (4,)

    Reference
    ---------
    Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, Were RNNs all we needed?, 2024.
    """
    d = _checks.at_least("min_gru", "input_size", input_size, 1)
    H = _checks.at_least("min_gru", "hidden_size", hidden_size, 1)

    def init(key):
        dtype = default_dtype()
        params = {
            "W_x": per_gate(input_init or glorot(), 2)(key, (2 * H, d), dtype),
            "b": jnp.zeros(2 * H, dtype),
        }
        return params | ({"h_0": jnp.zeros(H, dtype)} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["W_x"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("min_gru", params, {"W_x": (2 * H, d), "b": (2 * H,)})
        _checks.one_sequence("min_gru", x_t, h_tm1, d, H)
        gate, candidate = jnp.split(params["W_x"] @ x_t + params["b"], 2)
        # 1 - σ as σ(-gate): it is the Jacobian, and 1 - σ is 0 in float32 from gate = 17 on.
        h_t = sigmoid(-gate) * h_tm1 + sigmoid(gate) * candidate
        return h_t, h_t

    return Cell(init, init_state, step)
