"""Gradients carried forward in time: the scan that all online estimators share, E9."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec as Spec
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._sharding import axes_of, explicit_mesh, on_auto_axes
from jaxrnn.gradients.loss import batch_step, time_major, weighted_sum
from jaxrnn.gradients.sharded import by_sequence
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Carry, Estimator, GradientEstimate, Key, Params, State, StepFn, StepLoss

__all__ = ["OnlineCarry", "Rule", "online", "online_gradients"]


class OnlineCarry(NamedTuple):
    """Where a stream is, and what is known of the way there."""

    h: State
    """The states [B, ...]."""
    influence: PyTree
    """dh/dw of each sequence, or what stands for it; leaves [B, ...]."""


class Rule(NamedTuple):
    """How dh/dw of one sequence is kept, with flat states [n] and F(params, h_{t-1}) -> h_t."""

    zero: Callable[[Params, Float[Array, " n"]], PyTree]
    """What stands for dh/dw = 0."""
    draw: Callable[[Key, tuple[int, ...], DTypeLike], Any]
    """The noise of every step, leaves [T + 1, B, ...], from a key, (T + 1, B, n) and the states' dtype."""
    advance: Callable[[Callable, Params, Float[Array, " n"], PyTree, Any], PyTree]
    """From dh_{t-1}/dw to dh_t/dw."""
    pull: Callable[[Params, PyTree, Float[Array, " n"]], Params]
    """``∂ℓ/∂h · dh/dw``."""


def online(
    function: str, step: StepFn, step_loss: StepLoss, rule: Rule, init_state: InitState | None
) -> Estimator:
    """The estimator that keeps dh_t/dw by a rule, sequence by sequence."""
    starts = start(function, init_state)

    def init(params: Params, h_0: State | None = None) -> Carry:
        h = starts.init(params, h_0)
        if init_state is not None:
            return h
        if _checks.leading_axis(function, "h_0", h) is None:
            raise ValueError(f"{function}: h_0 is empty; without a state there is nothing to carry forward.")

        def influence(params, h):
            return jax.vmap(lambda h: rule.zero(params, ravel(h)))(h)

        mesh, rows = explicit_mesh((params, h)), Spec(axes_of(h, 0))
        return OnlineCarry(h, on_auto_axes(mesh, influence, params, h, spec=rows))

    def states(params, carry, batch):
        if init_state is not None:
            return starts.states(params, carry, batch)
        _checks.instance(function, "carry", carry, OnlineCarry)
        size, _ = _checks.batch_shape(function, batch)
        _checks.states_of_batch(function, carry.h, size)
        if {size} - {_checks.leading_axis(function, "carry", carry), None}:
            raise ValueError(f"{function}: carry is not of the batch's {size} sequences, [B, ...].")
        return starts.states(params, carry.h, batch)

    def draw(params, carry, batch, key):
        _, T = _checks.batch_shape(function, batch)
        flat_0 = jax.eval_shape(jax.vmap(ravel), states(params, carry, batch))
        return rule.draw(key, (T + 1, *flat_0.shape), flat_0.dtype)

    def estimate(params, carry, batch, key, noise):
        del key
        params = jax.tree.map(jnp.asarray, params)
        h_0 = states(params, carry, batch)
        segment = time_major(function, h_0, batch)
        x_t = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), segment.xs)
        _checks.step_keeps_state(function, batch_step(step), params, h_0, x_t)
        flat_0 = jax.vmap(ravel)(h_0)
        if init_state is None:
            influence = carry.influence
        else:
            # h_0 is a step of its own, which reads the parameters and no state before it.
            first = jax.tree.map(lambda leaf: leaf[0], noise)
            influence = jax.vmap(
                lambda h, noise: rule.advance(
                    lambda params, _: ravel(init_state(params)), params, h, rule.zero(params, h), noise
                )
            )(flat_0, first)
        later = jax.tree.map(lambda leaf: leaf[1:], noise)
        estimate, end = online_gradients(step, step_loss, rule, params, h_0, influence, segment, later)
        return estimate, (end if init_state is None else starts.end(end.h))

    return Estimator(init, by_sequence(estimate, step, states, draw))


def online_gradients(step, step_loss, rule, params, h_0, influence, segment, noise):
    """(GradientEstimate, OnlineCarry at the end) of a segment, from the noise [T, B, ...] of its steps."""
    batched = batch_step(step)
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], h_0))

    def loss_of_step(params, h, row):
        _, y = batched(params, h, row.xs)
        one = jax.tree.map(lambda leaf: leaf[None], (y, row))
        return weighted_sum(step_loss, params, *one)

    def advance(h, x, influence, noise):
        def F(params, flat):
            return ravel(step(params, unravel(flat), x)[0])

        return rule.advance(F, params, ravel(h), influence, noise)

    def one_step(carry, inputs):
        (h, influence), grads = carry
        row, noise = inputs
        loss, (direct, from_h) = jax.value_and_grad(loss_of_step, argnums=(0, 1))(params, h, row)
        through = jax.vmap(partial(rule.pull, params))(influence, jax.vmap(ravel)(from_h))
        added = jax.tree.map(lambda g, d, s: g + d + jnp.sum(s, axis=0), grads, direct, through)
        advanced = jax.vmap(advance)(h, row.xs, influence, noise)
        # Where parameters differ in dtype, products of theirs have the widest.
        grads, influence = jax.tree.map(
            lambda new, old: new.astype(old.dtype), (added, advanced), (grads, influence)
        )
        h, _ = batched(params, h, row.xs)
        return (OnlineCarry(h, influence), grads), loss

    zeros = jax.tree.map(jnp.zeros_like, params)
    (end, grads), losses = lax.scan(one_step, (OnlineCarry(h_0, influence), zeros), (segment, noise))
    return GradientEstimate(jnp.sum(losses), grads), end
