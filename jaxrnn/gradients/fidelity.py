"""How far an estimate of the gradient is from the exact one."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn.types import Batch, Estimator, Key, Params, State

__all__ = ["Fidelity", "fidelity", "fidelity_of"]


class Fidelity(NamedTuple):
    """An estimator against the exact gradient g, at one set of parameters and one batch."""

    bias: Float[Array, ""]
    """‖E[ĝ] - g‖ / ‖g‖, over the draws; the relative error of a deterministic estimator."""
    cosine: Float[Array, ""]
    """Mean cosine of the angle between ĝ and g."""
    norm_ratio: Float[Array, ""]
    """Mean ‖ĝ‖ / ‖g‖."""
    sign_agreement: Float[Array, ""]
    """Mean fraction of the entries whose sign is g's."""
    variance: Float[Array, ""]
    """E‖ĝ - E[ĝ]‖² / ‖g‖², over the draws."""


def fidelity(
    estimator: Estimator,
    exact: Estimator,
    params: Params,
    batch: Batch,
    key: Key,
    *,
    h_0: State | None = None,
    draws: int = 1,
) -> Fidelity:
    """Compare an estimator with the exact gradient on one batch.

    Parameters
    ----------
    estimator, exact : Estimators of the same network, such as ``chunked(...)`` and ``full(...)``.
    params, batch : where to compare.
    key : split into one key a draw.
    h_0 : states [B, ...] that both start from; not needed if both were built with `init_state`.
    draws : how many keys to average over; 1 is enough for a deterministic estimator.

    Returns
    -------
    Fidelity
        All fields relative to ‖g‖; NaN where g is exactly 0.

    Raises
    ------
    ValueError
        If draws < 1.

    Notes
    -----
    Time and memory: `draws` estimates at once, and one exact gradient.

    Example
    -------
    >>> from jaxrnn.gradients import chunked, full
    >>> from jaxrnn.losses import squared_error
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> estimator = chunked(running_sum, squared_error, window=1)
    >>> exact = full(running_sum, squared_error)
    >>> key = jax.random.key(0)
    >>> fidelity(estimator, exact, jnp.array(1.0), batch, key, h_0=jnp.zeros((1, 1))).norm_ratio
    Array(0.6, dtype=float32)
    """
    draws = _checks.at_least("gradients.fidelity", "draws", draws, 1)

    def gradient(estimator, key):
        estimate, _ = estimator.estimate(params, estimator.init(params, h_0), batch, key)
        return ravel(estimate.grads)

    estimates = jax.vmap(lambda key: gradient(estimator, key))(jax.random.split(key, draws))
    return fidelity_of(estimates, gradient(exact, key))


def fidelity_of(estimates: Float[Array, "draws P"], g: Float[Array, " P"]) -> Fidelity:
    """The Fidelity of raveled gradient estimates against the raveled exact gradient g.

    >>> fidelity_of(jnp.array([[1.0, 0.0]]), jnp.array([1.0, 1.0])).cosine  # 1/√2
    Array(0.70710677, dtype=float32)
    """
    # Dividing by the largest entry first: the square of an exploding gradient overflows.
    scale = jnp.maximum(jnp.max(jnp.abs(g)), jnp.max(jnp.abs(estimates)))
    estimates, g = estimates / scale, g / scale
    norm = jnp.linalg.norm(g)
    lengths = jnp.linalg.norm(estimates, axis=1)
    mean = jnp.mean(estimates, axis=0)
    return Fidelity(
        bias=jnp.linalg.norm(mean - g) / norm,
        cosine=jnp.mean((estimates / lengths[:, None]) @ (g / norm)),
        norm_ratio=jnp.mean(lengths) / norm,
        sign_agreement=jnp.mean(jnp.sign(estimates) == jnp.sign(g)[None]),
        variance=jnp.mean(jnp.sum((estimates - mean[None]) ** 2, axis=1)) / norm**2,
    )
