"""The singular spectrum of ∂h_t/∂h_k: every value, however small, with a certificate (E15)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxrnn import _checks
from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._graded import log_singular_values, udt
from jaxrnn.jacobians.norms import CERTIFIED_BELOW

__all__ = ["Spectrum", "spectrum", "spectrum_fan"]

_SAFETY = 10
# How much further than its replicates a value may be off.


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
    product, its transpose, and both with a random rotation in front, which round differently. The error is
    ten times their spread, taken over neighbouring indices, plus (t-k)·n·eps. This certificate is
    empirical, not a proof.

    Time: per step four products and QRs of n×n, then about ten Jacobi sweeps of 2n³. Memory: a few n×n.

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
    finite = jnp.all(jnp.isfinite(js))
    js = jnp.where(jnp.isfinite(js), js, 0)
    nonzero = js != 0
    js, exponents = _scaled.normalise(js)
    flushed = jnp.any(nonzero & (js == 0))

    eye = jnp.eye(n, dtype=js.dtype)
    rotation, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (n, n), js.dtype))
    chains = jnp.stack([js, jnp.swapaxes(js, 1, 2)[::-1]])
    scales = jnp.stack([exponents, exponents[::-1]])
    over_rotations = jax.vmap(_log_sigma, in_axes=(None, None, 0))
    replicates = jax.vmap(over_rotations, in_axes=(0, 0, None))(chains, scales, jnp.stack([eye, rotation]))
    replicates = replicates.reshape(4, n)

    log_sigma = replicates[0]
    error = _SAFETY * (_spread(replicates) + (t - k) * n * jnp.finfo(js.dtype).eps)
    # The replicates share the rounding of the logarithm, and entries that one step's scale flushed to zero.
    error += 2 * jnp.finfo(js.dtype).eps * jnp.where(jnp.isfinite(log_sigma), jnp.abs(log_sigma), 0)
    error = jnp.where(flushed & (log_sigma == -jnp.inf), jnp.inf, error)
    log_sigma = jnp.where(finite, log_sigma, jnp.nan)
    log_error = jnp.where(finite, error, jnp.inf).astype(js.dtype)
    return Spectrum(log_sigma, log_error, log_error < CERTIFIED_BELOW)


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
    T, n = _checks.jacobian_chain("jacobians.spectrum_fan", js)
    if not isinstance(lags, jax.core.Tracer) and not np.all(
        (np.asarray(lags) >= 0) & (np.asarray(lags) <= T)
    ):
        raise IndexError(
            f"jacobians.spectrum_fan: lags are {np.asarray(lags)}; expected 0 <= lag <= T = {T}."
        )

    def at(lag):
        # Identity factors in front leave the product as it is, so that all lags share one shape.
        inside = jnp.arange(T)[:, None, None] >= T - lag
        return spectrum(jnp.where(inside, js, jnp.eye(n, dtype=js.dtype)))

    return jax.vmap(at)(jnp.asarray(lags))


def _log_sigma(js, exponents, rotation):
    return log_singular_values(*udt(js, exponents, rotation))


def _spread(replicates):
    """Per index the range over the replicates, or a neighbour's if that is larger."""
    zeros = replicates == -jnp.inf
    values = jnp.where(zeros, 0, replicates)
    spread = jnp.max(values, axis=0) - jnp.min(values, axis=0)
    # All replicates agree on an exact zero, or the value is unknown.
    spread = jnp.where(jnp.all(zeros, axis=0), 0, jnp.where(jnp.any(zeros, axis=0), jnp.inf, spread))
    padded = jnp.pad(spread, 1)
    return jnp.maximum(spread, jnp.maximum(padded[:-2], padded[2:]))
