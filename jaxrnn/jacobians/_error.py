"""How far rounding can have moved the norm of a product."""

from __future__ import annotations

from math import log

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._precise import rounding
from jaxrnn.jacobians._products import Sweep, View, sweep
from jaxrnn.jacobians._scaled import Chain, chain

__all__ = ["log_error", "log_moved", "log_rounding", "over_table"]

_SVD_ROUNDING = 100
# In eps: LAPACK's σ₁ alone is off by up to 59 where the others lie within 1e-5 of it.


def log_error(
    log_moved: Float[Array, "A L"],
    log_sigma: Float[Array, "A L top"],
    log_abs: Float[Array, "A L"],
    residual: Float[Array, "A L"],
    lags: Int[Array, " L"],
    n: int,
) -> Float[Array, "A L top"]:
    """|Δ ln σ_i| of a block of P, from how far rounding can have moved P, and ln ‖|J_t|...|J_{k+1}|‖.

    No block moves by more than P; nor by more than lag·2n·eps of what the absolute values give. No σ_i moves
    by more than its block (Weyl), and the SVD rounds each by some eps·σ₁.
    """
    eps = jnp.finfo(log_sigma.dtype).eps
    log_steps = jnp.log(2 * n * eps * lags.astype(log_sigma.dtype))[None, :, None]
    zero = log_sigma == -jnp.inf
    log_size = jnp.where(zero, 0.0, log_sigma)
    log_moved, log_abs, residual = log_moved[..., None], log_abs[..., None], residual[..., None]
    moved = jnp.exp(jnp.minimum(jnp.minimum(log_moved, log_abs + log_steps) - log_size, 80.0))
    below_norm = jnp.exp(jnp.minimum(log_size[..., :1] - log_size, 80.0))
    relative = moved + (_SVD_ROUNDING + n) * eps * below_norm + residual
    error = jnp.where(relative < 1, -jnp.log1p(-jnp.minimum(relative, 0.999)), jnp.inf)
    # A zero is exact only where the sums of absolute values vanish too: then no rounding made it.
    of_zero = jnp.where(log_abs == -jnp.inf, 0.0, jnp.inf)
    return jnp.where(zero, of_zero, error + 2 * eps * jnp.abs(log_size))


def log_moved(factors: Chain, swept: Sweep, at: np.ndarray, lags: np.ndarray) -> Float[Array, "A L"]:
    """``ln Σ_s ‖E_{t,s}‖ ‖P_{s,k}‖`` over k <= s < t at [t in at, lag]: how far rounding can move P_{t,k}.

    E_{t,s} is the rounding of the product P_{t,s+1} J_{s+1}; later factors carry it on to k. The norms of
    P_{s,k} are the sweep's own if it has all of them, and bounded through segments if not.
    """
    T = len(factors.exponents)
    log_J = _scaled.log_scaled(jnp.linalg.norm(factors.mantissas, axis=(1, 2)), factors.exponents)
    log_E = log_rounding(factors.mantissas.shape[-1], log_J, swept.log_frobenius, at)
    if len(at) == len(lags) == T:
        return over_table(log_E, swept.log_sigma[0, ..., 0], at)
    upper = _bounds_by_segments(factors)
    t, lag = jnp.asarray(at)[:, None], jnp.asarray(lags)[None, :]
    k = t - lag

    def add(log_sum, j):
        to_s = jnp.take_along_axis(log_E, jnp.maximum(lag - j - 1, 0) + jnp.zeros_like(k), axis=1)
        term = to_s + upper(jnp.clip(k + j, 0, T), jnp.maximum(k, 0))
        return jnp.logaddexp(log_sum, jnp.where((j < lag) & (k >= 0), term, -jnp.inf)), None

    nothing = jnp.full(k.shape, -jnp.inf, log_E.dtype)
    log_sum, _ = lax.scan(add, nothing, jnp.arange(int(lags[-1])))
    return log_sum


def log_rounding(
    n: int, log_J: Float[Array, " T"], log_frobenius: Float[Array, "A L"], at: Int[Array | np.ndarray, " A"]
) -> Float[Array, "A L"]:
    """ln of a bound on ‖E_{t,t-lag}‖ at [t in at, lag - 1], from ln ‖J_t‖ and ln ‖P_{t,t-lag}‖."""
    relative, absolute = rounding(n, log_frobenius.dtype)
    lags = jnp.arange(1, log_frobenius.shape[1] + 1)
    s = jnp.maximum(jnp.asarray(at)[:, None] - lags[None, :], 0)
    # ‖P_{t,t}‖_F = √n.
    before = jnp.pad(log_frobenius[:, :-1], ((0, 0), (1, 0)), constant_values=log(n) / 2)
    return jnp.logaddexp(log(relative) + log_frobenius, log(absolute) + before + log_J[s])


def over_table(
    log_E: Float[Array, "A T"], log_norm: Float[Array, "T T"], at: Int[Array | np.ndarray, " A"]
) -> Float[Array, "A T"]:
    """The sums for all pairs of some rows t, from these rows and a table of all at [t - 1, lag - 1]."""
    T = len(log_norm)
    s = jnp.arange(T + 1)

    def by_start(t, row, diagonal):
        """[s] for 0 <= s <= t, and -inf above."""
        return jnp.where(s < t, row[jnp.clip(t - s - 1, 0, T - 1)], jnp.where(s == t, diagonal, -jnp.inf))

    first = jnp.where(s == 0, 0.0, -jnp.inf)[None]
    norms = jnp.concatenate([first, jax.vmap(by_start, (0, 0, None))(s[1:], log_norm, 0.0)])

    def of_row(row):
        t, log_E = row
        sums = jax.nn.logsumexp(by_start(t, log_E, -jnp.inf)[:, None] + norms, axis=0)
        return sums[jnp.maximum(t - s[1:], 0)]

    return lax.map(of_row, (jnp.asarray(at), log_E))


def _bounds_by_segments(factors):
    """upper(a, b) >= ln ‖P_{a,b}‖ for b <= a, from about 1.5·T^(1/3) products a step.

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

    return upper
