"""A training's data, chunk by chunk, from any step on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count, islice

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxrnn import _checks
from jaxrnn.types import Batch

__all__ = ["Batches", "first_sequences"]


class Batches:
    """(size, stacked batches or None) for every chunk, from a sampler or from an iterable.

    What has `__getitem__` and `__len__` is asked for the batches that are needed and no others; any other
    iterable is read from its beginning, past the batches that an earlier run has used.
    """

    def __init__(self, data, steps: int | None):
        self.steps, self._data, self._read = steps, data, None
        if callable(data):
            if steps is None:
                raise ValueError(
                    "training.train: steps is None and data a function, which never ends; expected how many "
                    "updates."
                )
            self.first = jax.eval_shape(data, jax.random.key(0))
            return
        expected = "a function of a key, a sequence or an iterable of Batch"
        batches = _checks.iterated("training.train", "data", data, expected)
        if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            self.steps = len(data) if steps is None else min(steps, len(data))
            head = [data[i] for i in range(min(1, len(data)))]
        else:
            head = list(islice(batches, 1))
            self._read = islice(chain(head, batches), steps)
        if not head:
            raise ValueError("training.train: data holds no batch; expected an iterable of Batch.")
        self.first = _checks.instance("training.train", "a batch of data", head[0], Batch)

    def chunks(self, done: int, chunk: int, stop: int | None) -> Iterator[tuple[int, Batch | None]]:
        """The chunks after `done` steps, each of at most `chunk`; none reaches over a multiple of `stop`."""
        if self.steps is not None and done > self.steps:
            raise ValueError(
                f"training.train: steps is {self.steps}, but the folder holds {done} steps already; expected "
                "steps of at least that, counted from the very beginning."
            )
        rest = islice(self._read, done, None) if self._read else (self._data[i] for i in count(done))
        while self.steps is None or done < self.steps:
            size = chunk if self.steps is None else min(chunk, self.steps - done)
            size = min(size, stop - done % stop) if stop else size
            batches = None
            if not callable(self._data):
                group = list(islice(rest, size))
                if not group:
                    return
                size, batches = len(group), self._stacked(group)
            yield size, batches
            done += size

    def _stacked(self, group):
        _checks.same_batches("training.train", [self.first, *group])
        return jax.tree.map(_stack, *group)


def _stack(*leaves):
    # Host arrays stay there until the compiled call takes them.
    return np.stack(leaves) if all(isinstance(leaf, np.ndarray) for leaf in leaves) else jnp.stack(leaves)


def first_sequences(function: str, batch: Batch, count: int) -> PyTree:
    """The inputs of the first sequences; ValueError if there are none.

    They are JAX's: under jit, vmap over NumPy arrays takes them for constants of a custom derivative, and
    fails on them.
    """
    if not jax.tree.leaves(batch.xs):
        raise ValueError(f"{function}: batch.xs has no arrays; expected inputs [B, T, ...].")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:count]), batch.xs)
