"""Which lags of the gradient an estimator keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._result_type import result_type
from jaxrnn.gradients.full import full
from jaxrnn.types import Batch, Estimator, Key, Params, State, StepFn, StepLoss

__all__ = ["KeptLags", "kept_lags"]


@result_type
class KeptLags(NamedTuple):
    """What each lag adds to the gradient, exactly and as estimated: ⟨g_s, g⟩ / ‖g‖² for the lags 0..T-1."""

    exact: Float[Array, " T"]
    """Sums to 1."""
    estimated: Float[Array, " T"]
    """Mean over the draws. Its sum over that of `exact` is what the estimate holds of g in g's direction."""
    standard_error: Float[Array, " T"]
    """Of `estimated`, over the draws; NaN with one."""


@_checks.signature("gradients.kept_lags", gradient=True)
def kept_lags(
    constructor: Callable[[StepFn, StepLoss], Estimator],
    step: StepFn,
    step_loss: StepLoss,
    params: Params,
    h_0: State,
    batch: Batch,
    key: Key,
    *,
    draws: int = 1,
) -> KeptLags:
    """Split an estimate of the gradient by lag, from outside of the estimator (E10).

    Every step gets a parameter of its own, a shift α_k of the weights along g, and every loss is estimated by
    itself: ∂ℓ_t/∂α_k is then the term (t, k) in the direction of g, as far as the estimator keeps it.

    Parameters
    ----------
    constructor : ``(step, step_loss) -> Estimator``, such as ``partial(gradients.chunked, window=16)``. Not
        `snap`, which depends on the parameters' shapes, nor `adaptive`, which would choose a window for every
        loss: take `sliding` with its window.
    step, step_loss, params, h_0, batch : as for `decompose`.
    key, draws : random estimators are averaged over so many draws.

    Returns
    -------
    KeptLags

    Raises
    ------
    ValueError
        As `loss`; if draws < 1.

    Notes
    -----
    Time and memory T·draws estimates of a network with T parameters: for short sequences.

    Example
    -------
    >>> from functools import partial
    >>> from jaxrnn.gradients import chunked
    >>> from jaxrnn.losses import squared_error
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> found = kept_lags(partial(chunked, window=1), running_sum, squared_error, jnp.array(1.0),
    ...                   jnp.zeros((1, 1)), batch, jax.random.key(0))
    >>> found.exact, found.estimated
    (Array([0.6, 0.4], dtype=float32), Array([0.6, 0. ], dtype=float32))
    """
    function = "gradients.kept_lags"
    draws = _checks.at_least(function, "draws", draws, 1)
    if not callable(constructor):
        raise TypeError(
            f"{function}: constructor is {constructor!r}; expected a function of step and step_loss."
        )
    B, T = _checks.batch_shape(function, batch)
    params = jax.tree.map(jnp.asarray, params)
    g = full(step, step_loss).estimate(params, h_0, batch, key)[0].grads
    size = tree_norm(g)
    divisor = jnp.where(size > 0, size, 1)
    # Along g / ‖g‖², by two divisions: the square may overflow.
    along = jax.tree.map(lambda leaf: leaf / divisor.astype(leaf.dtype) / divisor.astype(leaf.dtype), g)

    def shifted(alpha, k):
        return jax.tree.map(lambda w, u: w + alpha[k].astype(w.dtype) * u, params, along)

    def step_of_its_own(alpha, h, x_and_k):
        x, k = x_and_k
        return step(shifted(alpha, k), h, x)

    def loss_of_its_own(alpha, y, target_and_k):
        target, k = target_and_k
        return step_loss(shifted(alpha, k), y, target)

    number = jnp.broadcast_to(jnp.arange(T)[None, :], (B, T))
    weights = jnp.full((B, T), 1.0 / T, size.dtype) if batch.weights is None else batch.weights
    alpha = jnp.zeros(T, size.dtype)

    def terms(estimator, key):
        """[T, T] at [t - 1, k - 1]."""

        def of_loss(t):
            own = weights * (number == t).astype(weights.dtype)
            numbered = Batch((batch.xs, number), (batch.targets, number), own)
            return estimator.estimate(alpha, estimator.init(alpha, h_0), numbered, key)[0].grads

        return jax.vmap(of_loss)(jnp.arange(T))

    def by_lag(terms):
        lag = jnp.arange(T)[:, None] - jnp.arange(T)[None, :]
        return jnp.zeros(T, terms.dtype).at[lag].add(jnp.where(lag >= 0, terms, 0))

    own = step_of_its_own, loss_of_its_own
    exact = by_lag(terms(full(*own), key))
    found = jax.vmap(lambda key: by_lag(terms(constructor(*own), key)))(jax.random.split(key, draws))
    error = jnp.std(found, axis=0) / (draws - 1) ** 0.5 if draws > 1 else jnp.full_like(exact, jnp.nan)
    return KeptLags(exact, jnp.mean(found, axis=0), error)
