"""Initializers of weights W [out, in] and of biases (E20): ``init(key, shape, dtype)``, as in `jax.nn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn.types import Key

__all__ = [
    "Initializer",
    "chrono",
    "default_dtype",
    "gated",
    "glorot",
    "he",
    "identity",
    "keep_bias",
    "orthogonal",
    "per_gate",
    "spectral_radius",
    "ungated",
]

Initializer: TypeAlias = Callable[..., Float[Array, "out in"]]


def default_dtype():
    """float32, or float64 where jax_enable_x64 is on."""
    return jax.dtypes.canonicalize_dtype(float)


@_checks.signature("initializers.glorot")
def glorot() -> Initializer:
    """Uniform with variance 2/(in + out), for tanh and sigmoid (Glorot & Bengio 2010)."""
    return _of_matrix("initializers.glorot", jax.nn.initializers.glorot_uniform(in_axis=1, out_axis=0))


@_checks.signature("initializers.he")
def he() -> Initializer:
    """Normal with variance 2/in, for relu (He et al. 2015)."""
    return _of_matrix("initializers.he", jax.nn.initializers.he_normal(in_axis=1, out_axis=0))


@_checks.signature("initializers.orthogonal")
def orthogonal(gain: float = 1.0) -> Initializer:
    """gain · Q with orthonormal rows or columns: every singular value is `gain` (Saxe et al. 2014)."""
    return _of_matrix("initializers.orthogonal", jax.nn.initializers.orthogonal(scale=gain))


@_checks.signature("initializers.identity")
def identity(gain: float = 1.0) -> Initializer:
    """gain · I, the start of the IRNN (Le, Jaitly & Hinton 2015)."""

    def init(key, shape, dtype=None):
        del key
        return gain * jnp.eye(*shape, dtype=dtype)

    return _of_matrix("initializers.identity", init, random=False)


@_checks.signature("initializers.spectral_radius")
def spectral_radius(radius: float = 1.0) -> Initializer:
    """Gaussian, scaled so that max|eigenvalue| is `radius`; square matrices only.

    The norm ‖W‖₂ is larger, about twice that for wide layers. Needs eigenvalues of a general matrix,
    which JAX has on CPU and GPU, not on TPU.
    """

    def init(key, shape, dtype=None):
        if shape[0] != shape[1]:
            raise ValueError(f"initializers.spectral_radius: shape is {shape}; expected a square matrix.")
        W = jax.random.normal(key, shape, dtype)
        return W * (radius / jnp.max(jnp.abs(jnp.linalg.eigvals(W)))).astype(W.dtype)

    return _of_matrix("initializers.spectral_radius", init)


@_checks.signature("initializers.per_gate")
def per_gate(initializer: Initializer, n_gates: int) -> Initializer:
    """Fill [n_gates·out, in] gate by gate, so that fans and orthogonality are each gate's own."""

    def init(key, shape, dtype=None):
        rows = shape[0] // n_gates
        blocks = [initializer(k, (rows, shape[1]), dtype) for k in jax.random.split(key, n_gates)]
        return jnp.concatenate(blocks)

    return init


@_checks.signature("initializers.chrono")
def chrono(max_lag: int) -> Callable[..., Float[Array, ...]]:
    """ln U(1, max_lag - 1), of any shape: the bias of a gate σ(b) that keeps what it holds.

    A unit that keeps the share σ(b) a step forgets within 1 + e^b steps, here anything from 2 to
    `max_lag`, the longest lag that the data are expected to have (Tallec & Ollivier 2018).

    Raises
    ------
    ValueError
        If max_lag is below 2, where the interval is empty; at 2 every bias is 0.
    """
    longest = _checks.at_least("initializers.chrono", "max_lag", max_lag, 2)

    def init(key, shape, dtype=None):
        return jnp.log(jax.random.uniform(key, shape, dtype or default_dtype(), 1, longest - 1))

    return init


@_checks.signature("initializers.keep_bias")
def keep_bias(max_lag: int | None, otherwise: float = 0.0) -> Callable[..., Float[Array, ...]]:
    """Initializer of the bias of a gate that keeps: `chrono(max_lag)`, or a constant for None.

    It takes the key that `gated` takes, and shares none of its draws.
    """
    if max_lag is None:
        return jax.nn.initializers.constant(otherwise)
    draw = chrono(max_lag)

    def init(key, shape, dtype=None):
        # `gated` has the keys 0 and 1 of a split, so that its weights do not depend on the bias.
        return draw(jax.random.fold_in(key, 2), shape, dtype)

    return init


@_checks.signature("initializers.ungated")
def ungated(
    key: Key,
    input_size: int,
    hidden_size: int,
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
    *,
    square: str = "W_hh",
) -> dict[str, Float[Array, ...]]:
    """{"W_hx": [H, d], "W_hh": [H, H], "b_h": [H]} of a cell without gates; `square` is the matrix's name.

    W_hx is Glorot and the square matrix orthogonal, unless given; b_h is 0.
    """
    key_x, key_h = jax.random.split(key)
    d, H, dtype = input_size, hidden_size, default_dtype()
    return {
        "W_hx": (input_init or glorot())(key_x, (H, d), dtype),
        square: (recurrent_init or orthogonal())(key_h, (H, H), dtype),
        "b_h": jnp.zeros(H, dtype),
    }


@_checks.signature("initializers.gated")
def gated(
    key: Key,
    n_gates: int,
    input_size: int,
    hidden_size: int,
    input_init: Initializer | None = None,
    recurrent_init: Initializer | None = None,
) -> dict[str, Float[Array, ...]]:
    """{"W_x": [n_gates·H, d], "W_h": [n_gates·H, H], "b": [n_gates·H]} of a cell whose gates share products.

    W_x is Glorot and W_h orthogonal in every gate, unless given; b is 0.
    """
    key_x, key_h = jax.random.split(key)
    rows, dtype = n_gates * hidden_size, default_dtype()
    return {
        "W_x": per_gate(input_init or glorot(), n_gates)(key_x, (rows, input_size), dtype),
        "W_h": per_gate(recurrent_init or orthogonal(), n_gates)(key_h, (rows, hidden_size), dtype),
        "b": jnp.zeros(rows, dtype),
    }


def _of_matrix(function, draw, *, random=True):
    """The initializer itself, which refuses what is no key and no shape of a matrix."""

    def init(key, shape, *dtype, **options):
        if random:
            _checks.key(function, "key", key)
        sizes = _checks.listed(function, "shape", shape, "two sizes, [out, in]")
        if len(sizes) != 2:
            raise ValueError(f"{function}: shape is {sizes}; expected two sizes, [out, in].")
        sizes = tuple(_checks.at_least(function, "shape", size, 1) for size in sizes)
        return draw(key, sizes, *dtype, **options)

    return init
