"""How far rounding can have moved the norm of a product: the bounds κ_N and κ_abs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxrnn.jacobians._products import View, sweep
from jaxrnn.jacobians._scaled import Chain, chain

__all__ = ["log_error", "log_kappa_of_pairs", "log_kappa_of_table"]


def log_error(
    log_norm: Float[Array, "A L"],
    log_kappa: Float[Array, "A L"],
    log_abs: Float[Array, "A L"],
    residual: Float[Array, "A L"],
    lag: Int[Array, "A L"],
    n: int,
) -> Float[Array, "A L"]:
    """|Δ ln σ₁| of a block of P, from ln Σ_s ‖P_{t,s}‖‖J_s‖‖P_{s-1,k}‖ and ln ‖|J_t|...|J_{k+1}|‖.

    Rounding moves P by at most n·eps·min(κ_N, lag·κ_abs)·‖P‖ in norm, and no block by more.
    """
    eps = jnp.finfo(log_norm.dtype).eps
    log_lag = jnp.log(jnp.maximum(lag, 1).astype(log_norm.dtype))
    # A zero is certified only where the sums of absolute values vanish too: then no rounding made it.
    lost = (log_norm == -jnp.inf) & (log_abs > -jnp.inf)
    log_ratio = jnp.minimum(log_kappa, log_abs + log_lag) - jnp.where(jnp.isfinite(log_norm), log_norm, 0.0)
    kappa = jnp.where(lost, jnp.inf, jnp.exp(jnp.minimum(log_ratio, 80.0)))
    relative = n * eps * (kappa + 1) + residual
    magnitude = jnp.where(jnp.isfinite(log_norm), jnp.abs(log_norm), 0.0)
    error = jnp.where(relative < 1, -jnp.log1p(-jnp.minimum(relative, 0.999)), jnp.inf) + 2 * eps * magnitude
    return jnp.where(lag > 0, error, 0.0)


def log_kappa_of_table(log_norm: Float[Array, "T1 T1"]) -> Float[Array, "T1 T1"]:
    """``ln Σ_s ‖P_{t,s}‖ ‖J_s‖ ‖P_{s-1,k}‖`` at [t, k], over k < s <= t: the table's -inf cut it."""
    log_J = jnp.diagonal(log_norm, offset=-1)

    def row(log_norm_t):
        return jax.nn.logsumexp((log_norm_t[1:] + log_J)[:, None] + log_norm[:-1], axis=0)

    return lax.map(row, log_norm)


def log_kappa_of_pairs(
    factors: Chain, log_frobenius: Float[Array, "A maxlag"], at: np.ndarray, lags: np.ndarray
) -> Float[Array, "A L"]:
    """An upper bound of the same sums at [t in at, lag], without the norms of all pairs.

    ``log_frobenius`` of the sweep bounds ‖P_{t,s}‖; ‖P_{s-1,k}‖ is bounded through segments.
    """
    T = len(factors.exponents)
    upper, log_J = _bounds_by_segments(factors)
    to_s = jnp.pad(log_frobenius, ((0, 0), (1, 0)))
    t, lag = jnp.asarray(at)[:, None], jnp.asarray(lags)[None, :]
    k = t - lag

    def add(log_sum, j):
        s = jnp.clip(k + j, 1, T)
        to_t = jnp.take_along_axis(to_s, jnp.maximum(lag - j, 0) + jnp.zeros_like(k), axis=1)
        term = to_t + log_J[s - 1] + upper(s - 1, jnp.maximum(k, 0))
        return jnp.logaddexp(log_sum, jnp.where((j <= lag) & (k >= 0), term, -jnp.inf)), None

    nothing = jnp.full(k.shape, -jnp.inf, log_frobenius.dtype)
    log_sum, _ = lax.scan(add, nothing, jnp.arange(1, int(lags[-1]) + 1))
    return log_sum


def _bounds_by_segments(factors):
    """(upper, ln ‖J‖_F): upper(a, b) >= ln ‖P_{a,b}‖ for b <= a, from about 1.5·T^(1/3) products a step.

    Near pairs have their own norm. Far ones are split at the multiples of the segment's length that lie
    between them: ‖P_{a,b}‖ <= ‖P_{a,jL}‖ ‖P_{jL,iL}‖ ‖P_{iL,b}‖.
    """
    T, n = factors.mantissas.shape[:2]
    L = round(T ** (1 / 3))
    whole = (View(slice(0, n), slice(0, n)),)
    near = sweep(factors, np.arange(1, T + 1), np.arange(1, L + 1), whole[:0])
    band = jnp.pad(near.log_frobenius, ((1, 0), (1, 0)))
    ends = np.arange(L, T + 1, L)
    segments = chain(near.mantissas[ends - 1])
    segments = segments._replace(exponents=segments.exponents + near.exponents[ends - 1])
    numbers = np.arange(1, len(ends) + 1)
    far = sweep(segments, numbers, numbers, whole[:0])
    coarse = jnp.pad(far.log_frobenius, ((1, 0), (1, 0)))

    def upper(a, b):
        first, last = -(-b // L), a // L
        split = (
            band[a, a - last * L]
            + coarse[last, jnp.maximum(last - first, 0)]
            + band[first * L, first * L - b]
        )
        return jnp.where(a - b <= L, band[a, jnp.minimum(a - b, L)], split)

    return upper, near.log_frobenius[:, 0]
