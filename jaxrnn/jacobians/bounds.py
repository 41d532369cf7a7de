"""Upper bounds of ‖∂h_t/∂h_k‖₂, E14."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn.jacobians import _scaled

__all__ = ["norm_bound", "product_bound", "sums_over_spans"]


@_checks.signature("jacobians.norm_bound")
def norm_bound(
    W_hh: Float[Array, "n n"], lags: Int[Array, "*lags"] | int, *, gamma: float = 1.0
) -> Float[Array, "*lags"]:
    """``ln (γλ)^lag``, the bound ``‖∂h_t/∂h_k‖₂ <= (γλ)^(t-k)`` of an Elman cell, in nats (E14).

    λ = ‖W_hh‖₂ is the largest singular value. γλ < 1 is sufficient for the gradient to vanish;
    γλ > 1 is necessary for it to explode, not sufficient.

    Parameters
    ----------
    W_hh : the recurrent matrix.
    lags : t - k, any integers >= 0.
    gamma : γ = sup|φ'|, the ``gamma`` of the cell's Activation: tanh 1, sigmoid 1/4.

    Raises
    ------
    ValueError
        If W_hh is not square, or gamma or a (concrete) lag is negative.

    Example
    -------
    >>> norm_bound(jnp.array([[2.0]]), 3, gamma=0.25)  # 3 ln(1/2)
    Array(-2.0794415, dtype=float32)

    Reference
    ---------
    Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, 2013.
    """
    if jnp.ndim(W_hh) != 2 or W_hh.shape[0] != W_hh.shape[1]:
        raise ValueError(f"jacobians.norm_bound: W_hh has shape {jnp.shape(W_hh)}; expected [n, n].")
    # NumPy's own array: jax.Array has a min of its own, which under jit is not known here.
    if not isinstance(lags, jax.core.Tracer) and np.min(np.asarray(lags), initial=0) < 0:
        lowest = np.min(np.asarray(lags))
        raise ValueError(f"jacobians.norm_bound: lags go down to {lowest}; expected t - k >= 0.")
    if gamma < 0:
        raise ValueError(f"jacobians.norm_bound: gamma is {gamma}; a supremum of |φ'| is at least 0.")
    W_hh = _scaled.widen(W_hh)
    lags = jnp.asarray(lags).astype(W_hh.dtype)
    log_rate = jnp.log(gamma * jnp.linalg.norm(W_hh, 2))
    return jnp.where(lags == 0, 0.0, lags * log_rate)


@_checks.signature("jacobians.product_bound")
@compiled
def product_bound(js: Float[Array, "T n n"]) -> Float[Array, "T1 T1"]:
    """``Σ_{i=k+1}^{t} ln ‖J_i‖₂``, the middle term of E14, at [t, k] in nats; -inf above the diagonal.

    It holds for every cell, gated ones included, and lies between `norms` and `norm_bound`.

    Example
    -------
    >>> product_bound(jnp.full((3, 1, 1), 0.5))[3, 0]
    Array(-2.0794415, dtype=float32)
    """
    _checks.jacobian_chain("jacobians.product_bound", js)
    js, exponents = _scaled.normalise(_scaled.widen(js))
    log_J = jnp.log(jnp.linalg.norm(js, 2, axis=(1, 2))) + exponents.astype(js.dtype) * _scaled.LN2
    return sums_over_spans(log_J)


def sums_over_spans(log_J: Float[Array, " T"]) -> Float[Array, "T1 T1"]:
    """``Σ_{i=k+1}^{t} log_J_i`` at [t, k]; -inf above the diagonal.

    Sums, not differences of running sums, in which a J of 0 would leave -inf - -inf.
    """
    T = len(log_J)

    def row(carry, inputs):
        t, log_J_t = inputs
        carry = jnp.where(jnp.arange(T + 1) < t, carry + log_J_t, carry).at[t].set(0.0)
        return carry, carry

    first = jnp.full(T + 1, -jnp.inf, log_J.dtype).at[0].set(0.0)
    _, rows = lax.scan(row, first, (jnp.arange(1, T + 1), log_J))
    return jnp.concatenate([first[None], rows])
