"""How far an estimate of the gradient is from the exact one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._result_type import result_type
from jaxrnn.types import Batch, Estimator, Key, Params, State

__all__ = ["Fidelity", "Measures", "fidelity", "measure"]


@result_type
class Measures(NamedTuple):
    """Estimates ĝ of a gradient g, in five numbers."""

    bias: Float[Array, ""]
    """‖E[ĝ] - E[g]‖ / ‖E[g]‖; the relative error of a deterministic estimator on one batch."""
    cosine: Float[Array, ""]
    """Mean cosine of the angle between ĝ and g; 0 where ĝ is 0."""
    norm_ratio: Float[Array, ""]
    """Mean ‖ĝ‖ / ‖g‖."""
    sign_agreement: Float[Array, ""]
    """Mean fraction of the entries whose sign is g's."""
    variance: Float[Array, ""]
    """E‖ĝ - E[ĝ]‖² / ‖E[g]‖², over draws and cuts of one batch."""


@result_type
class Fidelity(NamedTuple):
    """An estimator against the exact gradient, at one set of parameters: `Measures` of all, and more."""

    bias: Float[Array, ""]
    cosine: Float[Array, ""]
    norm_ratio: Float[Array, ""]
    sign_agreement: Float[Array, ""]
    variance: Float[Array, ""]
    standard_error: Measures
    """Of these, by leaving out one batch after another, or one draw after another if there is one batch only;
    NaN if there is one of both."""
    by_leaf: PyTree
    """`Measures` in the place of every leaf of the parameters."""


@_checks.signature("gradients.fidelity", gradient=True)
def fidelity(
    estimator: Estimator,
    exact: Estimator,
    params: Params,
    batch: Batch | Sequence[Batch],
    key: Key,
    *,
    h_0: State | None = None,
    draws: int = 1,
    cuts: Sequence[Sequence[int]] = ((),),
) -> Fidelity:
    """Compare an estimator with the exact gradient, over batches, draws and places to cut a stream.

    Parameters
    ----------
    estimator, exact : Estimators of the same network, such as ``chunked(...)`` and ``full(...)``.
    params, batch : where to compare; one batch, or several of the same shape.
    key : split into one key a draw.
    h_0 : states [B, ...] that both start from; not needed if both were built with `init_state`.
    draws : how many keys to average over; 1 is enough for a deterministic estimator.
    cuts : ways to hand a batch to the estimator piece by piece, with its carry, each the steps after which it
        is cut; the gradients of the pieces are added up. By default whole. A single whole batch hides how
        an estimator treats borders: ``cuts=[(p,) for p in range(1, K + 1)]`` takes chunks of K steps in all
        their phases, and ``cuts=[(20, 40, 60, 80)]`` shows what a carry is worth.

    Returns
    -------
    Fidelity
        Relative to ‖g‖; NaN where g is exactly 0.

    Raises
    ------
    ValueError
        If draws < 1, a cut is not within the batch, or there are cuts without a stream.

    Notes
    -----
    Time and memory: draws·cuts estimates of a batch at once, and one exact gradient; batches one by one.
    An estimator without bias shows one of about ``sqrt(variance / draws)``, by noise alone: compare it with
    that, and not with its standard error, which says how much it would scatter.

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
    batches = [batch] if isinstance(batch, Batch) else list(batch)
    cuts = _checks.listed("gradients.fidelity", "cuts", cuts, "ways to cut, such as cuts=[(2, 4)]")
    if not batches or not cuts:
        raise ValueError("gradients.fidelity: batch or cuts is empty; give at least one Batch and one cut.")
    _, T = _checks.same_batches("gradients.fidelity", batches)
    spans = [_spans(cut, T) for cut in cuts]
    carry = jax.eval_shape(estimator.init, params, h_0)
    if any(len(span) > 1 for span in spans) and not any(leaf.ndim for leaf in jax.tree.leaves(carry)):
        raise ValueError(
            "gradients.fidelity: cuts need a stream; give h_0 and estimators without init_state, which would "
            "start every piece afresh."
        )

    def gradient(estimator, batch, key, span):
        carry, total = estimator.init(params, h_0), jax.tree.map(jnp.zeros_like, params)
        for i, piece in enumerate(_pieces(batch, span)):
            estimate, carry = estimator.estimate(params, carry, piece, jax.random.fold_in(key, i))
            total = jax.tree.map(jnp.add, total, estimate.grads)
        return ravel(total)

    def of_batch(args):
        batch, keys = args
        estimates = [
            jax.vmap(lambda key, span=span: gradient(estimator, batch, key, span))(keys) for span in spans
        ]
        return jnp.concatenate(estimates), gradient(exact, batch, keys[0], [(0, T)])

    params = jax.tree.map(jnp.asarray, params)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
    estimates, g = lax.map(of_batch, (stacked, jax.random.split(key, (len(batches), draws))))
    return Fidelity(
        *measure(estimates, g),
        standard_error=_jackknife(estimates, g, len(spans)),
        by_leaf=_by_leaf(params, estimates, g),
    )


def measure(
    estimates: Float[Array, "batches draws P"],
    g: Float[Array, "batches P"],
    weights: Float[Array, "batches draws"] | None = None,
) -> Measures:
    """The Measures of raveled gradient estimates against the raveled exact gradients.

    >>> measure(jnp.array([[[1.0, 0.0]]]), jnp.array([[1.0, 1.0]])).cosine  # 1/√2
    Array(0.70710677, dtype=float32)
    """
    if weights is None:
        weights = jnp.ones_like(estimates[..., 0])
    weights = weights / jnp.sum(weights)
    # Dividing by the largest entry first: the square of an exploding gradient overflows.
    scale = jnp.maximum(jnp.max(jnp.abs(g)), jnp.max(jnp.abs(estimates)))
    estimates, g = estimates / scale, g / scale
    lengths, norms = jnp.linalg.norm(estimates, axis=2), jnp.linalg.norm(g, axis=1)[:, None]
    size = jnp.linalg.norm(jnp.einsum("nd,np->p", weights, g))
    own = jnp.sum(weights, axis=1)
    own = weights / jnp.where(own > 0, own, 1)[:, None]
    deviation = estimates - jnp.einsum("nd,ndp->np", own, estimates)[:, None]
    # As n / (n - 1) for n equal weights.
    spread = jnp.sum(own * jnp.sum(deviation**2, axis=2), axis=1)
    left = 1 - jnp.sum(own**2, axis=1)
    spread = jnp.where(left > 0, spread / jnp.where(left > 0, left, 1), 0)

    same_sign = jnp.sign(estimates) == jnp.sign(g)[:, None]

    def mean(values):
        return jnp.sum(weights * values)

    return Measures(
        bias=jnp.linalg.norm(jnp.einsum("nd,ndp->p", weights, estimates - g[:, None])) / size,
        cosine=mean(jnp.einsum("ndp,np->nd", estimates, g) / (jnp.where(lengths > 0, lengths, 1) * norms)),
        norm_ratio=mean(lengths / norms),
        sign_agreement=mean(jnp.mean(same_sign.astype(g.dtype), axis=2)),
        variance=jnp.sum(jnp.sum(weights, axis=1) * spread) / size**2,
    )


def _jackknife(estimates, g, n_cuts):
    """The standard error of every measure, from the measures without one batch or draw at a time."""
    n_batches, rows, _ = estimates.shape
    draws = rows // n_cuts
    units = n_batches if n_batches > 1 else draws
    if units < 2:
        return Measures(*[jnp.full((), jnp.nan, g.dtype)] * len(Measures._fields))
    without = 1 - jnp.eye(units, dtype=g.dtype)
    # A draw goes with all of its cuts, which share its key.
    without = without[:, :, None] if n_batches > 1 else jnp.tile(without, (1, n_cuts))[:, None, :]
    weights = jnp.broadcast_to(without, (units, n_batches, rows))
    found = lax.map(lambda w: measure(estimates, g, w), weights)
    return jax.tree.map(lambda values: (units - 1) ** 0.5 * jnp.std(values), found)


def _by_leaf(params, estimates, g):
    leaves, structure = jax.tree.flatten(params)
    ends = list(accumulate(leaf.size for leaf in leaves))
    spans = zip([0, *ends[:-1]], ends, strict=True)
    return jax.tree.unflatten(structure, [measure(estimates[..., a:b], g[..., a:b]) for a, b in spans])


def _spans(cut, T):
    """(first, end) of every piece of T steps that are cut after these."""
    if not isinstance(cut, Sequence):
        raise TypeError(
            f"gradients.fidelity: cuts holds {cut!r}; expected ways to cut, such as cuts=[(2, 4)]."
        )
    steps = [_checks.at_least("gradients.fidelity", "cuts", step, 1) for step in cut]
    ends = [*steps, T]
    if any(a >= b for a, b in pairwise(ends)):
        raise ValueError(
            f"gradients.fidelity: cuts holds {tuple(cut)}; expected rising steps from 1 to T - 1 = {T - 1}."
        )
    return list(zip([0, *steps], ends, strict=True))


def _pieces(batch, spans):
    """The batch in pieces, each with its weights of the whole."""
    if len(spans) == 1:
        return [batch]
    if batch.weights is None:
        B, T = _checks.batch_shape("gradients.fidelity", batch)
        batch = batch._replace(weights=jnp.full((B, T), 1.0 / T))
    return [jax.tree.map(lambda leaf, s=slice(*span): leaf[:, s], batch) for span in spans]
