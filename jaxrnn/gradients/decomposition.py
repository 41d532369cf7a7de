"""Where the gradient comes from: its terms by the pair (t, k) and by the lag t - k, E10."""

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
from jaxrnn.gradients.full import segment_gradients
from jaxrnn.gradients.lags import adjoints_by_lag
from jaxrnn.gradients.loss import time_major
from jaxrnn.types import Batch, Params, State, StepFn, StepLoss

__all__ = ["Decomposition", "decompose"]


@result_type
class Decomposition(NamedTuple):
    """The double sum ``∂L/∂w = Σ_t Σ_{k<=t} ∂ℓ_t/∂h_t · ∂h_t/∂h_k · ∂⁺h_k/∂w`` (E10), term by term.

    Pairs stand at [t-1, k-1], with 0 above the diagonal.
    """

    loss: Float[Array, ""]
    gradient: Params
    """The sum of all terms: the full gradient."""
    by_lag: Params
    """[T, ...] a leaf: the sum of the terms with t - k = s, in row s. Adds up to `gradient`."""
    norm: Float[Array, "T T"]
    """‖term(t, k)‖ over all leaves."""
    leaf_norm: Params
    """[T, T] a leaf: ‖term(t, k)‖ of that leaf."""
    share: Float[Array, "T T"]
    """⟨term(t, k), gradient⟩ / ‖gradient‖²: how much of the gradient a term makes up. Sums to 1."""

    def raise_if_bad(self) -> Decomposition:
        """The decomposition itself; NumericalError if a term is not finite. Not under jit."""
        if not bool(jnp.isfinite(tree_norm(self.gradient)) & jnp.all(jnp.isfinite(self.norm))):
            raise _checks.NumericalError(
                "decompose: terms of the gradient are not finite; a state, a Jacobian product or the loss "
                "overflowed. Use float64, a shorter sequence or a smaller recurrent gain."
            )
        return self


@_checks.signature("gradients.decompose", gradient=True)
def decompose(step: StepFn, step_loss: StepLoss, params: Params, h_0: State, batch: Batch) -> Decomposition:
    """Split the exact gradient of a batch's loss into its terms by (t, k) and by lag (E10).

    For a step with an output, ``y_t`` reads h_{t-1} and the parameters at once; the lag-0 term is
    ``∂⁺ℓ_t/∂w`` with h_{t-1} held fixed, which for a readout's leaves is all there is.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    params : parameters; h_0 is held fixed.
    h_0 : initial states, leaves [B, ...].
    batch : B sequences; each term is the mean over them, as the loss is.

    Returns
    -------
    Decomposition
        ``loss``, ``gradient``, ``by_lag``, ``norm``, ``leaf_norm``, ``share``.

    Raises
    ------
    ValueError
        As `loss`.

    Notes
    -----
    Time T²/2 vector-Jacobian products of a batched step (twice that: a lag is computed in full); memory
    T times the parameters, twice.

    Example
    -------
    >>> from jaxrnn.losses import squared_error
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> parts = decompose(running_sum, squared_error, 1.0, jnp.zeros((1, 1)), batch)
    >>> parts.by_lag  # lag 0: (1 + 2)/2, lag 1: 2/2
    Array([1.5, 1. ], dtype=float32)
    """
    split = partial(_decompose, step, step_loss, axes_of(batch, 1))
    return on_auto_axes(explicit_mesh((params, h_0, batch)), split, params, h_0, batch)


def _decompose(step, step_loss, over, params, h_0, batch):
    params = jax.tree.map(jnp.asarray, params)
    segment = time_major("gradients.decompose", h_0, batch)
    if over:  # the way there is one step after another: every device takes it
        segment = constrained(segment)
    loss, _, gradient, _ = segment_gradients(step, step_loss, params, h_0, segment)
    adjoints = adjoints_by_lag(step, step_loss, params, h_0, segment, over)
    scale = tree_norm(gradient)
    direction = jax.tree.map(lambda leaf: leaf / jnp.where(scale > 0, scale, 1), gradient)

    def describe(terms):
        """The sum of the terms [T, ...]; and of each its norm, its leaves' norms, its share."""
        leaf_norm = jax.tree.map(jax.vmap(tree_norm), terms)
        share = jax.vmap(tree_dot, in_axes=(0, None))(terms, direction) / jnp.where(scale > 0, scale, 1)
        total = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), terms)
        return total, (jax.vmap(tree_norm)(terms), leaf_norm, share)

    def add_lag(adjoint, _):
        return adjoints.earlier(adjoint), describe(adjoints.terms(adjoint))

    _, later = lax.scan(add_lag, adjoints.lag_1, length=segment.weights.shape[0] - 1)
    first = describe(adjoints.terms_of_lag_0())
    by_lag, rows = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)
    norm, leaf_norm, share = jax.tree.map(_by_pair, rows)
    return Decomposition(loss, gradient, by_lag, norm, leaf_norm, share)


def _by_pair(rows):
    """From [lag, k - 1] to [t - 1, k - 1], with 0 above the diagonal."""
    lag = jnp.arange(len(rows))[:, None] - jnp.arange(len(rows))[None, :]
    return jnp.where(lag >= 0, rows[jnp.maximum(lag, 0), jnp.arange(len(rows))[None, :]], 0)
