"""Randomized truncation: cut at random, and weigh what is left so that the mean is exact, E19."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn import _checks
from jaxrnn._pytree import widest
from jaxrnn.gradients.full import segment_gradients
from jaxrnn.gradients.loss import time_major
from jaxrnn.gradients.sharded import by_sequence
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, StepFn, StepLoss

__all__ = ["artbp", "randomized", "segment_gradients_cut"]


@_checks.signature("gradients.randomized", random=True)
def randomized(
    step: StepFn,
    step_loss: StepLoss,
    *,
    keep: float | Sequence[float],
    recursive: bool = True,
    init_state: InitState | None = None,
) -> Estimator:
    """BPTT that is cut at random and unbiased: ``a_t = b_t + ξ_t c_t a_{t-1}`` with E ξ_t = 1 (E19).

    ξ_t is 0 with probability 1 - π_t, and 1/π_t with probability π_t, drawn anew for every step of every
    sequence. The term (t, k) of E10 is multiplied by ``ξ_{k+1} ··· ξ_t``, whose mean is 1.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    keep : π_t, the probability that the gradient flows from h_t to h_{t-1}; one number, or one for each of
        the T steps of a batch. ``1`` is `full`; ``1 - 1/K`` reaches back K steps on average.
    recursive : whether the a_{t-1} of the recursion is itself the randomized one. If not, it is the exact
        one, and each loss multiplies what it gets from the past by its own single ξ_t: no step is saved, and
        the variance does not grow with the lag.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`. As there, no gradient flows into the carry: it is unbiased for `full`.

    Raises
    ------
    ValueError
        If a probability is not in (0, 1], or there is not one for each step of the batch.

    Notes
    -----
    Time and memory as `full`: shapes are fixed, and what is cut is computed and multiplied by 0. With a
    constant π the variance of a term grows as π^-(t-k): where ‖∂h_t/∂h_k‖ decays at the rate λ (nats per
    step), it stays bounded in T only if ``2λ < ln π``; for h ← a·h + x, if ``a² < π``.

    Reference
    ---------
    Tallec & Ollivier, Unbiasing truncated backpropagation through time, 2017; for the schedule used there see
    `artbp`.

    Example
    -------
    >>> from jaxrnn.losses import squared_error
    >>> from jaxrnn.types import Batch
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> estimator = randomized(running_sum, squared_error, keep=0.5)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> one = lambda key: estimator.estimate(1.0, jnp.zeros((1, 1)), batch, key)[0].grads
    >>> jax.vmap(one)(jax.random.split(jax.random.key(0), 4))  # 0.5 + (1 + ξ_2); the exact one is 2.5
    Array([3.5, 3.5, 1.5, 1.5], dtype=float32, weak_type=True)
    """
    function, pi = (
        "gradients.randomized",
        _checks.numbers("gradients.randomized", "keep", keep, "a probability"),
    )
    pi = pi.astype(float)
    if pi.ndim > 1 or not np.all((pi > 0) & (pi <= 1)):
        raise ValueError(f"{function}: keep is {keep}; expected a probability 0 < keep <= 1, or one a step.")

    def draw(key, T, B, dtype):
        if pi.ndim and len(pi) != T:
            raise ValueError(
                f"{function}: keep has {len(pi)} entries; the batch has T = {T} steps. Give one "
                "probability for each step, or a single one."
            )
        probability = jnp.broadcast_to(jnp.asarray(pi, dtype)[..., None], (T, B))
        return jnp.where(jax.random.bernoulli(key, probability), 1 / probability, 0)

    return _estimator(function, step, step_loss, draw, recursive, init_state)


@_checks.signature("gradients.artbp", random=True)
def artbp(
    step: StepFn,
    step_loss: StepLoss,
    *,
    mean_length: float,
    alpha: float = 6.0,
    init_state: InitState | None = None,
) -> Estimator:
    """Anticipated reweighted truncated backpropagation: chunks of random lengths, and unbiased (E19).

    `randomized` whose π depends on δ, the steps since the last cut: ``1 - π = (α-1) / ((α-2)·l_0 + δ)``. A
    chunk is about l_0 steps long on average, and its length has a power law's tail, ``P(length > δ) ~
    δ^-(α-1)``, so that now and then the gradient reaches far back.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    mean_length : l_0 > 1.
    alpha : α > 2; the smaller, the more of the longest and the shortest chunks.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`, unbiased for it; δ starts anew with every batch.

    Raises
    ------
    ValueError
        If mean_length <= 1 or alpha <= 2.

    Notes
    -----
    Time and memory as `randomized`. Every sequence has cuts of its own.

    Reference
    ---------
    Tallec & Ollivier, Unbiasing truncated backpropagation through time, 2017.
    """
    if not (1 < mean_length < np.inf and 2 < alpha < np.inf):
        raise ValueError(
            f"gradients.artbp: mean_length is {mean_length} and alpha {alpha}; expected mean_length > 1 and "
            "alpha > 2."
        )

    def draw(key, T, B, dtype):
        return _factors(jax.random.uniform(key, (T, B), dtype), mean_length, alpha)

    return _estimator("gradients.artbp", step, step_loss, draw, True, init_state)


def _factors(uniform, mean_length, alpha):
    """ξ [T, B] of ARTBP from numbers in [0, 1), [T, B]: a small one cuts."""

    def of_step(since_cut, u):
        cut = (alpha - 1) / ((alpha - 2) * mean_length + since_cut)
        xi = jnp.where(u < cut, 0, 1 / (1 - cut))
        return jnp.where(u < cut, 1, since_cut + 1), xi

    return lax.scan(of_step, jnp.ones_like(uniform[0]), uniform)[1]


def _estimator(function, step, step_loss, draw, recursive, init_state):
    """Full BPTT with factors ``draw(key, T, B, dtype)`` [T, B] on the gradient between two steps."""
    starts = start(function, init_state)

    def noise(params, carry, batch, key):
        del params, carry
        B, T = _checks.batch_shape(function, batch)
        weights = jnp.result_type(float if batch.weights is None else batch.weights)
        return draw(key, T, B, widest(weights if jnp.issubdtype(weights, jnp.floating) else float))

    def estimate(params, carry, batch, key, xi):
        del key
        h_0, add_h_0 = starts.begin(params, carry, batch)
        segment = time_major(function, h_0, batch)
        loss, h_T, grads, h_0_cotangent = segment_gradients_cut(
            step, step_loss, params, h_0, segment, xi, recursive
        )
        return GradientEstimate(loss, add_h_0(grads, h_0_cotangent)), starts.end(h_T)

    return Estimator(starts.init, by_sequence(estimate, step, starts.states, noise))


def segment_gradients_cut(step, step_loss, params, h_0, segment, xi, recursive):
    """As `segment_gradients`, with the gradient of step t to h_{t-1} multiplied by xi[t - 1], [T, B]."""

    def step_cut(params, h_tm1, x_t_and_xi):
        x_t, xi_t = x_t_and_xi
        h_t, y_t = step(params, _scale_gradient(h_tm1, xi_t), x_t)
        if not recursive:
            h_t, _ = step(params, h_tm1, x_t)
        return h_t, y_t

    return segment_gradients(step_cut, step_loss, params, h_0, segment._replace(xs=(segment.xs, xi)))


@jax.custom_jvp
def _scale_gradient(tree, factor):
    """The tree itself, with a derivative that is `factor` times that of the identity."""
    del factor
    return tree


@_scale_gradient.defjvp
def _scale_gradient_jvp(primals, tangents):
    tree, factor = primals
    return tree, jax.tree.map(lambda leaf: factor.astype(leaf.dtype) * leaf, tangents[0])
