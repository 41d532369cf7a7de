"""The minimal gated unit: a GRU with one gate."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.activations import sigmoid, tanh
from jaxrnn.cells.initializers import Initializer, gated, keep_bias
from jaxrnn.cells.normalization import Normalization, added_shapes
from jaxrnn.types import Cell

__all__ = ["mgu"]


@_checks.signature("mgu")
def mgu(
    input_size: int,
    hidden_size: int,
    *,
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    chrono: int | None = None,
    normalization: Normalization | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The MGU cell ``h_t = (1-f)⊙h_{t-1} + f⊙tanh(W_n x_t + f⊙(U_n h_{t-1} + b_hn) + b_n)``.

    Its one gate ``f = σ(W_f x_t + U_f h_{t-1} + b_f)`` both resets and updates; ``y_t = h_t``. The gate
    follows the product, as in our GRU (E4), where the paper has ``U_n (f⊙h_{t-1})``: so a step needs
    one product. Its direct path ``∂h_t/∂h_{t-1} ⊇ diag(1-f_t)`` (E16) keeps the gradient while f is
    near 0, whatever the paper's name of that gate, forget, suggests.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    input_init, recurrent_init : initializers, per gate, of W_x (default Glorot) and W_h (orthogonal).
    chrono : the longest lag expected, in steps, or None. b's f block starts at minus
        `initializers.chrono` of it instead of 0, as 1-f keeps h.
    normalization : `layer_norm` or `batch_norm` of ``W_x x_t`` and of ``W_h h_{t-1}``, each gate by itself,
        before biases are added; ``params["gain_x"]`` and ``params["gain_h"]`` [2H] are then parameters too.
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_x": [2H, d], "W_h": [2H, H], "b": [2H], "b_hn": [H]}`` with gates f, n in this
        order; state [H].

    Raises
    ------
    ValueError
        If a size is below 1 or chrono below 2; from step, if parameters, h_tm1 or x_t do not fit.

    Example
    -------
    >>> import jax
    >>> cell = mgu(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), jnp.ones(3))[0].shape
    (4,)

    Reference
    ---------
    Zhou et al., Minimal gated unit for recurrent neural networks, 2016; Tallec & Ollivier, Can
    recurrent neural networks warp time?, 2018, for chrono.
    """
    d = _checks.at_least("mgu", "input_size", input_size, 1)
    H = _checks.at_least("mgu", "hidden_size", hidden_size, 1)
    keep = keep_bias(chrono)
    added = added_shapes("mgu", normalization, gain_x=2 * H, gain_h=2 * H)

    def init(key):
        params = gated(key, 2, d, H, input_init, recurrent_init)
        zeros = params["b"][:H]
        params["b"] = jnp.concatenate([-keep(key, (H,), zeros.dtype), zeros])
        if normalization:
            params |= normalization.start(added, zeros.dtype)
        # h_0 is not the same zeros, because jit takes no buffer twice as donated.
        return params | {"b_hn": zeros} | ({"h_0": jnp.zeros_like(zeros)} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["W_h"].dtype)

    def step(params, h_tm1, x_t):
        shapes = {"W_x": (2 * H, d), "W_h": (2 * H, H), "b": (2 * H,), "b_hn": (H,), **added}
        _checks.parameters("mgu", params, shapes)
        _checks.one_sequence("mgu", x_t, h_tm1, d, H)
        from_x, from_h = params["W_x"] @ x_t, params["W_h"] @ h_tm1
        if normalization:
            from_x, from_h = (
                normalization(params[gain], z, 2) for gain, z in zip(added, (from_x, from_h), strict=True)
            )
        x_f, x_n = jnp.split(from_x + params["b"], 2)
        h_f, h_n = jnp.split(from_h, 2)
        z_f = x_f + h_f
        f = sigmoid(z_f)
        n = tanh(x_n + f * (h_n + params["b_hn"]))
        # σ(-z) keeps the digits of a nearly closed path, which 1 - σ(z) would round to 0.
        h_t = sigmoid(-z_f) * h_tm1 + f * n
        return h_t, h_t

    return Cell(init, init_state, step)
