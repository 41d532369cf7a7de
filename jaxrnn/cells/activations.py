"""Activations φ with γ = sup|φ'|, and derivatives that stay right under saturation (E13, E14, E20)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks

__all__ = ["NAMES", "Activation", "elu", "get", "leaky_relu", "linear", "relu", "sigmoid", "tanh"]


class Activation(NamedTuple):
    """φ and its γ = sup|φ'|, the constant of the bound (γλ)^(t-k) (E14)."""

    name: str
    fn: Callable[[Array], Array]
    gamma: float

    def __call__(self, z: Float[Array, ...]) -> Float[Array, ...]:
        """φ(z), elementwise."""
        return self.fn(z)


@jax.custom_jvp
def _sigmoid(z):
    return lax.logistic(z)


@_sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    # σ(z)σ(-z) keeps all digits where σ(z)(1 - σ(z)) cancels: at z = 17 float32 gives 0 there.
    (z,), (dz,) = primals, tangents
    y = _sigmoid(z)
    return y, y * _sigmoid(-z) * dz


@jax.custom_jvp
def _tanh(z):
    return lax.tanh(z)


@_tanh.defjvp
def _tanh_jvp(primals, tangents):
    # sech²(z) = 4σ(2z)σ(-2z), where 1 - tanh²(z) would be 0 in float32 from z = 9 on.
    (z,), (dz,) = primals, tangents
    return _tanh(z), 4 * _sigmoid(2 * z) * _sigmoid(-2 * z) * dz


tanh = Activation("tanh", _tanh, 1.0)
sigmoid = Activation("sigmoid", _sigmoid, 0.25)
relu = Activation("relu", jax.nn.relu, 1.0)
linear = Activation("linear", lambda z: z, 1.0)


@_checks.signature("activations.leaky_relu")
def leaky_relu(alpha: float = 0.01) -> Activation:
    """z for z > 0, else αz; γ = max(1, |α|)."""
    return Activation(
        f"leaky_relu({alpha:g})", partial(jax.nn.leaky_relu, negative_slope=alpha), max(1.0, abs(alpha))
    )


@_checks.signature("activations.elu")
def elu(alpha: float = 1.0) -> Activation:
    """z for z > 0, else α(e^z - 1); γ = max(1, |α|)."""
    return Activation(f"elu({alpha:g})", partial(jax.nn.elu, alpha=alpha), max(1.0, abs(alpha)))


_BY_NAME = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "relu": relu,
    "linear": linear,
    "leaky_relu": leaky_relu(),
    "elu": elu(),
}
NAMES = tuple(sorted(_BY_NAME))


def get(activation: str | Activation) -> Activation:
    """The activation of that name, or the Activation itself.

    >>> get("sigmoid").gamma
    0.25
    """
    if isinstance(activation, Activation):
        return activation
    _checks.choice("activations.get", "activation", activation, NAMES)
    return _BY_NAME[activation]
