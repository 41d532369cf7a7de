"""The singular spectrum of ∂h_t/∂h_k, with the values that rounding has spoilt flagged (E15)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxrnn import _checks
from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians.norms import CERTIFIED_BELOW

__all__ = ["Spectrum", "spectrum"]


class Spectrum(NamedTuple):
    """ln σ_i of ∂h_t/∂h_k in nats, descending; -inf where a value is computed as zero."""

    log_sigma: Float[Array, "*B n"]
    log_error: Float[Array, "*B n"]
    certified: Bool[Array, "*B n"]

    def raise_if_bad(self) -> Spectrum:
        """The spectrum itself; NumericalError if a value is not certified. Not under jit."""
        bad = int(jnp.sum(~self.certified))
        if bad:
            raise _checks.NumericalError(
                f"spectrum: {bad} of {self.certified.size} singular values are not certified (they lie too "
                "far below the largest, or a step Jacobian is not finite). Use float64 or a shorter segment."
            )
        return self


def spectrum(js: Float[Array, "T n n"], t: int | None = None, k: int = 0) -> Spectrum:
    """All singular values of ``∂h_t/∂h_k``, as logarithms in nats (E15).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`; float16 and bfloat16 are computed in float32.
    t, k : Python integers, 0 <= k <= t <= T; by default the whole sequence. ``t == k``: all zeros.

    Returns
    -------
    Spectrum
        ``log_sigma [n]`` descending, ``log_error [n]``, ``certified [n]``.

    Raises
    ------
    IndexError, ValueError
        If the pair (t, k) is out of range, or js is not [T, n, n].

    Notes
    -----
    The product is carried as mantissa · 2^exponent and decomposed once. Its rounding error is at most
    ``δσ₁`` with ``δ = n·eps·κ_N`` (see `norms`), so by Weyl's inequality each value is off by at most
    that: values below ``10 δσ₁`` are lost in rounding and flagged, not shown as if they were known.

    Time: 2(t-k) products of n×n and one SVD. Memory: t-k logarithms beyond js.

    Example
    -------
    >>> js = jnp.broadcast_to(jnp.diag(jnp.array([1.0, 0.5])), (3, 2, 2))
    >>> spectrum(js).log_sigma  # 0 and ln 2^-3
    Array([ 0.       , -2.0794415], dtype=float32)
    """
    T, n = _checks.jacobian_chain("jacobians.spectrum", js)
    t, k = _checks.pair("jacobians.spectrum", T if t is None else t, k, T)
    js = _scaled.widen(js)[k:t]
    finite = jnp.all(jnp.isfinite(js))
    js, exponents = _scaled.normalise(jnp.where(jnp.isfinite(js), js, 0))

    P, exponent, log_before = _running_product(js, exponents)
    _, _, log_after = _running_product(jnp.swapaxes(js, 1, 2)[::-1], exponents[::-1])
    sigma = jnp.linalg.svd(P, compute_uv=False)
    log_scale = exponent.astype(P.dtype) * _scaled.LN2
    log_sigma = jnp.log(sigma) + log_scale

    log_J = _log_frobenius(js, exponents)
    log_terms = jnp.where(sigma[0] > 0, log_before + log_J + log_after[::-1] - log_sigma[0], -jnp.inf)
    kappa = jnp.sum(jnp.exp(jnp.minimum(log_terms, 80.0)))
    eps = jnp.finfo(P.dtype).eps
    absolute = n * eps * (kappa + (t > k)) * sigma[0]
    relative = jnp.where(
        sigma > 0, absolute / jnp.where(sigma > 0, sigma, 1), jnp.where(absolute > 0, jnp.inf, 0)
    )
    # A zero is exact only where the product has no terms that could have cancelled or underflowed.
    relative = jnp.where((sigma == 0) & ~_structurally_zero(js), jnp.inf, relative)
    log_error = jnp.where(relative < 1, -jnp.log1p(-jnp.minimum(relative, 0.999)), jnp.inf)
    log_error += eps * jnp.where(sigma > 0, jnp.abs(log_sigma), 0.0)
    log_sigma = jnp.where(finite, log_sigma, jnp.nan)
    log_error = jnp.where(finite, log_error, jnp.inf)
    return Spectrum(log_sigma, log_error, log_error < CERTIFIED_BELOW)


def _log_frobenius(A, exponent):
    return jnp.log(jnp.sqrt(jnp.sum(A * A, axis=(-2, -1)))) + exponent.astype(A.dtype) * _scaled.LN2


def _running_product(js, exponents):
    """Mantissa and exponent of js[-1]···js[0], and ln ‖·‖_F of the product before each factor."""

    def multiply(carry, inputs):
        P, exponent = carry
        J, J_exponent = inputs
        log_norm = _log_frobenius(P, exponent)
        P, grown = _scaled.normalise(_scaled.matmul(J, P))
        return (P, exponent + grown + J_exponent), log_norm

    start = (jnp.eye(js.shape[-1], dtype=js.dtype), jnp.zeros((), jnp.int32))
    (P, exponent), log_before = lax.scan(multiply, start, (js, exponents))
    return P, exponent, log_before


def _structurally_zero(js):
    """Whether |J_t|...|J_{k+1}| vanishes, so that the product is zero without any rounding."""

    def multiply(row_sums, J):
        grown, _ = _scaled.normalise(_scaled.matmul(jnp.abs(J), row_sums))
        return grown, None

    row_sums, _ = lax.scan(multiply, jnp.ones((js.shape[-1], 1), js.dtype), js)
    return jnp.all(row_sums == 0)
