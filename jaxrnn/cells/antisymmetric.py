"""The antisymmetric cell: an Euler step of a differential equation that neither grows nor decays."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells import activations
from jaxrnn.cells.initializers import Initializer, ungated
from jaxrnn.types import Cell

__all__ = ["antisymmetric"]


@_checks.signature("antisymmetric")
def antisymmetric(
    input_size: int,
    hidden_size: int,
    *,
    step_size: float = 0.01,
    damping: float = 0.01,
    activation: str | activations.Activation = "tanh",
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The AntisymmetricRNN ``h_t = h_{t-1} + ε φ(M h_{t-1} + W_hx x_t + b_h)``, ``y_t = h_t`` (E20, E21).

    ``M = A - Aᵀ - damping I`` has all its eigenvalues on Re = -damping, whatever A is, so
    ``J_t = I + ε diag(φ'(z_t)) M`` is near a rotation for a small step size ε.

    The step is forward Euler's, hence not exactly stable: of a linear cell an eigenvalue -damping ± iω of M
    becomes one of J_t with modulus² (1 - ε damping)² + (εω)², which is at most 1 where
    ε (damping² + ω²) <= 2 damping. Without damping all but ω = 0 grow, by about ε²ω²/2 nats per step.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    step_size : ε > 0.
    damping : the paper's γ >= 0, which is not the γ = sup|φ'| of E14.
    activation : a name of `activations.NAMES`, or an Activation.
    input_init, recurrent_init : initializers of W_hx (default Glorot) and of A (default orthogonal, so that
        ω <= 2 at the start).
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_hx": [H, d], "A": [H, H], "b_h": [H]}``, state [H].

    Raises
    ------
    ValueError
        If step_size is not positive and finite, damping is negative or not finite, or a size is below 1.

    Example
    -------
    >>> import jax
    >>> cell = antisymmetric(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.shape
    (4,)

    Reference
    ---------
    Chang, Chen, Haber & Chi, AntisymmetricRNN: a dynamical system view on recurrent neural networks, 2019.
    """
    d = _checks.at_least("antisymmetric", "input_size", input_size, 1)
    H = _checks.at_least("antisymmetric", "hidden_size", hidden_size, 1)
    if not 0 < step_size < math.inf:
        raise ValueError(f"antisymmetric: step_size is {step_size}; expected a positive, finite number.")
    if not 0 <= damping < math.inf:
        raise ValueError(f"antisymmetric: damping is {damping}; expected 0 <= damping < infinity.")
    phi = activations.get(activation)

    def init(key):
        params = ungated(key, d, H, input_init, recurrent_init, square="A")
        return params | ({"h_0": jnp.zeros_like(params["b_h"])} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["A"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("antisymmetric", params, {"W_hx": (H, d), "A": (H, H), "b_h": (H,)})
        _checks.one_sequence("antisymmetric", x_t, h_tm1, d, H)
        A = params["A"]
        M = A - A.T - damping * jnp.eye(H, dtype=A.dtype)
        h_t = h_tm1 + step_size * phi(M @ h_tm1 + params["W_hx"] @ x_t + params["b_h"])
        return h_t, h_t

    return Cell(init, init_state, step)
