"""The gated recurrent unit, E4 (reset after)."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid, tanh
from jaxrnn.cells.initializers import Initializer, gated, keep_bias
from jaxrnn.cells.normalization import Normalization, added_shapes
from jaxrnn.types import Cell

__all__ = ["gru"]


@_checks.signature("gru")
def gru(
    input_size: int,
    hidden_size: int,
    *,
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    chrono: int | None = None,
    normalization: Normalization | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The GRU cell ``h_t = z⊙h_{t-1} + (1-z)⊙tanh(W_h x_t + r⊙(U_h h_{t-1} + b_hn) + b_h)`` (E4).

    Reset after the product, as torch, Flax and Equinox have it; ``y_t = h_t``. Its direct path
    ``∂h_t/∂h_{t-1} ⊇ diag(z_t)`` (E16) keeps the gradient while z is near 1.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init, recurrent_init : initializers, per gate, of W_x (default Glorot) and W_h (orthogonal).
    chrono : the longest lag expected, in steps, or None. b's z block, which keeps h, starts at
        `initializers.chrono` of it instead of 0.
    normalization : `layer_norm` or `batch_norm` of ``W_x x_t`` and of ``W_h h_{t-1}``, each gate by itself,
        before biases are added; ``params["gain_x"]`` and ``params["gain_h"]`` [3H] are then parameters too.
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_x": [3H, d], "W_h": [3H, H], "b": [3H], "b_hn": [H]}`` with gates r, z, n in this
        order; state [H].

    Raises
    ------
    ValueError
        If a size is below 1 or chrono below 2; from step, if parameters, h_tm1 or x_t do not fit.

    Example
    -------
    >>> import jax
    >>> cell = gru(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[0].shape
    (4,)

    Reference
    ---------
    Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; Tallec &
    Ollivier, Can recurrent neural networks warp time?, 2018, for chrono.
    """
    d = _checks.at_least("gru", "input_size", input_size, 1)
    H = _checks.at_least("gru", "hidden_size", hidden_size, 1)
    b_z = keep_bias(chrono)
    added = added_shapes("gru", normalization, gain_x=3 * H, gain_h=3 * H)

    def init(key):
        params = gated(key, 3, d, H, input_init, recurrent_init)
        zeros = params["b"][:H]
        params["b"] = jnp.concatenate([zeros, b_z(key, (H,), zeros.dtype), zeros])
        if normalization:
            # Two arrays, because jit takes no buffer twice as donated.
            params |= normalization.start(added, zeros.dtype)
        # Nor is h_0 the same zeros, because jit takes no buffer twice as donated.
        return params | {"b_hn": zeros} | ({"h_0": jnp.zeros_like(zeros)} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["W_h"].dtype)

    def step(params, h_tm1, x_t):
        shapes = {"W_x": (3 * H, d), "W_h": (3 * H, H), "b": (3 * H,), "b_hn": (H,), **added}
        _checks.parameters("gru", params, shapes)
        _checks.one_sequence("gru", x_t, h_tm1, d, H)
        from_x, from_h = params["W_x"] @ x_t, params["W_h"] @ h_tm1
        if normalization:
            from_x, from_h = (
                normalization(params[gain], z, 3) for gain, z in zip(added, (from_x, from_h), strict=True)
            )
        x_r, x_z, x_n = jnp.split(from_x + params["b"], 3)
        h_r, h_z, h_n = jnp.split(from_h, 3)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = tanh(x_n + r * (h_n + params["b_hn"]))
        h_t = z * h_tm1 + (1 - z) * n
        return h_t, h_t

    return Cell(init, init_state, step)
