"""Growth rates of the Jacobian product per step: finite-time Lyapunov exponents (E15)."""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxrnn import _checks
from jaxrnn.jacobians import _scaled

__all__ = ["GrowthRates", "growth_rates"]


class GrowthRates(NamedTuple):
    """Lyapunov exponents in nats per step, descending; -inf for a direction that a step annihilates.

    `certified` is False everywhere if a step Jacobian is not finite, or if all n rates are there and
    break the sum rule Σλ_i = mean ln|det J_t|.
    """

    rates: Float[Array, "*B k"]
    standard_error: Float[Array, "*B k"]
    log_abs_det_rate: Float[Array, "*B"]
    certified: Bool[Array, "*B k"]

    def raise_if_bad(self) -> GrowthRates:
        """The rates themselves; NumericalError if they are not certified. Not under jit."""
        if not bool(jnp.all(self.certified)):
            raise _checks.NumericalError(
                "growth_rates: a step Jacobian is not finite, or the rates break the sum rule "
                "Σλ_i = mean ln|det J_t|; look for NaN or infinity in the trajectory."
            )
        return self


def growth_rates(js: Float[Array, "T n n"], *, k: int | None = None) -> GrowthRates:
    """The leading k growth rates ``λ_i = (1/T) Σ_t ln |R_t[i, i]|``, with ``Q_t R_t = J_t Q_{t-1}`` (E15).

    These are growth rates of the product, not its singular values: at finite T they differ (about a
    decade for random chains, more for non-normal ones); `spectrum` gives the singular values.

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`; float16 and bfloat16 are computed in float32.
    k : how many rates; by default all n.

    Returns
    -------
    GrowthRates
        ``rates [k]`` in nats per step, ``standard_error [k]`` from the means of √T blocks (inf for
        T < 4), ``log_abs_det_rate`` = mean ln|det J_t|, to which all n rates add up at any T, and
        ``certified [k]``.

    Raises
    ------
    ValueError
        If T = 0, js is not [T, n, n], or k is outside 1..n.

    Notes
    -----
    Householder QR every step, logarithms summed with Kahan's compensation. Time: T times 2 n² k for the
    product and about 4 n k² for QR; memory T·k beyond js.

    Example
    -------
    >>> js = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 0.5])), (8, 2, 2))
    >>> growth_rates(js).rates  # ln 2 and -ln 2
    Array([ 0.6931472, -0.6931472], dtype=float32)

    Reference
    ---------
    Benettin et al. 1980; for recurrent networks Engelken, Wolf & Abbott 2023.
    """
    T, n = _checks.jacobian_chain("jacobians.growth_rates", js)
    if T == 0:
        raise ValueError("jacobians.growth_rates: js has T = 0 steps; a rate needs at least one.")
    k = n if k is None else _checks.at_least("jacobians.growth_rates", "k", k, 1)
    if k > n:
        raise ValueError(f"jacobians.growth_rates: k is {k}; the state has n = {n} directions.")
    js = _scaled.widen(js)
    finite = jnp.all(jnp.isfinite(js))
    js, exponents = _scaled.normalise(jnp.where(jnp.isfinite(js), js, 0))
    shifts = exponents.astype(js.dtype) * _scaled.LN2

    def orthonormalise(Q, inputs):
        J, shift = inputs
        Q, R = jnp.linalg.qr(_scaled.matmul(J, Q))
        return Q, jnp.log(jnp.abs(jnp.diagonal(R))) + shift

    _, logs = lax.scan(orthonormalise, jnp.eye(n, k, dtype=js.dtype), (js, shifts))
    rates = _compensated_mean(logs)
    standard_error = _block_standard_error(logs)
    order = jnp.argsort(-rates)
    rates, standard_error = rates[order], standard_error[order]

    log_abs_det = jnp.linalg.slogdet(js)[1] + n * shifts
    log_abs_det_rate = _compensated_mean(log_abs_det[:, None])[0]
    certified = finite & (_sum_rule_holds(rates, log_abs_det_rate) if k == n else True)
    return GrowthRates(
        jnp.where(finite, rates, jnp.nan),
        jnp.where(finite, standard_error, jnp.inf),
        jnp.where(finite, log_abs_det_rate, jnp.nan),
        jnp.broadcast_to(certified, rates.shape),
    )


def _compensated_mean(logs):
    """Mean over the first axis with Kahan summation; -inf where any entry is."""
    finite = jnp.isfinite(logs)

    def add(carry, log):
        total, lost = carry
        log = log - lost
        new = total + log
        return (new, (new - total) - log), None

    zero = jnp.zeros(logs.shape[1:], logs.dtype)
    (total, _), _ = lax.scan(add, (zero, zero), jnp.where(finite, logs, 0))
    return jnp.where(jnp.all(finite, axis=0), total / logs.shape[0], -jnp.inf)


def _block_standard_error(logs):
    """Standard error of the mean from √T consecutive blocks, which absorb the correlation in time."""
    T, k = logs.shape
    blocks = isqrt(T)
    if blocks < 2:
        return jnp.full(k, jnp.inf, logs.dtype)
    size = T // blocks
    means = jnp.mean(logs[: blocks * size].reshape(blocks, size, k), axis=1)
    spread = jnp.std(jnp.where(jnp.isfinite(means), means, 0), axis=0, ddof=1) / jnp.sqrt(blocks).astype(
        logs.dtype
    )
    return jnp.where(jnp.all(jnp.isfinite(means), axis=0), spread, jnp.inf)


def _sum_rule_holds(rates, log_abs_det_rate):
    total = jnp.sum(rates)
    tolerance = 1e3 * jnp.finfo(rates.dtype).eps * (1 + jnp.sum(jnp.abs(rates)))
    both_singular = (total == -jnp.inf) & (log_abs_det_rate == -jnp.inf)
    return both_singular | (jnp.abs(total - log_abs_det_rate) <= tolerance)
