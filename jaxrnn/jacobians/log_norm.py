"""ln ‖∂h_T/∂h_0‖₂ of one chain, differentiable: the ground of penalties on the gradient's reach."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians import _scaled

__all__ = ["log_norm"]


@_checks.signature("jacobians.log_norm")
@compiled
@where_it_lies
def log_norm(js: Float[Array, "T n n"]) -> Float[Array, ""]:
    """``ln ‖J_T J_{T-1} ... J_1‖₂`` in nats, with a derivative that is always finite (E15).

    With the top singular vectors u, v of the product P, ``d ln σ₁ = uᵀ dP v / σ₁``, so that

        ``d ln σ₁ = Σ_t b_tᵀ dJ_t f_t / σ₁,  b_t = (J_T...J_{t+1})ᵀ u,  f_t = J_{t-1}...J_1 v``.

    Where σ₁ is multiple (an isometry, for one) any pair of top vectors gives a subgradient; no difference of
    singular values is divided by.

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`, of the segment k..t in question; T = 1 is the norm of one matrix.

    Returns
    -------
    Scalar; -inf for a product of zero, whose derivative is taken as 0. NaN if a step is not finite.

    Raises
    ------
    ValueError
        If js is not [T, n, n].

    Notes
    -----
    Time: T products and one SVD of n×n, and for the derivative two products of a matrix and a vector a step.
    Memory: T vectors. First derivatives only, in forward and reverse mode; `norms` has an error bound.

    Example
    -------
    >>> js = jnp.full((3, 1, 1), 0.5)
    >>> jax.grad(log_norm)(js).ravel()  # d ln|j³| / dj = 1/j for each factor
    Array([2., 2., 2.], dtype=float32)
    """
    _checks.jacobian_chain("jacobians.log_norm", js)
    return _log_norm(_scaled.widen(js))


@jax.custom_jvp
def _log_norm(js):
    sigma, exponent, _, _ = _top(_scaled.chain(js))
    return _value(js, sigma, exponent)


@_log_norm.defjvp
def _derivative(primals, tangents):
    (js,), (djs,) = primals, tangents
    factors = _scaled.chain(js)
    sigma, exponent, u, v = _top(factors)

    def walk(carry, inputs):
        x, exponent = carry
        J, J_exponent = inputs
        Jx, grown = _scaled.normalise(_scaled.matmul(J, x[:, None]))
        return (Jx[:, 0], exponent + grown + J_exponent), carry

    zero = jnp.zeros((), jnp.int32)
    transposed = jnp.swapaxes(factors.mantissas, 1, 2)
    _, (fs, f_exponents) = lax.scan(walk, (v, zero), (factors.mantissas, factors.exponents))
    _, (bs, b_exponents) = lax.scan(walk, (u, zero), (transposed, factors.exponents), reverse=True)
    # Exponents of f, b and σ₁ alone may be far out of range; their sum is that of b_t f_tᵀ / σ₁.
    weight = jnp.where(sigma > 0, 1 / jnp.where(sigma > 0, sigma, 1), 0)
    weights = jnp.ldexp(weight, f_exponents + b_exponents - exponent)
    dvalue = jnp.sum(weights * jnp.einsum("ti,tij,tj->t", bs, djs, fs, precision="highest"))
    return _value(js, sigma, exponent), dvalue


def _value(js, sigma, exponent):
    return jnp.where(jnp.all(jnp.isfinite(js)), _scaled.log_scaled(sigma, exponent), jnp.nan)


def _top(factors):
    """(σ₁ as mantissa and exponent, u, v) of the product."""
    n = factors.mantissas.shape[-1]

    def step(carry, inputs):
        P, exponent = carry
        J, J_exponent = inputs
        P, grown = _scaled.normalise(_scaled.matmul(J, P))
        return (P, exponent + grown + J_exponent), None

    start = (jnp.eye(n, dtype=factors.mantissas.dtype), jnp.zeros((), jnp.int32))
    (P, exponent), _ = lax.scan(step, start, (factors.mantissas, factors.exponents))
    U, sigma, Vt = jnp.linalg.svd(P)
    return sigma[0], exponent, U[:, 0], Vt[0]
