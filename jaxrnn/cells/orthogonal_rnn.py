"""A vanilla cell whose recurrent matrix stays orthogonal, whatever the optimizer does to its parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn.cells import activations
from jaxrnn.cells.initializers import Initializer, ungated
from jaxrnn.types import Cell

__all__ = ["orthogonal_matrix", "orthogonal_rnn"]

_PARAMETRIZATIONS = ("exponential", "cayley")


@_checks.signature("orthogonal_rnn")
def orthogonal_rnn(
    input_size: int,
    hidden_size: int,
    *,
    activation: str | activations.Activation = "modrelu",
    parametrization: str = "exponential",
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    learned_h_0: bool = False,
) -> Cell:
    """The cell ``h_t = φ(W_hx x_t + W h_{t-1} + b_h)``, ``y_t = h_t``, with ``W`` orthogonal (E1, E20, E21).

    W = `orthogonal_matrix` of the unconstrained parameter A. Its step Jacobian ``J_t = diag(φ'(z_t)) W`` has
    singular values |φ'(z_t)| (E11): products of them never explode if γ = sup|φ'| <= 1, and vanish by
    the slopes alone.

    The field's φ is modrelu, ``sign(z) relu(|z| + b_h)`` of ``z = W_hx x_t + W h_{t-1}`` (Arjovsky et al.
    2016). It is none of `activations`, because b_h is a threshold within it, not a term of z. Its slopes are
    1 or 0, and all 1 while b_h >= 0, so at the start, b_h = 0, the cell is linear and no gradient is lost.

    Parameters
    ----------
    input_size, hidden_size : d and H.
    activation : "modrelu", a name of `activations.NAMES`, or an Activation.
    parametrization : "exponential" or "cayley", see `orthogonal_matrix`.
    input_init : initializer of W_hx (default Glorot).
    recurrent_init : initializer of A. By default W starts, in either parametrization, as rotations of pairs
        of units by angles uniform in [0, π/2] (Helfrich et al. 2018).
    learned_h_0 : whether ``params["h_0"]`` [H] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"W_hx": [H, d], "A": [H, H], "b_h": [H]}``, state [H].

    Raises
    ------
    ValueError
        If activation or parametrization is unknown, or a size below 1.

    Notes
    -----
    W costs O(H³). `unroll` computes it once a sequence; a loop of one's own that calls `step` leaves that to
    the compiler.

    Example
    -------
    >>> cell = orthogonal_rnn(3, 4)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.shape
    (4,)

    Reference
    ---------
    Lezcano-Casado & Martinez-Rubio, Cheap orthogonal constraints in neural networks, 2019; Helfrich,
    Willmott & Ye, Orthogonal recurrent neural networks with scaled Cayley transform, 2018; Arjovsky, Shah &
    Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    d = _checks.at_least("orthogonal_rnn", "input_size", input_size, 1)
    H = _checks.at_least("orthogonal_rnn", "hidden_size", hidden_size, 1)
    _checks.choice("orthogonal_rnn", "parametrization", parametrization, _PARAMETRIZATIONS)
    if not isinstance(activation, activations.Activation):
        _checks.choice("orthogonal_rnn", "activation", activation, (*activations.NAMES, "modrelu"))
    phi = None if activation == "modrelu" else activations.get(activation)

    def init(key):
        params = ungated(key, d, H, input_init, recurrent_init or _rotations(parametrization), square="A")
        return params | ({"h_0": jnp.zeros_like(params["b_h"])} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros(H, params["A"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("orthogonal_rnn", params, {"W_hx": (H, d), "A": (H, H), "b_h": (H,)})
        _checks.one_sequence("orthogonal_rnn", x_t, h_tm1, d, H)
        W = orthogonal_matrix(params["A"], parametrization=parametrization)
        z, b = params["W_hx"] @ x_t + W @ h_tm1, params["b_h"]
        h_t = _modrelu(z, b) if phi is None else phi(z + b)
        return h_t, h_t

    return Cell(init, init_state, step)


@_checks.signature("orthogonal_matrix")
def orthogonal_matrix(A: Float[Array, "H H"], *, parametrization: str = "exponential") -> Float[Array, "H H"]:
    """The orthogonal matrix of ``S = A - Aᵀ``: ``exp(S)``, or Cayley's ``(I + S)⁻¹ (I - S)``.

    Every A is allowed; its symmetric part has no effect. Both give det W = 1, and Cayley's comes only near
    an eigenvalue of -1. ``‖WᵀW - I‖₂`` is a few eps: in float32 below 1e-6 up to H = 256.

    Raises
    ------
    ValueError
        If the parametrization is unknown.

    Example
    -------
    >>> A = jax.random.normal(jax.random.key(0), (3, 3))
    >>> W = orthogonal_matrix(A, parametrization="cayley")
    >>> bool(jnp.allclose(W.T @ W, jnp.eye(3), atol=1e-6))
    True
    """
    _checks.choice("orthogonal_matrix", "parametrization", parametrization, _PARAMETRIZATIONS)
    # Neither solve nor expm takes bfloat16 or float16.
    exact = A if A.dtype.itemsize >= 4 else A.astype(jnp.float32)
    S = exact - exact.T
    if parametrization == "exponential":
        W = jax.scipy.linalg.expm(S)
    else:
        unit = jnp.eye(len(S), dtype=S.dtype)
        W = jnp.linalg.solve(unit + S, unit - S)
    # Exact arithmetic has nothing to correct, so the correction has no derivative. jax.checkpoint keeps
    # `mixed_precision` from rounding its operands, which would leave W orthogonal to three digits only.
    return (W + jax.checkpoint(_correction)(lax.stop_gradient(W))).astype(A.dtype)


def _correction(W):
    """Newton and Schulz's step to the nearest orthogonal matrix.

    Rounding in solve and expm leaves ‖WᵀW - I‖ at 60 eps for H = 128; after this it is 4 eps.
    """
    gram = jnp.matmul(W.T, W, precision=lax.Precision.HIGHEST)
    return jnp.matmul(W, jnp.eye(len(W), dtype=W.dtype) - gram, precision=lax.Precision.HIGHEST) / 2


def _modrelu(z, b):
    # Not sign(z) relu(|z| + b), whose slope by autodiff is 0 at z = 0, where a silent sequence starts.
    # Nor where |z| + b >= 0, which would turn NaN into a zero.
    return jnp.where(jnp.abs(z) + b < 0, 0, z + jnp.sign(z) * b)


def _rotations(parametrization):
    """A whose W rotates pairs of units; an odd unit is left as it is."""

    def init(key, shape, dtype=None):
        pairs = jnp.arange(0, shape[0] - 1, 2)
        angles = jax.random.uniform(key, pairs.shape, dtype, maxval=jnp.pi / 2)
        angles = angles if parametrization == "exponential" else -jnp.tan(angles / 2)
        return jnp.zeros(shape, dtype).at[pairs, pairs + 1].set(angles)

    return init
