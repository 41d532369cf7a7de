"""Spectral norms ‖∂h_t/∂h_k‖₂ of all or some pairs, in logarithms and with an error bound (E15)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn._result_type import result_type
from jaxrnn._sharding import axes_of, explicit_mesh, on_auto_axes
from jaxrnn.jacobians import _scaled
from jaxrnn.jacobians._error import log_error, log_moved
from jaxrnn.jacobians._over_steps import sweep_over_steps
from jaxrnn.jacobians._products import View, sweep

__all__ = ["CERTIFIED_BELOW", "Norms", "norms", "norms_of_views", "singular_values_of_views"]

CERTIFIED_BELOW = 0.23
"""A logarithm counts as certified while its error bound is below this many nats: a tenth of a decade."""


@result_type
class Norms(NamedTuple):
    """ln ‖∂h_t/∂h_k‖₂ in nats; -inf where k > t.

    A pair that spans a NaN or infinite step Jacobian is NaN in `log_norm` and not certified.
    """

    log_norm: Float[Array, "*B A K"]
    log_error: Float[Array, "*B A K"]
    certified: Bool[Array, "*B A K"]

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


@_checks.signature("jacobians.norms")
@compiled
def norms(
    js: Float[Array, "T n n"], *, at: Sequence[int] | None = None, lags: Sequence[int] | None = None
) -> Norms:
    """``ln ‖∂h_t/∂h_k‖₂`` for all or some 0 <= k <= t <= T, from the step Jacobians of one sequence (E15).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`; float16 and bfloat16 are computed in float32.
    at : times t, Python integers; by default all of 0..T. ``at=[T]`` is the last row of the table.
    lags : lags t - k, Python integers; by default all.

    Returns
    -------
    Norms
        ``log_norm``, ``log_error`` and ``certified`` in nats: [T+1, T+1] at [t, k]; with `at` one row for
        each of its times; with `lags` one column for each lag, at [t, lag] (-inf where lag > t).

    Raises
    ------
    ValueError
        If js is not [T, n, n].
    IndexError
        If a time or a lag lies outside 0..T.

    Notes
    -----
    The products of all t are carried from lag to lag as mantissa · 2^exponent, so that nothing underflows.
    σ₁ comes from an SVD, for n > 64 from Golub-Kahan bidiagonalisation with a residual check and an SVD
    where it has not converged. The error bound is what the rounding of every product, E_{t,s}, can become:
    ``|Δ ln σ₁| <= min(Σ_s ‖E_{t,s}‖ ‖P_{s,k}‖, (t-k)·2n·eps·‖ |J_t|...|J_{k+1}| ‖) / ‖P_{t,k}‖``, plus the
    rounding of the logarithm and of the SVD: rounding errors can re-seed directions that dominate later, and
    then a product is flagged rather than silently wrong. Products are formed in slices, so that E_{t,s} is
    hardly more than the last rounding of P_{t,s}. For some pairs only, ‖P_{s,k}‖ is replaced by an upper
    bound, so that the bound holds but is some times wider.

    Time: T²/2 products and SVDs of n×n, and T³/3 exponentials for the bound; with `at` and `lags`, a
    product for every t in `at` and every lag up to the largest, an SVD only where asked for, about 50
    products a step for the bound, and one exponential for every pair and lag. Memory: one n×n for every t,
    and a few tables.

    Example
    -------
    >>> js = jnp.full((3, 1, 1), 0.5)
    >>> norms(js).log_norm[3, 0]  # ln 2^-3
    Array(-2.0794415, dtype=float32)
    >>> norms(js, at=[3], lags=[1, 2]).log_norm
    Array([[-0.6931472, -1.3862944]], dtype=float32)
    """
    return norms_of_views("jacobians.norms", js, (), at, lags)[0]


def norms_of_views(function: str, js, views: tuple[View, ...], at, lags) -> list[Norms]:
    """Norms of the whole product, then of each of its blocks; arguments and shapes as for `norms`."""
    tables = singular_values_of_views(function, js, views, at, lags, top=1)
    return [Norms(log[..., 0], error[..., 0], error[..., 0] < CERTIFIED_BELOW) for log, error in tables]


def singular_values_of_views(function: str, js, views: tuple[View, ...], at, lags, top: int):
    """(ln σ_i, its error), each [..., top], of the whole product, then of each of its blocks."""
    _checks.jacobian_chain(function, js)
    # The rows of a whole table can be computed where the type of js says that its steps are.
    over = axes_of(js, 0) if at is None and lags is None else None
    tables = partial(_tables, function, views=views, at=at, lags=lags, top=top, over=over)
    return on_auto_axes(explicit_mesh(js), tables, js)


def _tables(function, js, *, views, at, lags, top, over):
    T, n = jnp.shape(js)[:2]
    times = _checks.indices(function, "at", at, T)
    wanted = _checks.indices(function, "lags", lags, T)
    factors = _scaled.chain(js)
    views = (View(slice(0, n), slice(0, n)), *views)

    # The sweep takes each time and lag once and in order; lag 0 needs no product.
    swept_t, swept_lag = np.unique(times[times > 0]), np.unique(wanted[wanted > 0])
    if not (len(swept_t) and len(swept_lag)):
        swept_t = swept_lag = np.zeros(0, int)
    if over:
        swept = sweep_over_steps(factors, over, views, top)
    else:
        swept = _sweep_with_errors(factors, swept_t, swept_lag, views, top)
    lag = np.broadcast_to(wanted, (len(times), len(wanted))) if lags is not None else times[:, None] - wanted
    t = np.broadcast_to(times[:, None], lag.shape)
    row, column = np.searchsorted(swept_t, t), np.searchsorted(swept_lag, lag)
    n_bad = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(~factors.finite)])
    clean = (n_bad[t] == n_bad[np.maximum(t - lag, 0)])[..., None]
    exists, inside = ((lag >= first) & (lag <= t) for first in (0, 1))
    exists, inside = exists[..., None], inside[..., None]

    def assemble(at_start, swept):
        shape = (*lag.shape, top)
        log_sigma, error = jnp.broadcast_to(at_start, shape), jnp.zeros(shape, factors.mantissas.dtype)
        if swept:
            log_sigma, error = (
                jnp.where(inside, table.at[row, column].get(mode="clip"), rest)
                for table, rest in zip(swept, (log_sigma, error), strict=True)
            )
        log_sigma = jnp.where(exists, jnp.where(clean, log_sigma, jnp.nan), -jnp.inf)
        return log_sigma, jnp.where(exists & ~clean, jnp.inf, error)

    at_start = np.array([0 if view.rows.start == view.cols.start else -np.inf for view in views])
    tables = jax.vmap(assemble)(jnp.asarray(at_start, factors.mantissas.dtype), swept)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tables) for i in range(len(views))]


def _sweep_with_errors(factors, at, lags, views, top):
    """(ln σ_i, its error) at [view, t in at, lag, i]; nothing without times."""
    if not len(at):
        return ()
    swept = sweep(factors, at, lags, views, top)
    moved = log_moved(factors, swept, at, lags)
    n = factors.mantissas.shape[-1]
    error = jax.vmap(lambda *of_view: log_error(moved, *of_view, jnp.asarray(lags), n))
    return swept.log_sigma, error(swept.log_sigma, swept.log_abs, swept.residual)
