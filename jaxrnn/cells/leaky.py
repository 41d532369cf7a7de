"""The leaky integrator: a vanilla cell that keeps a part of its state."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells import activations
from jaxrnn.cells.initializers import Initializer, ungated
from jaxrnn.types import Cell

__all__ = ["leaky"]


@_checks.signature("leaky")
def leaky(
    input_size: int,
    hidden_size: int,
    *,
    alpha: float = 0.5,
    learned_alpha: bool = False,
    activation: str | activations.Activation = "tanh",
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The leaky cell ``h_t = (1-α) h_{t-1} + α φ(W_hx x_t + W_hh h_{t-1} + b_h)``, with ``y_t = h_t`` (E20).

    Its step Jacobian ``J_t = (1-α) I + α diag(φ'(z_t)) W_hh`` keeps the gradient over about 1/α steps where
    the units saturate. What is kept and what is new sum to 1: α = 1 is `elman`.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    alpha : the leak 0 < α <= 1, or, if learned, its start 0 < α < 1.
    learned_alpha : whether every unit has its own α = σ(a), with ``params["a"]`` [H] a parameter.
    activation : a name of `activations.NAMES`, or an Activation.
    input_init, recurrent_init : initializers of W_hx (default Glorot) and W_hh (default orthogonal).
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_hx": [H, d], "W_hh": [H, H], "b_h": [H]}``, state [H].

    Raises
    ------
    ValueError
        If alpha is out of its range, or a size below 1.

    Example
    -------
    >>> import jax
    >>> cell = leaky(3, 4, alpha=0.1)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.shape
    (4,)

    Reference
    ---------
    Jaeger, Lukosevicius, Popovici & Siewert, Optimization and applications of echo state networks with
    leaky-integrator neurons, 2007.
    """
    d = _checks.at_least("leaky", "input_size", input_size, 1)
    H = _checks.at_least("leaky", "hidden_size", hidden_size, 1)
    if not (0 < alpha < 1 if learned_alpha else 0 < alpha <= 1):
        expected = "0 < alpha < 1 where it is learned" if learned_alpha else "0 < alpha <= 1"
        raise ValueError(f"leaky: alpha is {alpha}; expected {expected}.")
    phi = activations.get(activation)
    shapes = {"W_hx": (H, d), "W_hh": (H, H), "b_h": (H,)} | ({"a": (H,)} if learned_alpha else {})

    def init(key):
        params = ungated(key, d, H, input_init, recurrent_init)
        if learned_alpha:
            params["a"] = jnp.full(H, math.log(alpha / (1 - alpha)), params["b_h"].dtype)
        return params | ({"h_0": jnp.zeros_like(params["b_h"])} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["W_hh"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("leaky", params, shapes)
        _checks.one_sequence("leaky", x_t, h_tm1, d, H)
        # 1 - σ(a) as σ(-a), which keeps its digits near 0.
        kept, new = (1 - alpha, alpha)
        if learned_alpha:
            kept, new = activations.sigmoid(-params["a"]), activations.sigmoid(params["a"])
        z_t = params["W_hx"] @ x_t + params["W_hh"] @ h_tm1 + params["b_h"]
        h_t = kept * h_tm1 + new * phi(z_t)
        return h_t, h_t

    return Cell(init, init_state, step)
