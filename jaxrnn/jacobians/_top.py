"""The largest singular values of many matrices at once."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn._pytree import after
from jaxrnn.jacobians import _scaled

__all__ = ["top_singular_values"]

_SVD_UP_TO = 64


def top_singular_values(
    A: Float[Array, "b n m"], top: int
) -> tuple[Float[Array, "b top"], Float[Array, " b"]]:
    """The `top` σ_i of each matrix, and the relative residual of the iteration for σ₁ (0 after an SVD).

    Small matrices get an SVD, and so do all where more than σ₁ is wanted. For σ₁ above 64 rows and columns,
    Golub-Kahan bidiagonalisation costs a fraction of it; if it has not converged for every matrix of the
    batch, all of them get an SVD.
    """
    if top > 1 or min(A.shape[1:]) <= _SVD_UP_TO:
        return _by_svd(A, top)
    eps = jnp.finfo(A.dtype).eps
    sigma, residual = jax.vmap(lambda A: _golub_kahan(A, steps=16 if eps > 1e-10 else 32))(A)
    # The error of a Ritz value is quadratic in its residual.
    converged = jnp.all(residual <= jnp.sqrt(eps))
    by_svd = partial(_by_svd, top=top)
    return lax.cond(converged, lambda _: (sigma[:, None], residual), by_svd, after(A, sigma))


def _by_svd(A, top):
    sigma = jnp.linalg.svd(A, compute_uv=False)[:, :top]
    return sigma, jnp.zeros_like(sigma[:, 0])


def _golub_kahan(A, steps):
    """σ₁ and residual from ``A V = U B``, ``Aᵀ U = V Bᵀ + β v eᵀ`` with B upper bidiagonal [steps, steps]."""
    n, m = A.shape
    eps = jnp.finfo(A.dtype).eps
    # A random start: one that is orthogonal to the top vector has probability zero.
    v = jax.random.normal(jax.random.key(0), (m,), A.dtype)
    scale = jnp.max(jnp.abs(A))

    def unit(x, basis):
        x = x - _scaled.matmul(_scaled.matmul(basis, x), basis)
        size = jnp.linalg.norm(x)
        # Breakdown: the space is invariant, and what is left is rounding. Zero rows end the recursion.
        alive = size > 10 * eps * scale
        return jnp.where(alive, x / jnp.where(alive, size, 1), 0), jnp.where(alive, size, 0)

    def step(j, state):
        U, V, alphas, betas, v, u, beta = state
        V = V.at[j].set(v)
        u, alpha = unit(_scaled.matmul(A, v) - beta * u, U)
        U = U.at[j].set(u)
        v, beta = unit(_scaled.matmul(u, A) - alpha * v, V)
        return U, V, alphas.at[j].set(alpha), betas.at[j].set(beta), v, u, beta

    zeros = jnp.zeros(steps, A.dtype)
    start = (jnp.zeros((steps, n), A.dtype), jnp.zeros((steps, m), A.dtype), zeros, zeros)
    start += (v / jnp.linalg.norm(v), jnp.zeros(n, A.dtype), jnp.zeros((), A.dtype))
    _, _, alphas, betas, *_ = lax.fori_loop(0, steps, step, start)
    p, sigma, _ = jnp.linalg.svd(jnp.diag(alphas) + jnp.diag(betas[:-1], 1))
    residual = betas[-1] * jnp.abs(p[-1, 0])
    return sigma[0], jnp.where(sigma[0] > 0, residual / jnp.where(sigma[0] > 0, sigma[0], 1), 0)
