"""Norms against the lag t - k: the curve that says vanishing or exploding."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.jacobians.bounds import sums_over_spans
from jaxrnn.jacobians.norms import Norms

__all__ = ["NormByLag", "norm_by_lag"]


class NormByLag(NamedTuple):
    """ln ‖∂h_t/∂h_k‖₂ against the lag t - k = 0..T, over all t and sequences, in nats."""

    median: Float[Array, " T1"]
    low: Float[Array, " T1"]
    """The 10 % quantile."""
    high: Float[Array, " T1"]
    """The 90 % quantile."""
    product_bound: Float[Array, " T1"]
    """The mean of Σ ln ‖J_i‖₂ over the lag (E14, middle term)."""


def norm_by_lag(result: Norms) -> NormByLag:
    """Quantiles of `norms` over all pairs of one lag, of one sequence or of a batch of them.

    Parameters
    ----------
    result : of `norms`, [T+1, T+1], or [S, T+1, T+1] from `jax.vmap`.

    Returns
    -------
    NormByLag
        Curves [T+1]. -inf counts as a value; a NaN makes its lag NaN.

    Notes
    -----
    Quantiles are those of the nearest pair, not interpolated. Time and memory: S·T² and a sort.

    Example
    -------
    >>> from jaxrnn.jacobians import norms
    >>> norm_by_lag(norms(jnp.full((2, 1, 1), 0.5))).median
    Array([ 0.       , -0.6931472, -1.3862944], dtype=float32)
    """
    log_norm = jnp.asarray(result.log_norm)
    log_norm = log_norm.reshape(-1, *log_norm.shape[-2:])
    bound = jax.vmap(sums_over_spans)(jnp.diagonal(log_norm, offset=-1, axis1=1, axis2=2))
    values, n_pairs = _by_lag(log_norm)
    ordered = jnp.sort(values, axis=1)
    spoilt = jnp.any(jnp.isnan(values), axis=1)

    def quantile(q):
        index = jnp.round(q * (n_pairs - 1)).astype(int)
        return jnp.where(spoilt, jnp.nan, jnp.take_along_axis(ordered, index[:, None], axis=1)[:, 0])

    bounds, _ = _by_lag(bound, beyond=0.0)
    mean_bound = jnp.sum(bounds, axis=1) / n_pairs
    return NormByLag(quantile(0.5), quantile(0.1), quantile(0.9), mean_bound)


def _by_lag(tables, beyond=jnp.inf):
    """[T+1, S·(T+1)]: the pairs of each lag, then `beyond` for pairs t > T; and how many pairs there are."""
    size = tables.shape[-1]
    lag, k = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    inside = lag + k < size
    values = jnp.where(inside, tables[:, jnp.minimum(lag + k, size - 1), k], beyond)
    n_pairs = len(tables) * jnp.arange(size, 0, -1)
    return jnp.moveaxis(values, 0, 1).reshape(size, -1), n_pairs.astype(tables.dtype)
