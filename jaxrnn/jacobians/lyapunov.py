"""Growth rates of the Jacobian product per step: finite-time Lyapunov exponents (E15)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn._pytree import after, ravel
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._matrix_free import push_forward
from jaxrnn.jacobians._orthonormal import growth_of_directions, random_directions, running_mean
from jaxrnn.types import Params, StepFn, Trajectory

__all__ = ["GrowthRates", "growth_rates", "leading_growth_rates"]


@result_type
class GrowthRates(NamedTuple):
    """Lyapunov exponents in nats per step, descending; -inf for a direction that a step annihilates.

    `certified` is False everywhere if a step Jacobian is not finite, or if all n rates are there and
    break the sum rule Σλ_i = mean ln|det J_t|.
    """

    rates: Float[Array, "*B k"]
    standard_error: Float[Array, "*B k"]
    """From the means of about √T consecutive blocks, which absorb the correlation in time."""
    log_abs_det_rate: Float[Array, "*B"] | None
    """Mean ln|det J_t|; None unless all n rates are there."""
    certified: Bool[Array, "*B k"]
    trace: Float[Array, "*B M k"]
    """The rates as they stood after `trace_steps` steps: whether they have converged."""
    trace_steps: Int[Array, "*B M"]

    @property
    def kaplan_yorke_dimension(self) -> Float[Array, "*B"]:
        """``j + Σ_{i<=j} λ_i / |λ_{j+1}|``, j the last with Σ_{i<=j} λ_i >= 0; NaN if rates are missing."""
        sums = jnp.cumsum(self.rates, axis=-1)
        counted = jnp.cumprod(sums >= 0, axis=-1) > 0
        j = jnp.sum(counted, axis=-1)
        k = self.rates.shape[-1]
        beyond = jnp.take_along_axis(self.rates, jnp.minimum(j, k - 1)[..., None], axis=-1)[..., 0]
        inside = jnp.sum(jnp.where(counted, self.rates, 0), axis=-1)
        everything = jnp.nan if self.log_abs_det_rate is None else float(k)
        dimension = j.astype(inside.dtype) + inside / jnp.abs(jnp.where(j < k, beyond, 1))
        return jnp.where(j < k, dimension, everything)

    @property
    def entropy_rate(self) -> Float[Array, "*B"]:
        """Σ of the positive rates in nats per step (Pesin); NaN if some of them are missing."""
        total = jnp.sum(jnp.maximum(self.rates, 0), axis=-1)
        if self.log_abs_det_rate is None:
            return jnp.where(self.rates[..., -1] > 0, jnp.nan, total)
        return total

    def raise_if_bad(self) -> GrowthRates:
        """The rates themselves; NumericalError if they are not certified. Not under jit."""
        if not bool(jnp.all(self.certified)):
            raise _checks.NumericalError(
                "growth_rates: a step Jacobian is not finite, or the rates break the sum rule "
                "Σλ_i = mean ln|det J_t|; look for NaN or infinity in the trajectory."
            )
        return self


@_checks.signature("jacobians.growth_rates")
@compiled
@where_it_lies
def growth_rates(js: Float[Array, "T n n"], *, k: int | None = None, warm_up: int = 0) -> GrowthRates:
    """The leading k growth rates ``λ_i = (1/T) Σ_t ln |R_t[i, i]|``, with ``Q_t R_t = J_t Q_{t-1}`` (E15).

    These are growth rates of the product, not its singular values: at finite T they differ (about a
    decade for random chains, more for non-normal ones); `spectrum` gives the singular values.

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`; float16 and bfloat16 are computed in float32.
    k : how many rates; by default all n.
    warm_up : steps at the start that only turn the directions and are not counted.

    Returns
    -------
    GrowthRates
        ``rates [k]`` in nats per step, ``standard_error [k]`` (inf for fewer than 4 counted steps),
        ``log_abs_det_rate`` = mean ln|det J_t| of the counted steps, to which all n rates add up at any T,
        ``certified [k]``, and the convergence in ``trace [M, k]`` at ``trace_steps [M]``.

    Raises
    ------
    ValueError
        If no step is left to count, js is not [T, n, n], k is outside 1..n or warm_up < 0.

    Notes
    -----
    Logarithms are summed with Kahan's compensation. From 100 steps on, directions are propagated ten steps
    between two Householder QRs where that is safe: one more column carries noise along, and where it outgrows
    a direction by more than 8 nats (so that 3 digits of the dtype are lost), the ten steps are done again
    with a QR each. Under `jax.vmap` both ways are computed.

    Time: T times 2 n² k for the product and about 4 n k² for each QR, and n³ a step for the determinants if
    all rates are asked for. Memory: T·k/10 beyond js.

    Example
    -------
    >>> js = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 0.5])), (8, 2, 2))
    >>> growth_rates(js).rates  # ln 2 and -ln 2
    Array([ 0.6931472, -0.6931472], dtype=float32)

    Reference
    ---------
    Benettin et al. 1980; for recurrent networks Engelken, Wolf & Abbott 2023. Kaplan & Yorke 1979.
    """
    T, n = _checks.jacobian_chain("jacobians.growth_rates", js)
    k = n if k is None else k
    _counts("jacobians.growth_rates", T, n, "k", k, warm_up)
    js = _scaled.widen(js)
    # All directions at once need no start; a few might start where the growing ones are never met.
    Q = jnp.eye(n, dtype=js.dtype) if k == n else random_directions(n, k, js.dtype)
    grown = growth_of_directions(lambda Q, J: _scaled.matmul(J, Q), Q, js, warm_up)
    if k < n:
        return _result(grown)
    log_abs_det = jnp.linalg.slogdet(after(js[warm_up:], grown[0]))[1]
    return _result(grown, running_mean(log_abs_det[:, None], jnp.ones(T - warm_up, int))[-1, 0])


@_checks.signature("jacobians.leading_growth_rates")
@where_it_lies
def leading_growth_rates(
    step: StepFn, params: Params, trajectory: Trajectory, *, k: int, warm_up: int = 0
) -> GrowthRates:
    """The k leading `growth_rates` of a large network, without its Jacobians (E15).

    Parameters
    ----------
    step, params : the recurrence of one sequence, or an autonomous map (inputs None).
    trajectory : of `unroll`.
    k : how many rates.
    warm_up : steps at the start that are not counted; the directions start at random.

    Returns
    -------
    GrowthRates
        As `growth_rates` with k < n gives it: ``log_abs_det_rate`` is None.

    Raises
    ------
    ValueError
        If no step is left to count, the trajectory is a batch, or k is outside 1..n.

    Notes
    -----
    Directions are pushed forward through `jax.jvp` of the step. Time: k + 1 tangents a step, and a QR of
    n×k every one to ten steps, as for `growth_rates`. Memory: a few n×k; no n×n is formed.

    Example
    -------
    >>> from jaxrnn.recurrence import unroll
    >>> logistic = lambda _, h, x: (4 * h * (1 - h), h)
    >>> trajectory = unroll(logistic, (), jnp.full(1, 0.3), None, length=1000)
    >>> abs(leading_growth_rates(logistic, (), trajectory, k=1).rates[0] - jnp.log(2)) < 0.01
    Array(True, dtype=bool)
    """
    T = _checks.trajectory("jacobians.leading_growth_rates", trajectory)
    n = ravel(trajectory.h_0).size
    _counts("jacobians.leading_growth_rates", T, n, "k", k, warm_up)
    push = push_forward(step, params, trajectory.h_0)
    Q = random_directions(n, k, ravel(trajectory.h_0).dtype)
    inputs = (trajectory.h_tm1s, trajectory.xs)
    return _result(growth_of_directions(lambda Q, at: push(at, Q), Q, inputs, warm_up))


def _counts(function, T, n, name, k, warm_up):
    if _checks.at_least(function, name, k, 1) > n:
        raise ValueError(f"{function}: {name} is {k}; the state has n = {n} directions.")
    if _checks.at_least(function, "warm_up", warm_up, 0) >= T:
        raise ValueError(
            f"{function}: T = {T} steps with warm_up = {warm_up} leave none to count; expected at least one."
        )


def _result(grown, log_abs_det_rate=None):
    rates, standard_error, trace, trace_steps = grown
    finite = ~jnp.any(jnp.isnan(rates))
    certified = finite
    if log_abs_det_rate is not None:
        certified = finite & _sum_rule_holds(rates, log_abs_det_rate)
    order = jnp.argsort(-rates)
    return GrowthRates(
        jnp.where(finite, rates[order], jnp.nan),
        jnp.where(finite, standard_error[order], jnp.inf),
        log_abs_det_rate,
        jnp.broadcast_to(certified, rates.shape),
        trace[:, order],
        trace_steps,
    )


def _sum_rule_holds(rates, log_abs_det_rate):
    total = jnp.sum(rates)
    tolerance = 1e3 * jnp.finfo(rates.dtype).eps * (1 + jnp.sum(jnp.abs(rates)))
    both_singular = (total == -jnp.inf) & (log_abs_det_rate == -jnp.inf)
    return both_singular | (jnp.abs(total - log_abs_det_rate) <= tolerance)
