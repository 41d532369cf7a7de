"""How much of the gradient comes from each lag, and what each truncation window loses, for long sequences."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import tree_dot, tree_norm
from jaxrnn._result_type import result_type
from jaxrnn._sharding import axes_of, constrained, explicit_mesh, on_auto_axes
from jaxrnn.gradients.lags import adjoints_by_lag
from jaxrnn.gradients.loss import time_major
from jaxrnn.types import Batch, Params, State, StepFn, StepLoss

__all__ = ["LagProfile", "lag_profile"]


@result_type
class LagProfile(NamedTuple):
    """The gradient by lag, ``g = Σ_s g_s`` with g_s the terms of E10 with t - k = s, for the lags 0..L-1."""

    loss: Float[Array, ""]
    gradient: Params
    """g, the full gradient."""
    norm: Float[Array, " L"]
    """‖g_s‖ over all leaves."""
    leaf_norm: Params
    """[L] a leaf: ‖g_s‖ of that leaf."""
    reach: Float[Array, " L"]
    """The share of the losses' weights at steps t > s; only these have terms of lag s."""
    share: Float[Array, " L"]
    """⟨g_s, g⟩ / ‖g‖²: how much of the gradient a lag makes up. Sums to 1 over all T lags."""
    sliding_error: Float[Array, " L"]
    """``‖Σ_{s >= K} g_s‖ / ‖g‖`` in row K - 1: the relative error of a sliding window K."""
    chunked_error: Float[Array, " L"]
    """The same of chunks of K steps, on average over where the first chunk begins: they lose the part s/K of
    every lag s < K too."""


@_checks.signature("gradients.lag_profile", gradient=True)
def lag_profile(
    step: StepFn, step_loss: StepLoss, params: Params, h_0: State, batch: Batch, *, lags: int | None = None
) -> LagProfile:
    """Split the exact gradient by lag, one lag after another (E10, E18).

    What `decompose` says of lags, without its pairs: nothing of the size T·T, nor of T times the parameters.
    What a window loses is computed by itself, from ``∂L/∂h`` pushed back K steps, and is no difference of
    large numbers: it is right however small.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    params : parameters; h_0 is held fixed.
    h_0 : initial states, leaves [B, ...].
    batch : B sequences.
    lags : L, how many lags; by default all T of them.

    Returns
    -------
    LagProfile

    Raises
    ------
    ValueError
        As `loss`; if lags < 1.

    Notes
    -----
    Time 4L vector-Jacobian products of a step for all T steps at once, about 2L gradients; memory T states
    and a few times the parameters.

    Example
    -------
    >>> from jaxrnn.losses import squared_error
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> found = lag_profile(running_sum, squared_error, 1.0, jnp.zeros((1, 1)), batch)
    >>> found.norm, found.sliding_error  # 1.5 and 1 of 2.5
    (Array([1.5, 1. ], dtype=float32), Array([0.4, 0. ], dtype=float32))
    """
    split = partial(_lag_profile, step, step_loss, axes_of(batch, 1), lags=lags)
    return on_auto_axes(explicit_mesh((params, h_0, batch)), split, params, h_0, batch)


def _lag_profile(step, step_loss, over, params, h_0, batch, *, lags):
    params = jax.tree.map(jnp.asarray, params)
    segment = time_major("gradients.lag_profile", h_0, batch)
    if over:  # the way there is one step after another: every device takes it
        segment = constrained(segment)
    T = len(segment.weights)
    L = T if lags is None else min(_checks.at_least("gradients.lag_profile", "lags", lags, 1), T)
    adjoints = adjoints_by_lag(step, step_loss, params, h_0, segment, over)
    beyond_0 = adjoints.every_lag()
    gradient = jax.tree.map(jnp.add, adjoints.lag_0, adjoints.pull(beyond_0))
    scale = tree_norm(gradient)
    divisor = jnp.where(scale > 0, scale, 1)
    direction = jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype), gradient)

    def describe(term):
        return tree_norm(term), jax.tree.map(tree_norm, term), tree_dot(term, direction) / divisor

    def add_lag(carry, K):
        """Of lag K: its terms, and all that a window of K loses."""
        of_lag, of_later, lost_so_far = carry
        lost = adjoints.pull(of_later)
        lost_so_far = jax.tree.map(jnp.add, lost_so_far, lost)
        # A chunk's losses reach back 1, ..., K steps: on average the mean of what those windows lose.
        chunked = tree_norm(lost_so_far) / K.astype(divisor.dtype)
        row = describe(adjoints.pull(of_lag)), tree_norm(lost) / divisor, chunked / divisor
        return (adjoints.earlier(of_lag), adjoints.earlier(of_later), lost_so_far), row

    nothing = jax.tree.map(jnp.zeros_like, gradient)
    _, (later, sliding_error, chunked_error) = lax.scan(
        add_lag, (adjoints.lag_1, beyond_0, nothing), jnp.arange(1, L + 1)
    )
    first = describe(adjoints.lag_0)
    norm, leaf_norm, share = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, later)
    return LagProfile(
        adjoints.loss, gradient, norm, leaf_norm, adjoints.reach[:L], share, sliding_error, chunked_error
    )
