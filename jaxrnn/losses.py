"""optax's losses in the shape of a StepLoss, ``step_loss(params, y_t, target_t) -> scalar`` (E2).

Each belongs to one prediction ŷ = φ_y(o) of E1, and y_t is always the raw output o_t:

=================================  ===============================  ========================
loss                               prediction ŷ                     ∂ℓ/∂o
=================================  ===============================  ========================
`squared_error`                    o (identity)                     ŷ - target
`softmax_cross_entropy`            softmax(o)                       ŷ - one-hot(target)
`sigmoid_binary_cross_entropy`     sigmoid(o)                       ŷ - target
=================================  ===============================  ========================
"""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxrnn import _checks
from jaxrnn.types import Params

__all__ = ["sigmoid_binary_cross_entropy", "softmax_cross_entropy", "squared_error"]

_SAME = "A target has the shape of y_t; nothing is broadcast."


@_checks.signature("losses.squared_error")
def squared_error(
    params: Params, y_t: Float[Array, "*out"], target_t: Float[Array, "*out"]
) -> Float[Array, ""]:
    """½ Σ (y - target)² over the outputs of one step (regression).

    >>> squared_error(None, jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]))
    Array(2., dtype=float32)
    """
    del params
    _checks.shape("losses.squared_error", "target_t", target_t, jnp.shape(y_t), _SAME)
    return jnp.sum(optax.l2_loss(y_t, target_t))


@_checks.signature("losses.softmax_cross_entropy")
def softmax_cross_entropy(
    params: Params, y_t: Float[Array, " classes"], target_t: Int[Array, ""]
) -> Float[Array, ""]:
    """-ln softmax(y)[target] in nats (one class of many); NaN where the target is none of the classes.

    >>> softmax_cross_entropy(None, jnp.zeros(4), jnp.array(2))  # ln 4
    Array(1.3862944, dtype=float32)
    """
    del params
    if not jnp.shape(y_t)[0]:
        raise ValueError("losses.softmax_cross_entropy: y_t is empty; expected at least one class.")
    # A label of -1 would count from the end.
    inside = (target_t >= 0) & (target_t < jnp.shape(y_t)[0])
    return jnp.where(inside, _cross_entropy(y_t, target_t), jnp.nan)


def _cross_entropy(y_t, target_t):
    return optax.softmax_cross_entropy_with_integer_labels(y_t, target_t)


@_checks.signature("losses.sigmoid_binary_cross_entropy")
def sigmoid_binary_cross_entropy(
    params: Params, y_t: Float[Array, "*out"], target_t: Float[Array, "*out"]
) -> Float[Array, ""]:
    """Σ of binary cross-entropies in nats (independent yes/no outputs).

    >>> sigmoid_binary_cross_entropy(None, jnp.zeros(1), jnp.ones(1))  # ln 2
    Array(0.6931472, dtype=float32)
    """
    del params
    _checks.shape("losses.sigmoid_binary_cross_entropy", "target_t", target_t, jnp.shape(y_t), _SAME)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(y_t, target_t))
