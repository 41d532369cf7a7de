"""Backpropagation through time of an Elman network, derived by hand: E1 and E5-E9, with every intermediate.

Nothing here calls `jax.grad`. The module is the lecture's derivation in code, to be read beside it;
`gradients.full` computes the same numbers for any network, faster.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._result_type import result_type
from jaxrnn.types import Params

__all__ = ["BPTT", "ForwardRecursion", "bptt", "forward_recursion", "linear_state_gradients"]

# φ'(z), from the pre-activation and from h = φ(z).
_DERIVATIVES = {
    "linear": lambda z, _: jnp.ones_like(z),
    "relu": lambda z, _: (z > 0).astype(z.dtype),
    "sigmoid": lambda z, h: h * jax.nn.sigmoid(-z),
    "tanh": lambda z, _: 4 * jax.nn.sigmoid(2 * z) * jax.nn.sigmoid(-2 * z),
}
_ACTIVATIONS = {"linear": lambda z: z, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}

# ŷ = φ_y(o) and ℓ(o, target), paired so that ∂ℓ/∂o = ŷ - target.
_HEADS = {
    "identity": (lambda o: o, lambda o, y: 0.5 * jnp.sum((o - y) ** 2)),
    "softmax": (jax.nn.softmax, lambda o, y: -jnp.sum(y * jax.nn.log_softmax(o))),
    "sigmoid": (jax.nn.sigmoid, lambda o, y: jnp.sum(jax.nn.softplus(o) - y * o)),
}


@result_type
class BPTT(NamedTuple):
    """Every intermediate of one forward and one backward pass; rows are t = 1..T."""

    loss: Float[Array, ""]
    zs: Float[Array, "T n"]
    hs: Float[Array, "T n"]
    os: Float[Array, "T m"]
    y_hats: Float[Array, "T m"]
    dL_do: Float[Array, "T m"]
    """∂L/∂o_t = (1/T)(ŷ_t - target_t) (E5)."""
    dL_dh: Float[Array, "T n"]
    """∂L/∂h_t = J_{t+1}ᵀ ∂L/∂h_{t+1} + W_yhᵀ ∂L/∂o_t (E6)."""
    deltas: Float[Array, "T n"]
    """δ_t = ∂L/∂z_t = φ'(z_t) ⊙ ∂L/∂h_t (E8)."""
    grads: Params
    """∂L/∂W_hx = Σ δ_t x_tᵀ, ∂L/∂W_hh = Σ δ_t h_{t-1}ᵀ, ∂L/∂b_h = Σ δ_t (E8); ∂L/∂W_yh, ∂L/∂b_y (E5)."""


@result_type
class ForwardRecursion(NamedTuple):
    """E9, ``a_t = b_t + c_t a_{t-1}``, for w = (W_hx, W_hh, b_h) raveled in this order; P entries."""

    a: Float[Array, "T n P"]
    """a_t = dh_t/dw, the total derivative."""
    b: Float[Array, "T n P"]
    """b_t = ∂⁺h_t/∂w, with h_{t-1} held fixed."""
    c: Float[Array, "T n n"]
    """c_t = ∂h_t/∂h_{t-1} = diag(φ'(z_t)) W_hh (E11)."""


@_checks.signature("by_hand.bptt")
def bptt(
    params: Params,
    h_0: Float[Array, " n"],
    xs: Float[Array, "T d"],
    targets: Float[Array, "T m"],
    *,
    activation: str = "tanh",
    head: str = "softmax",
) -> BPTT:
    """Forward and backward pass of one sequence, step by step as in the notes (E1, E2, E5, E6, E8).

    Parameters
    ----------
    params : ``{"W_hx": [n, d], "W_hh": [n, n], "b_h": [n], "W_yh": [m, n], "b_y": [m]}``.
    h_0 : initial state.
    xs : inputs.
    targets : real-valued targets; one-hot rows for the softmax head.
    activation : φ, one of linear, relu, sigmoid, tanh.
    head : φ_y with its loss: ``identity`` (½ squared error), ``softmax`` (cross-entropy) or ``sigmoid``
        (binary cross-entropy).

    Returns
    -------
    BPTT
        The loss (mean form of E2) and every intermediate.

    Raises
    ------
    ValueError
        If the activation or head is unknown.

    Example
    -------
    >>> params = {"W_hx": jnp.eye(1), "W_hh": jnp.eye(1), "b_h": jnp.zeros(1)}
    >>> params |= {"W_yh": jnp.eye(1), "b_y": jnp.zeros(1)}
    >>> xs, ys = jnp.ones((2, 1)), jnp.zeros((2, 1))
    >>> bptt(params, jnp.zeros(1), xs, ys, activation="linear", head="identity").dL_dh.ravel()
    Array([1.5, 1. ], dtype=float32)
    """
    _checks.choice("by_hand.bptt", "activation", activation, _ACTIVATIONS)
    _checks.choice("by_hand.bptt", "head", head, _HEADS)
    m = jnp.shape(targets)[1]
    _same_network("by_hand.bptt", params, h_0, xs, {"W_yh": (m, len(h_0)), "b_y": (m,)})
    predict, step_loss = _HEADS[head]
    W_hx, W_hh, W_yh = params["W_hx"], params["W_hh"], params["W_yh"]
    T = xs.shape[0]

    def forward(h_tm1, x_t):
        z_t = W_hx @ x_t + W_hh @ h_tm1 + params["b_h"]
        h_t = _ACTIVATIONS[activation](z_t)
        return h_t, (z_t, h_t, W_yh @ h_t + params["b_y"])

    _, (zs, hs, os) = lax.scan(forward, h_0, xs)
    y_hats = jax.vmap(predict)(os)
    loss = jnp.mean(jax.vmap(step_loss)(os, targets))

    dL_do = (y_hats - targets) / T
    slopes = _DERIVATIVES[activation](zs, hs)

    def backward(from_future, inputs):
        dL_do_t, slope_t = inputs
        dL_dh_t = from_future + W_yh.T @ dL_do_t
        delta_t = slope_t * dL_dh_t
        return W_hh.T @ delta_t, (dL_dh_t, delta_t)  # J_tᵀ ∂L/∂h_t = W_hhᵀ δ_t

    _, (dL_dh, deltas) = lax.scan(backward, jnp.zeros_like(h_0), (dL_do, slopes), reverse=True)
    h_tm1s = jnp.concatenate([h_0[None], hs])[:-1]
    grads = {
        "W_hx": deltas.T @ xs,
        "W_hh": deltas.T @ h_tm1s,
        "b_h": jnp.sum(deltas, axis=0),
        "W_yh": dL_do.T @ hs,
        "b_y": jnp.sum(dL_do, axis=0),
    }
    return BPTT(loss, zs, hs, os, y_hats, dL_do, dL_dh, deltas, grads)


@_checks.signature("by_hand.forward_recursion")
def forward_recursion(
    params: Params, h_0: Float[Array, " n"], xs: Float[Array, "T d"], *, activation: str = "tanh"
) -> ForwardRecursion:
    """``a_t = dh_t/dw`` by the recursion forward in time (E9), with a_0 = 0.

    The gradient is then ``Σ_t ∂L/∂o_t W_yh a_t``, without going back in time (RTRL).

    Parameters
    ----------
    params, h_0, xs, activation : as `bptt`; the readout's entries are not used.

    Notes
    -----
    Time T·n²·P and memory T·n·P, with P = n(d + n + 1): for small networks.

    Example
    -------
    >>> params = {"W_hx": jnp.eye(1), "W_hh": 0.5 * jnp.eye(1), "b_h": jnp.zeros(1)}
    >>> forward_recursion(params, jnp.zeros(1), jnp.ones((2, 1)), activation="linear").a[:, 0]
    Array([[1. , 0. , 1. ],
           [1.5, 1. , 1.5]], dtype=float32)
    """
    _checks.choice("by_hand.forward_recursion", "activation", activation, _ACTIVATIONS)
    _same_network("by_hand.forward_recursion", params, h_0, xs, {})
    W_hx, W_hh = params["W_hx"], params["W_hh"]
    n = h_0.shape[0]
    eye = jnp.eye(n, dtype=h_0.dtype)

    def advance(carry, x_t):
        h_tm1, a_tm1 = carry
        z_t = W_hx @ x_t + W_hh @ h_tm1 + params["b_h"]
        h_t = _ACTIVATIONS[activation](z_t)
        slope = _DERIVATIVES[activation](z_t, h_t)[:, None]
        # ∂z[i]/∂W[j, :] is the input row where i = j, so each block is I ⊗ (x_t, h_{t-1}, 1).
        b_t = slope * jnp.concatenate([jnp.kron(eye, x_t), jnp.kron(eye, h_tm1), eye], axis=1)
        c_t = slope * W_hh
        a_t = b_t + c_t @ a_tm1
        return (h_t, a_t), (a_t, b_t, c_t)

    size = W_hx.size + W_hh.size + n
    _, (a, b, c) = lax.scan(advance, (h_0, jnp.zeros((n, size), h_0.dtype)), xs)
    return ForwardRecursion(a, b, c)


@_checks.signature("by_hand.linear_state_gradients")
def linear_state_gradients(
    W_hh: Float[Array, "n n"], W_yh: Float[Array, "m n"], dL_do: Float[Array, "T m"]
) -> Float[Array, "T n"]:
    """∂L/∂h_t of a linear RNN in closed form, ``Σ_{i=t}^{T} (W_hhᵀ)^{T-i} W_yhᵀ ∂L/∂o_{T+t-i}`` (E7).

    Written with explicit matrix powers, as printed: a term is lost or explodes with its power of W_hh.

    Notes
    -----
    Time T²/2 products of n×n with a vector, after T powers of W_hh; memory T·n².

    Example
    -------
    >>> linear_state_gradients(2 * jnp.eye(1), jnp.eye(1), jnp.ones((3, 1))).ravel()  # 1+2+4, 1+2, 1
    Array([7., 3., 1.], dtype=float32)
    """
    T, n, dL_do = dL_do.shape[0], W_hh.shape[0], jnp.asarray(dL_do)
    _, powers = lax.scan(lambda P, _: (W_hh.T @ P, P), jnp.eye(n, dtype=W_hh.dtype), length=T)
    rows = [jnp.zeros((0, n), W_hh.dtype)]
    for t in range(1, T + 1):
        i = jnp.arange(t, T + 1)
        rows.append(jnp.einsum("pab,pb->a", powers[T - i], dL_do[T + t - i - 1] @ W_yh)[None])
    return jnp.concatenate(rows)


def _same_network(function, params, h_0, xs, readout):
    """Raise unless the parameters are of this state and these inputs, in one dtype."""
    (n,), d = jnp.shape(h_0), jnp.shape(xs)[1]
    sizes = {"W_hx": (n, d), "W_hh": (n, n), "b_h": (n,), **readout}
    _checks.parameters(function, params, sizes)
    dtypes = {str(leaf.dtype) for leaf in (h_0, xs, *(params[name] for name in sizes))}
    if len(dtypes) > 1:
        raise TypeError(
            f"{function}: params, h_0 and xs are of {', '.join(sorted(dtypes))}; expected one dtype."
        )
