"""What training does at every step, and the compiled calls of many steps."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn.training.mesh import Layout
from jaxrnn.types import Carry, Params

__all__ = ["Programs", "TrainState", "Update"]


class TrainState(NamedTuple):
    """What one step hands on to the next."""

    params: Params
    opt_state: Any
    carry: Carry


class Update:
    """``θ ← θ - update(ĝ)`` of one seed, as pure functions of its state."""

    def __init__(self, cell, estimator, optimizer, data, *, stream: bool, skip: bool, layout: Layout):
        # Whoever wants to be told has the count in the optimizer's state; more errors than this never come.
        self._optimizer = optax.apply_if_finite(optimizer, 2**31 - 1) if skip else optimizer
        self._cell, self._estimator, self._data = cell, estimator, data
        self._stream, self._skip, self._layout = stream, skip, layout

    def start(self, batch, params, key):
        """The state before the first step."""
        params = self._cell.init(jax.random.fold_in(key, 0)) if params is None else params
        return TrainState(params, self._optimizer.init(params), self._fresh_carry(params, batch))

    def arguments(self, state, key, number, batch, layout):
        """(params, carry, batch, key), from which the estimator makes the gradient of that step."""
        params, rows = state.params, layout.rows
        data_key, estimator_key = jax.random.split(jax.random.fold_in(key, number + 1))
        batch = rows(self._data, data_key) if callable(self._data) else batch
        carry = state.carry if self._stream else rows(self._fresh_carry, params, batch)
        return params, carry, batch, estimator_key

    def chunk(self, state, key, numbers, batches):
        """(state, key, numbers [K], batches [K] or None) -> (state, (loss [K], grad_norm [K]))."""
        return lax.scan(lambda state, inputs: self._step(state, key, *inputs), state, (numbers, batches))

    def _step(self, state, key, number, batch):
        params, carry, batch, key = self.arguments(state, key, number, batch, self._layout)
        estimate, after = self._estimator.estimate(params, carry, batch, key)
        params, opt_state, seen = self._layout.whole(self._updated, params, state.opt_state, estimate)
        if self._skip:
            finite = opt_state.last_finite
            after = self._layout.rows(_chosen, finite, after, carry)
        return TrainState(params, opt_state, after), seen

    def _updated(self, params, opt_state, estimate):
        updates, opt_state = self._optimizer.update(estimate.grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, (estimate.loss, tree_norm(estimate.grads))

    def _fresh_carry(self, params, batch):
        size, _ = _checks.batch_shape("training.train", batch)
        return self._estimator.init(params, self._cell.initial_states(params, size))


def _chosen(first, a, b):
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), a, b)


def _over_seeds(chunk):
    """The chunk of one seed for S, with leaves [S, ...]; the batches of an iterable are shared by all."""

    def run(state, keys, numbers, batches):
        if len(keys) > 1:
            return jax.vmap(chunk, in_axes=(0, 0, None, None))(state, keys, numbers, batches)
        # Half of the time to compile: under vmap a product is batched, and of a condition both sides run.
        one = jax.tree.map(lambda leaf: jnp.squeeze(leaf, 0), (state, keys))
        return jax.tree.map(lambda leaf: leaf[None], chunk(*one, numbers, batches))

    return run


class Programs:
    """The update's chunk over seeds, compiled once a chunk length, outside the timing."""

    def __init__(self, chunk, layout: Layout):
        self._jitted = jax.jit(_over_seeds(chunk))
        self._layout, self._compiled = layout, {}
        self.compile_seconds = 0.0

    def run(self, state, keys, numbers, batches):
        """(state, (loss, grad_norm) [S, K] as NumPy arrays, seconds)."""
        numbers, batches = self._layout.steps(numbers), self._layout.batches(batches)
        program = self._program(state, keys, numbers, batches)
        began = time.perf_counter()
        state, rows = jax.block_until_ready(program(state, keys, numbers, batches))
        return state, jax.tree.map(np.asarray, rows), time.perf_counter() - began

    def _program(self, state, keys, numbers, batches):
        if len(numbers) not in self._compiled:
            began = time.perf_counter()
            with self._layout.context():
                lowered = self._jitted.lower(state, keys, numbers, batches)
                self._compiled[len(numbers)] = lowered.compile()
            self.compile_seconds += time.perf_counter() - began
        return self._compiled[len(numbers)]
