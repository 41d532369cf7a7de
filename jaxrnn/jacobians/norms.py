"""Spectral norms ‖∂h_t/∂h_k‖₂ of all pairs, in logarithms and with an error bound (E15)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxrnn import _checks
from jaxrnn.jacobians import _scaled

__all__ = ["CERTIFIED_BELOW", "Norms", "norms"]

CERTIFIED_BELOW = 0.23
"""A logarithm counts as certified while its error bound is below this many nats: a tenth of a decade."""


class Norms(NamedTuple):
    """ln ‖∂h_t/∂h_k‖₂ in nats at [t, k]; 0 on the diagonal, -inf above it.

    A pair that spans a NaN or infinite step Jacobian is NaN in `log_norm` and not certified.
    """

    log_norm: Float[Array, "*B T1 T1"]
    log_error: Float[Array, "*B T1 T1"]
    certified: Bool[Array, "*B T1 T1"]

    def raise_if_bad(self) -> Norms:
        """The norms themselves; NumericalError if a pair k <= t is not certified. Not under jit."""
        bad = int(jnp.sum(~self.certified))
        if bad:
            raise _checks.NumericalError(
                f"norms: {bad} of {self.certified.size} entries are not certified (error bound of "
                f"{CERTIFIED_BELOW} nats or more, or a step Jacobian that is not finite). Use float64, or "
                "read log_error and certified at the pairs you need."
            )
        return self


_BLOCK = 32
# Starts k that are advanced together: large enough for a batched product, small enough that little is
# computed above the diagonal.


def norms(js: Float[Array, "T n n"]) -> Norms:
    """``ln ‖∂h_t/∂h_k‖₂`` for all 0 <= k <= t <= T, from the step Jacobians of one sequence (E15).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`; float16 and bfloat16 are computed in float32.

    Returns
    -------
    Norms
        ``log_norm``, ``log_error`` and ``certified``, each [T+1, T+1] at [t, k], in nats.

    Raises
    ------
    ValueError
        If js is not [T, n, n].

    Notes
    -----
    The products of one row t are carried for every k as mantissa · 2^exponent, so that nothing
    underflows; the largest singular value comes from an SVD. The error bound is
    ``|Δ ln σ₁| <= n·eps·min(κ_N, (t-k)·κ_abs)`` with
    ``κ_N = Σ_s ‖P_{t,s}‖ ‖J_s‖ ‖P_{s-1,k}‖ / ‖P_{t,k}‖`` and ``κ_abs = ‖ |J_t|...|J_{k+1}| ‖ / ‖P_{t,k}‖``,
    plus the rounding of the logarithm itself: rounding errors can re-seed directions that dominate
    later, and then a product is flagged rather than silently wrong.

    Time: T²/2 products and SVDs of n×n, and T³/3 exponentials for the bound. Memory: T·n² and a few
    [T, T] tables.

    Example
    -------
    >>> js = jnp.full((3, 1, 1), 0.5)
    >>> norms(js).log_norm[3, 0]  # ln 2^-3
    Array(-2.0794415, dtype=float32)
    """
    T, n = _checks.jacobian_chain("jacobians.norms", js)
    js = _scaled.widen(js)
    if T == 0:
        identity = jnp.zeros((1, 1), js.dtype)
        return Norms(identity, identity, identity == 0)
    finite = jnp.all(jnp.isfinite(js), axis=(1, 2))
    js = jnp.where(finite[:, None, None], js, 0)
    support = js != 0
    js, exponents = _scaled.normalise(js)

    log_sigma, log_abs = _product_table(js, support, exponents)
    log_norm = jnp.where(jnp.tri(T + 1, dtype=bool), 0.0, -jnp.inf).astype(js.dtype)
    log_norm = log_norm.at[1:, :T].set(jnp.where(jnp.tri(T, dtype=bool), log_sigma, log_norm[1:, :T]))
    log_error = _error_bound(log_norm, log_abs, n)

    n_bad = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(~finite)])
    clean = n_bad[:, None] == n_bad[None, :]
    below = jnp.tri(T + 1, dtype=bool)
    log_norm = jnp.where(below & ~clean, jnp.nan, log_norm)
    log_error = jnp.where(below & ~clean, jnp.inf, log_error)
    return Norms(log_norm, log_error, (log_error < CERTIFIED_BELOW) & (clean | ~below))


def _product_table(js, support, exponents):
    """ln σ₁ of P_{t,k} and ln of a bound on ‖ |J_t|...|J_{k+1}| ‖₂, both [T, T] at [t-1, k].

    Every start k has a slot with its running product; entries k >= t are leftovers.
    """
    T, n = js.shape[0], js.shape[-1]
    block = min(_BLOCK, T)
    n_slots = -(-T // block) * block

    def row(slots, inputs):
        t, J, J_support, J_exponent = inputs

        def advance(b, slots):
            some = [lax.dynamic_slice_in_dim(slot, b * block, block) for slot in slots]
            some = _multiply(J, J_support, J_exponent, *some)
            return [
                lax.dynamic_update_slice_in_dim(slot, new, b * block, 0)
                for slot, new in zip(slots, some, strict=True)
            ]

        # Slot t starts as the identity; a[k] are the row sums of |J_t|...|J_{k+1}|.
        P, P_exponent, a, a_exponent, *logs = slots
        slots = [P.at[t].set(jnp.eye(n, dtype=P.dtype)), P_exponent.at[t].set(0)]
        slots += [a.at[t].set(1), a_exponent.at[t].set(0), *logs]
        slots = lax.fori_loop(0, t // block + 1, advance, slots)
        return slots, [log[:T] for log in slots[4:]]

    exponent = jnp.zeros(n_slots, jnp.int32)
    empty = jnp.full(n_slots, -jnp.inf, js.dtype)
    slots = [jnp.zeros((n_slots, n, n), js.dtype), exponent]
    slots += [jnp.zeros((n_slots, n, 1), js.dtype), exponent, empty, empty]
    _, logs = lax.scan(row, slots, (jnp.arange(T), js, support, exponents))
    return logs


def _multiply(J, support, J_exponent, P, P_exponent, a, a_exponent, *_):
    """Slots after one more factor J · 2^J_exponent on the left, with the logarithms of their norms."""
    P, grown = _scaled.normalise(_scaled.matmul(J, P))
    P_exponent = P_exponent + grown + J_exponent
    a, grown = _scaled.advance_row_sums(J, support, a)
    a_exponent = a_exponent + grown + J_exponent
    sigma = jnp.linalg.svd(P, compute_uv=False)[:, 0]
    # ‖A‖₂ <= sqrt(n)·‖A‖_∞.
    bound = jnp.sqrt(jnp.asarray(J.shape[0], a.dtype)) * jnp.max(a, axis=(1, 2))
    log_sigma, log_bound = (
        jnp.log(mantissa) + exponent.astype(P.dtype) * _scaled.LN2
        for mantissa, exponent in ((sigma, P_exponent), (bound, a_exponent))
    )
    return P, P_exponent, a, a_exponent, log_sigma, log_bound


def _error_bound(log_norm, log_abs, n):
    """|Δ ln σ₁| at [t, k], from κ_N, κ_abs and the rounding of the logarithm."""
    T = log_norm.shape[0] - 1
    eps = jnp.finfo(log_norm.dtype).eps
    log_J = jnp.diagonal(log_norm, offset=-1)

    def log_kappa_n(row):
        # ln Σ_s ‖P_{t,s}‖ ‖J_s‖ ‖P_{s-1,k}‖ over k < s <= t; the table's -inf cut the sum's ends.
        return jax.nn.logsumexp((row[1:] + log_J)[:, None] + log_norm[:-1], axis=0)

    lag = jnp.maximum(jnp.arange(T + 1)[:, None] - jnp.arange(T + 1)[None, :], 0).astype(log_norm.dtype)
    log_kappa = lax.map(log_kappa_n, log_norm)
    log_kappa_abs = jnp.full_like(log_norm, -jnp.inf).at[1:, :T].set(log_abs) + jnp.log(lag)
    # A zero is certified only where the row sums vanish too: then no rounding could have made it.
    lost = (log_norm == -jnp.inf) & (log_kappa_abs > -jnp.inf)
    log_ratio = jnp.minimum(log_kappa, log_kappa_abs) - jnp.where(jnp.isfinite(log_norm), log_norm, 0.0)
    kappa = jnp.where(lost, jnp.inf, jnp.exp(jnp.minimum(log_ratio, 80.0)))
    relative = n * eps * (kappa + jnp.where(lag > 0, 1.0, 0.0))
    magnitude = jnp.where(jnp.isfinite(log_norm), jnp.abs(log_norm), 0.0)
    error = jnp.where(relative < 1, -jnp.log1p(-jnp.minimum(relative, 0.999)), jnp.inf) + 2 * eps * magnitude
    return jnp.where(lag > 0, error, 0.0)
