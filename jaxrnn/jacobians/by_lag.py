"""Norms against the lag t - k: the curve that says vanishing or exploding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians.bounds import sums_over_spans
from jaxrnn.jacobians.norms import Norms

__all__ = ["NormByLag", "norm_by_lag"]


@result_type
class NormByLag(NamedTuple):
    """ln ‖∂h_t/∂h_k‖₂ against the lag t - k, over all t and sequences, in nats."""

    median: Float[Array, "*B L"]
    low: Float[Array, "*B L"]
    """The 10 % quantile."""
    high: Float[Array, "*B L"]
    """The 90 % quantile."""
    product_bound: Float[Array, "*B L"] | None
    """The mean of Σ ln ‖J_i‖₂ over the lag (E14, middle term); None if not all lags are there."""


@_checks.signature("jacobians.norm_by_lag")
@where_it_lies
def norm_by_lag(
    result: Norms, *, at: Sequence[int] | None = None, lags: Sequence[int] | None = None
) -> NormByLag:
    """Quantiles of `norms` over all pairs of one lag, of one sequence or of a batch of them.

    Parameters
    ----------
    result : of `norms`, [T+1, T+1], or [S, T+1, T+1] from `jax.vmap`; or of `norms` at some lags, and
        perhaps at some times.
    at, lags : what `norms` was called with. `at` without `lags` has no curve.

    Returns
    -------
    NormByLag
        Curves [T+1] over the lags 0..T, or [L] over those given. -inf counts as a value; a NaN makes its lag
        NaN, and so does a lag without a pair.

    Raises
    ------
    ValueError
        If the table has not the shape that `at` and `lags` say.

    Notes
    -----
    Quantiles are those of the nearest pair, not interpolated. Time and memory: S·T² and a sort.

    Example
    -------
    >>> from jaxrnn.jacobians import norms
    >>> norm_by_lag(norms(jnp.full((2, 1, 1), 0.5))).median
    Array([ 0.       , -0.6931472, -1.3862944], dtype=float32)
    """
    shape, _ = _checks.array("jacobians.norm_by_lag", "result.log_norm", result.log_norm)
    for name, given in (("at", at), ("lags", lags)):
        if given is not None:
            _checks.indices("jacobians.norm_by_lag", name, given, 2**31)
    if len(shape) < 2:
        raise ValueError(f"jacobians.norm_by_lag: result.log_norm has shape {shape}; expected [T+1, T+1].")
    tables = jnp.asarray(result.log_norm)
    tables = tables.reshape(-1, *tables.shape[-2:])
    rows, columns = tables.shape[1:]
    fits = rows == columns if lags is None else columns == len(lags) and (at is None or rows == len(at))
    if not fits or (at is not None and lags is None):
        raise ValueError(
            f"jacobians.norm_by_lag: the table is {tables.shape[1:]}; expected [T+1, T+1], or "
            f"[times, lags] with at = {at} and lags = {lags} as they were given to norms."
        )
    if lags is not None:
        t = np.arange(rows) if at is None else np.asarray(at)
        return NormByLag(*_quantiles(tables, np.subtract.outer(t, lags) >= 0), None)
    lag, k = np.indices((rows, rows))
    exists = (lag + k < rows).T
    t = np.minimum(lag + k, rows - 1)
    bounds = jax.vmap(sums_over_spans)(jnp.diagonal(tables, offset=-1, axis1=1, axis2=2))
    by_lag, bounds = (jnp.swapaxes(values[:, t, k], 1, 2) for values in (tables, bounds))
    n_pairs = jnp.asarray(len(tables) * exists.sum(axis=0), tables.dtype)
    mean_bound = jnp.sum(jnp.where(exists, bounds, 0), axis=(0, 1)) / n_pairs
    return NormByLag(*_quantiles(by_lag, exists), mean_bound)


def _quantiles(values, exists):
    """Median, 10 % and 90 % over sequences and rows of [S, rows, L], of the pairs that exist [rows, L]."""
    values = jnp.where(exists, values, jnp.inf)
    n_pairs = len(values) * exists.sum(axis=0)
    ordered = jnp.sort(values.reshape(-1, values.shape[-1]), axis=0)
    spoilt = jnp.any(jnp.isnan(ordered), axis=0) | (n_pairs == 0)

    def quantile(q):
        index = np.round(q * np.maximum(n_pairs - 1, 0)).astype(int)
        return jnp.where(spoilt, jnp.nan, ordered[index, np.arange(len(index))])

    return quantile(0.5), quantile(0.1), quantile(0.9)
