"""Temporal order: which of two far symbols came first."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.tasks._batches import at_the_end, sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task

__all__ = ["temporal_order"]


@_checks.signature("tasks.temporal_order")
def temporal_order(*, length: int = 100, batch_size: int = 32) -> Task:
    """Say at the end which of X and Y came first and which came second (many-to-one).

    The six one-hot symbols are a, b, c, d, X, Y. All steps hold one of a, b, c, d at random, but for two
    that hold X or Y, at uniform rows ``T//10 <= i < 2T//10`` and ``5T//10 <= j < 6T//10``. The target
    is the class XX, XY, YX, YY = 0, 1, 2, 3; it stands at every step, and only the last step weighs.

    Parameters
    ----------
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, 6] and targets [B, T]. Its baseline is the guess among the four equally
        likely classes, ln 4. Its optimum is 0.

    Raises
    ------
    ValueError
        If length < 10 or batch_size < 1.

    Notes
    -----
    The original has sequences of 100 to 110 steps between two more symbols, one for the start and one for
    the end.

    Example
    -------
    >>> batch = temporal_order(length=10, batch_size=1).sample(jax.random.key(0))
    >>> "".join("abcdXY"[i] for i in jnp.argmax(batch.xs[0], axis=-1)), int(batch.targets[0, -1])
    ('dXdbcXbbba', 0)

    Reference
    ---------
    Hochreiter & Schmidhuber, Long short-term memory, 1997 (experiment 6a).
    """
    length, batch_size = sizes("tasks.temporal_order", length, 10, batch_size)

    def sample(key):
        key_distractors, key_relevant, *keys_row = jax.random.split(key, 4)
        tokens = jax.random.randint(key_distractors, (batch_size, length), 0, 4)
        relevant = jax.random.randint(key_relevant, (batch_size, 2), 0, 2)
        for i, (key_row, tenth) in enumerate(zip(keys_row, (1, 5), strict=True)):
            low, high = tenth * length // 10, (tenth + 1) * length // 10
            row = jax.random.randint(key_row, (batch_size, 1), low, high)
            tokens = jnp.where(jnp.arange(length)[None] == row, 4 + relevant[:, i, None], tokens)
        return at_the_end(jax.nn.one_hot(tokens, 6), 2 * relevant[:, 0] + relevant[:, 1])

    return drawn(
        "temporal_order",
        sample,
        input_size=6,
        classes=4,
        baseline=math.log(4),
        baseline_name="a guess among the four orders",
        reference="Hochreiter & Schmidhuber 1997, experiment 6a",
    )
