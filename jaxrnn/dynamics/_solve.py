"""The step that both searches take: least squares, damped."""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["damped_step", "norm"]


def damped_step(A, r, shift):
    """The d that minimises ``‖A d + r‖² + shift ‖d‖²``, by Cholesky; what A does not see does not move."""
    lower = jnp.linalg.cholesky(A.T @ A + shift * jnp.eye(A.shape[1], dtype=A.dtype))
    return -jax.scipy.linalg.cho_solve((lower, True), A.T @ r)


def norm(x):
    """‖x‖₂ over the last axis."""
    return jnp.sqrt(jnp.sum(x**2, axis=-1))
