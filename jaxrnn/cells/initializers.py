"""Initializers of weight matrices W [out, in] (E20): ``init(key, shape, dtype) -> W``, as in `jax.nn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = [
    "Initializer",
    "default_dtype",
    "glorot",
    "he",
    "identity",
    "orthogonal",
    "per_gate",
    "spectral_radius",
]

Initializer: TypeAlias = Callable[..., Float[Array, "out in"]]


def default_dtype():
    """float32, or float64 where jax_enable_x64 is on."""
    return jax.dtypes.canonicalize_dtype(float)


def glorot() -> Initializer:
    """Uniform with variance 2/(in + out), for tanh and sigmoid (Glorot & Bengio 2010)."""
    return jax.nn.initializers.glorot_uniform(in_axis=1, out_axis=0)


def he() -> Initializer:
    """Normal with variance 2/in, for relu (He et al. 2015)."""
    return jax.nn.initializers.he_normal(in_axis=1, out_axis=0)


def orthogonal(gain: float = 1.0) -> Initializer:
    """gain · Q with orthonormal rows or columns: every singular value is `gain` (Saxe et al. 2014)."""
    return jax.nn.initializers.orthogonal(scale=gain)


def identity(gain: float = 1.0) -> Initializer:
    """gain · I, the start of the IRNN (Le, Jaitly & Hinton 2015)."""

    def init(key, shape, dtype=None):
        del key
        return gain * jnp.eye(*shape, dtype=dtype)

    return init


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

    return init


def per_gate(initializer: Initializer, n_gates: int) -> Initializer:
    """Fill [n_gates·out, in] gate by gate, so that fans and orthogonality are each gate's own."""

    def init(key, shape, dtype=None):
        rows = shape[0] // n_gates
        blocks = [initializer(k, (rows, shape[1]), dtype) for k in jax.random.split(key, n_gates)]
        return jnp.concatenate(blocks)

    return init
