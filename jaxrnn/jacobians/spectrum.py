"""The singular spectrum of ∂h_t/∂h_k: every value, however small, with a certificate (E15)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn._pytree import after, ravel
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._graded import log_singular_values, udt
from jaxrnn.jacobians._matrix_free import pull_back, push_forward
from jaxrnn.jacobians._orthonormal import random_directions
from jaxrnn.jacobians._precise import precise_matmul
from jaxrnn.jacobians.norms import CERTIFIED_BELOW
from jaxrnn.types import Params, StepFn, Trajectory

__all__ = ["Spectrum", "leading_spectrum", "spectrum", "spectrum_fan"]

_SAFETY = 4
# How much further than its replicates a value may be off.


@result_type
class Spectrum(NamedTuple):
    """ln σ_i of ∂h_t/∂h_k in nats, descending; -inf where a value is zero."""

    log_sigma: Float[Array, "*B n"]
    log_error: Float[Array, "*B n"]
    certified: Bool[Array, "*B n"]

    def raise_if_bad(self) -> Spectrum:
        """The spectrum itself; NumericalError if a value is not certified. Not under jit."""
        bad = int(jnp.sum(~self.certified))
        if bad:
            raise _checks.NumericalError(
                f"spectrum: {bad} of {self.certified.size} singular values are not certified (rounding moves "
                "them, or a step Jacobian is not finite). Use float64, or read log_error and certified."
            )
        return self


@_checks.signature("jacobians.spectrum")
@compiled
@where_it_lies
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
    The product is carried as ``Q diag(m · 2^e) T`` (UDT), and its singular values are found by one-sided
    Jacobi in log scale, so that values far below the largest keep their digits. Products that amplify
    rounding errors cannot be saved by any algorithm; they are found by computing four replicates: the
    product, and three whose factors are changed in their last digit, each by one pattern of signs for all
    steps, one of them with a random rotation in front. The error is four times their spread, taken over
    neighbouring indices, plus (t-k)·n·eps, and at least the distance to the spectrum of the transposed
    product. This certificate is empirical, not a proof; `make validate` holds it against exact products.

    A step can make a small direction by cancellation, so J_t Q is computed from slices with exact products.

    Time: per step five QRs and about forty products of n×n, then about ten Jacobi sweeps of 2n³. Memory: a
    few n×n.

    Example
    -------
    >>> js = jnp.broadcast_to(jnp.diag(jnp.array([1.0, 1e-30])), (3, 2, 2))
    >>> [f"{log_sigma:.2f}" for log_sigma in spectrum(js).log_sigma]  # ln 1e-90 is out of float32's range
    ['0.00', '-207.23']

    Reference
    ---------
    UDT: Loh et al. 1992, Bai et al. 2011. One-sided Jacobi: Demmel & Veselić 1992.
    """
    T, n = _checks.jacobian_chain("jacobians.spectrum", js)
    t, k = _checks.pair("jacobians.spectrum", T if t is None else t, k, T)
    js = _scaled.widen(js)[k:t]
    if t == k:
        return _result(jnp.zeros(n, js.dtype), jnp.zeros(n, js.dtype), jnp.ones((), bool))
    factors = _scaled.chain(js)
    finite = jnp.all(factors.finite)
    flushed = jnp.any(factors.support & (factors.mantissas == 0))

    chains = jnp.stack([factors.mantissas, jnp.swapaxes(factors.mantissas, 1, 2)[::-1]])
    exponents = jnp.stack([factors.exponents, factors.exponents[::-1]])
    found = jax.vmap(lambda *replicate: _log_sigma(chains, exponents, *replicate))(*_replicates(n, js.dtype))
    log_sigma, error = _certify(found[:-1], (t - k) * n)
    error = jnp.maximum(error, _spread(found[jnp.array([0, -1])]))
    error = jnp.where(flushed & (log_sigma == -jnp.inf), jnp.inf, error)
    return _result(log_sigma, error, finite)


@_checks.signature("jacobians.leading_spectrum")
@where_it_lies
def leading_spectrum(
    step: StepFn,
    params: Params,
    trajectory: Trajectory,
    t: int | None = None,
    k: int = 0,
    *,
    top: int,
    sweeps: int = 4,
) -> Spectrum:
    """The `top` largest singular values of ``∂h_t/∂h_k`` of a large network, without its Jacobians (E15).

    ``top=1`` is its norm ‖∂h_t/∂h_k‖₂.

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    trajectory : of `unroll`.
    t, k : Python integers, 0 <= k <= t <= T; by default the whole sequence.
    top : how many values, at most n.
    sweeps : how often the block goes forth and back; more where the values beyond `top` come close.

    Returns
    -------
    Spectrum
        ``log_sigma [top]`` descending, in nats, with `log_error` and `certified`.

    Raises
    ------
    IndexError, ValueError
        If the pair (t, k) or `top` is out of range, sweeps < 1, or the trajectory is a batch.

    Notes
    -----
    Subspace iteration with ``top + 5`` directions: forth through `jax.jvp` of each step and back through
    `jax.vjp`, with a QR a step; then the spectrum of the product on the subspaces found, as in `spectrum`.
    Those of the right and the left subspace are one half-sweep apart; the error is 4 + 4·sweeps times their
    difference plus (t-k)·√n·eps. It is empirical: a direction that a random start misses is not seen.

    Time: 2·sweeps + 3 passes of top + 5 tangents a step. Memory: some n × (top + 5); no n×n is formed.

    Example
    -------
    >>> from jaxrnn.recurrence import unroll
    >>> linear = lambda w, h, x: (w * h, h)
    >>> trajectory = unroll(linear, jnp.array([0.5, 2.0, 1.0]), jnp.zeros(3), None, length=10)
    >>> leading_spectrum(linear, jnp.array([0.5, 2.0, 1.0]), trajectory, top=2).log_sigma / jnp.log(2)
    Array([10.,  0.], dtype=float32)
    """
    function = "jacobians.leading_spectrum"
    T = _checks.trajectory(function, trajectory)
    t, k = _checks.pair(function, T if t is None else t, k, T)
    n = ravel(trajectory.h_0).size
    if _checks.at_least(function, "top", top, 1) > n:
        raise ValueError(f"{function}: top is {top}; the state has n = {n} directions.")
    _checks.at_least(function, "sweeps", sweeps, 1)
    segment = jax.tree.map(lambda leaf: leaf[k:t], (trajectory.h_tm1s, trajectory.xs))
    push = push_forward(step, params, trajectory.h_0)
    pull = pull_back(step, params, trajectory.h_0)

    def through(apply, Q, reverse):
        return lax.scan(lambda Q, x: (jnp.linalg.qr(apply(x, Q))[0], None), Q, segment, reverse=reverse)[0]

    def log_sigma(apply, Q, inputs):
        no_shift = jnp.zeros((), jnp.int32)
        return log_singular_values(*udt(lambda Q, x: (apply(x, Q), no_shift), inputs, Q))[:top]

    V = random_directions(n, min(top + 5, n), ravel(trajectory.h_0).dtype)
    V = lax.fori_loop(0, sweeps, lambda _, V: through(pull, through(push, V, False), True), V)
    U = through(push, V, False)
    backwards = jax.tree.map(lambda leaf: leaf[::-1], segment)
    from_left = log_sigma(pull, U, backwards)
    found = jnp.stack([from_left, log_sigma(push, after(V, from_left), segment)])
    # Where neighbouring values are close, what is missing falls like one over the number of half-sweeps.
    found, error = _certify(found, (t - k) * n**0.5, _SAFETY + 4 * sweeps)
    # Not those of the values found: NaN compares as no number and comes out as a zero.
    return _result(found, error, jnp.all(jnp.isfinite(U)))


@_checks.signature("jacobians.spectrum_fan")
@where_it_lies
def spectrum_fan(js: Float[Array, "T n n"], lags: Int[Array, " F"]) -> Spectrum:
    """The spectra of ``∂h_T/∂h_{T-lag}`` at several lags: how many directions survive, and how long (E15).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`.
    lags : [F] integers 0..T; they may be traced.

    Returns
    -------
    Spectrum
        With a leading axis [F].

    Raises
    ------
    IndexError
        If a (concrete) lag lies outside 0..T.

    Notes
    -----
    Time and memory of F calls of `spectrum` over all T steps, in one program for all lags.

    Example
    -------
    >>> js = jnp.broadcast_to(jnp.diag(jnp.array([1.0, 0.5])), (3, 2, 2))
    >>> spectrum_fan(js, jnp.array([1, 3])).log_sigma[:, 1]  # ln 1/2 and ln 1/8
    Array([-0.6931472, -2.0794415], dtype=float32)
    """
    T, _ = _checks.jacobian_chain("jacobians.spectrum_fan", js)
    if not isinstance(lags, jax.core.Tracer) and not np.all(
        (np.asarray(lags) >= 0) & (np.asarray(lags) <= T)
    ):
        raise IndexError(
            f"jacobians.spectrum_fan: lags are {np.asarray(lags)}; expected 0 <= lag <= T = {T}."
        )
    return _fan(js, lags)


@jax.jit
def _fan(js, lags):
    T, n, _ = js.shape

    def at(lag):
        # Identity factors in front leave the product as it is, so that all lags share one shape.
        inside = jnp.arange(T)[:, None, None] >= T - lag
        return spectrum(jnp.where(inside, js, jnp.eye(n, dtype=js.dtype)))

    return jax.vmap(at)(jnp.asarray(lags))


def _log_sigma(chains, exponents, which, pattern, Q):
    def advance(Q, t):
        J = _change_last_digits(chains[which, t], pattern)
        return precise_matmul(J, Q, slices=2), exponents[which, t]

    return log_singular_values(*udt(advance, jnp.arange(chains.shape[1]), Q))


def _replicates(n, dtype):
    """Of five replicates: the chain (1: transposed), the pattern [n, n] of its factors, the start [n, n].

    The first is the product itself. A pattern of changed digits is the same at every step: where the product
    converges, so do its rounding errors, and they add up. A rotation in front spoils zeros that stay exact
    only as long as nothing is mixed.
    """
    signs = jax.random.rademacher(jax.random.key(0), (3, n, n), jnp.int8)
    none, eye, rotation = jnp.zeros((n, n), jnp.int8), jnp.eye(n, dtype=dtype), random_directions(n, n, dtype)
    patterns = jnp.stack([none, *signs, none])
    return jnp.array([0, 0, 0, 0, 1]), patterns, jnp.stack([eye, eye, eye, rotation, rotation])


def _change_last_digits(A, signs):
    """Entries larger or smaller by 2 in their last digit, which is once or twice eps; zeros stay.

    As integers: products are rounded, and a compiler may do so differently at each place that they are used.
    """
    integers = jnp.int32 if A.dtype == jnp.float32 else jnp.int64
    changed = lax.bitcast_convert_type(A, integers) + 2 * signs.astype(integers)
    return jnp.where(jnp.abs(A) >= jnp.finfo(A.dtype).tiny * 2, lax.bitcast_convert_type(changed, A.dtype), A)


def _certify(replicates, roundings, safety=_SAFETY):
    """(ln σ_i, its error) from results that should be equal, each after so many roundings."""
    log_sigma = replicates[0]
    eps = jnp.finfo(log_sigma.dtype).eps
    error = safety * (_spread(replicates) + roundings * eps)
    # The replicates share the rounding of the logarithm.
    return log_sigma, error + 2 * eps * jnp.where(jnp.isfinite(log_sigma), jnp.abs(log_sigma), 0)


def _result(log_sigma, error, finite):
    log_error = jnp.where(finite, error, jnp.inf).astype(log_sigma.dtype)
    return Spectrum(jnp.where(finite, log_sigma, jnp.nan), log_error, log_error < CERTIFIED_BELOW)


def _spread(replicates):
    """Per index the range over the replicates, or a neighbour's if that is larger."""
    zeros = replicates == -jnp.inf
    values = jnp.where(zeros, 0, replicates)
    spread = jnp.max(values, axis=0) - jnp.min(values, axis=0)
    # All replicates agree on an exact zero, or the value is unknown.
    spread = jnp.where(jnp.all(zeros, axis=0), 0, jnp.where(jnp.any(zeros, axis=0), jnp.inf, spread))
    padded = jnp.pad(spread, 1)
    return jnp.maximum(spread, jnp.maximum(padded[:-2], padded[2:]))
