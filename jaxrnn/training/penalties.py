"""Penalties on the Jacobian, which training then keeps from vanishing and exploding (E21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._sharding import explicit_mesh, on_auto_axes
from jaxrnn.gradients.loss import segment_loss, time_major
from jaxrnn.jacobians import log_norm, step_jacobians
from jaxrnn.recurrence import unroll
from jaxrnn.training.batches import first_sequences
from jaxrnn.types import Batch, Cell, Estimator, GradientEstimate, Params, StepLoss

__all__ = ["Penalty", "flossing_penalty", "pascanu_penalty", "penalized", "spectral_norm_penalty"]

Penalty: TypeAlias = Callable[[Params, Batch], Float[Array, ""]]
"""``penalty(params, batch) -> scalar``, which is added to the loss with a weight."""


@_checks.signature("training.penalized")
def penalized(estimator: Estimator, penalty: Penalty, weight: float) -> Estimator:
    """The estimator of ``∇(L + weight·Ω)``: its own estimate of ∇L and the exact gradient of the penalty Ω.

    The loss that it reports stays L, so that runs with and without a penalty can be compared.

    Raises
    ------
    ValueError
        If the weight is negative or not finite.

    Example
    -------
    >>> from jaxrnn import cells, gradients, losses
    >>> cell = cells.elman(2, 4)
    >>> penalty = spectral_norm_penalty(cell, lag=5)
    >>> estimator = penalized(gradients.full(cell.step, losses.squared_error), penalty, weight=0.1)
    """
    if not 0 <= weight < float("inf"):
        raise ValueError(f"training.penalized: weight is {weight}; expected a finite number of at least 0.")

    def estimate(params, carry, batch, key):
        found, carry = estimator.estimate(params, carry, batch, key)
        slope = on_auto_axes(explicit_mesh((params, batch)), jax.grad(penalty), params, batch)
        grads = jax.tree.map(lambda g, s: g + weight * s.astype(g.dtype), found.grads, slope)
        return GradientEstimate(found.loss, grads), carry

    return Estimator(estimator.init, estimate)


@_checks.signature("training.pascanu_penalty")
def pascanu_penalty(cell: Cell, step_loss: StepLoss) -> Penalty:
    """``Ω = Σ_k (‖g_kᵀ J_k‖ / ‖g_k‖ - 1)²``: each step should pass on the norm of the gradient that it gets.

    g_k = ∂L/∂h_k is the gradient that the losses behind step k send to it, J_k = ∂h_k/∂h_{k-1}. The mean is
    taken over the sequences. As its authors do, states and g_k are held fixed when Ω is differentiated: only
    the weights inside J_k move. Steps that no gradient reaches do not count.

    Parameters
    ----------
    cell, step_loss : the network and its loss.

    Notes
    -----
    Time: two more backward passes. Only along g_k is the norm kept, not in all directions.

    Reference
    ---------
    Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, 2013, section 3.3.
    """

    def nudged(params, h_tm1, row):
        x_t, d_h = row
        h_t, y_t = cell.step(params, h_tm1, x_t)
        return jax.tree.map(jnp.add, h_t, d_h), (h_t, y_t)

    def loss(params, y_t, target_t):
        return step_loss(params, y_t[1], target_t)

    def penalty(params, batch):
        _checks.floating_leaves("training.pascanu_penalty", "params", params, "They are the cell's.")
        fixed = lax.stop_gradient(params)
        size, length = _checks.batch_shape("training.pascanu_penalty", batch)
        h_0 = cell.initial_states(fixed, size)
        nothing = jax.tree.map(lambda leaf: jnp.zeros((size, length, *leaf.shape[1:]), leaf.dtype), h_0)

        def total(d_hs):
            segment = time_major("training.pascanu_penalty", h_0, batch._replace(xs=(batch.xs, d_hs)))
            return segment_loss(nudged, loss, fixed, h_0, segment)[0]

        def of_step(h_tm1, x_t, g_t):
            passed = jax.vjp(lambda h: cell.step(params, h, x_t)[0], h_tm1)[1](g_t)[0]
            norm = tree_norm(g_t)
            # A square root has no finite slope at 0, whatever is chosen afterwards.
            reached = (norm > 0) & (tree_norm(lax.stop_gradient(passed)) > 0)
            kept = jax.tree.map(lambda leaf: jnp.where(reached, leaf, 1), passed)
            ratio = tree_norm(kept) / jnp.where(reached, norm, 1)
            return jnp.where(reached, jnp.square(ratio - 1), jnp.where(norm > 0, 1, 0))

        def of_sequence(h_0, xs, gs):
            trajectory = unroll(cell.step, fixed, h_0, xs, length=length)
            return jnp.sum(jax.vmap(of_step)(lax.stop_gradient(trajectory.h_tm1s), xs, gs))

        xs = first_sequences("training.pascanu_penalty", batch, size)
        return jnp.mean(jax.vmap(of_sequence)(h_0, xs, jax.grad(total)(nothing)))

    return penalty


@_checks.signature("training.spectral_norm_penalty")
def spectral_norm_penalty(cell: Cell, *, lag: int = 1, sequences: int = 1) -> Penalty:
    """``Ω`` = the mean of ``(ln ‖∂h_t/∂h_{t-lag}‖₂)²`` at t = lag, 2·lag, ...: a norm of 1 over that lag.

    Parameters
    ----------
    cell : the network.
    lag : in steps, at most T.
    sequences : how many of the batch's first sequences are looked at.

    Raises
    ------
    ValueError
        If lag < 1 or sequences < 1, or the sequences are shorter than the lag.

    Notes
    -----
    Time for each sequence: T step Jacobians, T products of n×n, and the gradient of both. Its derivative is
    that of `jacobians.log_norm`, finite at isometries too; a product that is exactly 0 does not count.
    """
    lag = _checks.at_least("training.spectral_norm_penalty", "lag", lag, 1)

    def of_chain(js):
        count = len(js) // lag
        if not count:
            raise ValueError(
                f"training.spectral_norm_penalty: lag is {lag} but the sequences have T = {len(js)} steps."
            )
        logs = jax.vmap(log_norm)(js[: count * lag].reshape(count, lag, *js.shape[1:]))
        return jnp.mean(jnp.square(jnp.where(logs == -jnp.inf, 0, logs)))

    return _of_chains("training.spectral_norm_penalty", cell, sequences, of_chain)


@_checks.signature("training.flossing_penalty")
def flossing_penalty(cell: Cell, *, k: int = 1, sequences: int = 1) -> Penalty:
    """``Ω = Σ_{i≤k} λ_i²``: gradient flossing pushes the k leading growth rates to 0.

    ``λ_i = (1/T) Σ_t ln R_ii(t)`` with ``Q(t) R(t) = J_t Q(t-1)``, as in `jacobians.growth_rates` but from
    the first step on; the mean is taken over the sequences.

    Parameters
    ----------
    cell : the network.
    k : how many growth rates, at most n.
    sequences : how many of the batch's first sequences are looked at.

    Raises
    ------
    ValueError
        If k or sequences is below 1, or k exceeds n.

    Notes
    -----
    Time for each sequence: T step Jacobians, 2T QR decompositions of n×k, and the gradient of half of them.
    QR has no derivative where a J_t Q(t-1) loses rank, as with relu units that are all off: such a sequence
    does not count.

    Reference
    ---------
    Engelken, Gradient flossing: improving gradient descent through dynamic control of Jacobians, 2023.
    """
    k = _checks.at_least("training.flossing_penalty", "k", k, 1)

    def of_chain(js):
        n = js.shape[-1]
        if k > n:
            raise ValueError(f"training.flossing_penalty: k is {k}; expected at most n = {n}.")
        # Not the first unit vectors: a step may have some of them as its own directions.
        start, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (n, k), js.dtype))

        def advance(Q, J):
            Q, R = jnp.linalg.qr(J @ Q)
            return Q, jnp.log(jnp.abs(jnp.diagonal(R)))

        def logs(js):
            return lax.scan(advance, start, js)[1]

        # Chosen ahead of the derivative, which would be 0 · NaN afterwards.
        found = lax.stop_gradient(logs(js))
        lowest = jnp.max(found, axis=1, keepdims=True) + jnp.log(10 * n * jnp.finfo(js.dtype).eps)
        js = jnp.where(jnp.all(found > lowest), js, jnp.eye(n, dtype=js.dtype)[None])
        return jnp.sum(jnp.square(jnp.mean(logs(js), axis=0)))

    return _of_chains("training.flossing_penalty", cell, sequences, of_chain)


def _of_chains(function, cell, sequences, of_chain):
    """The mean of `of_chain(js)` over the first sequences of a batch."""
    sequences = _checks.at_least(function, "sequences", sequences, 1)

    def penalty(params, batch):
        size, length = _checks.batch_shape(function, batch)
        h_0 = cell.init_state(params)

        def of_sequence(xs):
            trajectory = unroll(cell.step, params, h_0, xs, length=length)
            return of_chain(step_jacobians(cell.step, params, trajectory))

        first = first_sequences(function, batch, min(size, sequences))
        return jnp.mean(jax.vmap(of_sequence)(first))

    return penalty
