"""Copying memory: a string, a long gap, and the string again."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch

__all__ = ["copying"]


@_checks.signature("tasks.copying")
def copying(*, items: int = 10, symbols: int = 8, length: int = 120, batch_size: int = 32) -> Task:
    """Remember a string through a gap and write it down when asked.

    The first `items` = n steps hold symbols at random, the gap blanks, but for its last step, which holds
    the delimiter; the last n steps hold blanks. The target is blank until then and in the last n steps the
    symbols in their order. All steps weigh 1/T.

    The literature calls the length of the gap T, which is ``length - 2n`` here: length=120 is its T = 100.

    Parameters
    ----------
    items : n, how many symbols are to be kept.
    symbols : how many there are, V; V itself is the blank and V + 1 the delimiter.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, V + 2] and targets [B, T] in 0..V. Its baseline is blanks, and at the end a
        guess among V equally likely symbols: n ln(V)/T. Its optimum is 0.

    Raises
    ------
    ValueError
        If items < 1, symbols < 2, length < 2·items + 1 or batch_size < 1.

    Example
    -------
    >>> batch = copying(items=2, symbols=3, length=7, batch_size=1).sample(jax.random.key(0))
    >>> jnp.argmax(batch.xs, axis=-1), batch.targets
    (Array([[1, 0, 3, 3, 4, 3, 3]], dtype=int32), Array([[3, 3, 3, 3, 3, 1, 0]], dtype=int32))

    Reference
    ---------
    Hochreiter & Schmidhuber, Long short-term memory, 1997; in this form Arjovsky, Shah & Bengio, Unitary
    evolution recurrent neural networks, 2016.
    """
    items = _checks.at_least("tasks.copying", "items", items, 1)
    symbols = _checks.at_least("tasks.copying", "symbols", symbols, 2)
    length, batch_size = sizes("tasks.copying", length, 2 * items + 1, batch_size)

    def sample(key):
        string = jax.random.randint(key, (batch_size, items), 0, symbols)
        before, after = ((0, 0), (length - items, 0)), ((0, 0), (0, length - items))
        tokens = jnp.pad(string, after, constant_values=symbols).at[:, -items - 1].set(symbols + 1)
        targets = jnp.pad(string, before, constant_values=symbols)
        return Batch(jax.nn.one_hot(tokens, symbols + 2), targets)

    return drawn(
        "copying",
        sample,
        input_size=symbols + 2,
        classes=symbols + 1,
        baseline=items * math.log(symbols) / length,
        baseline_name="blanks, then a guess among all symbols",
        reference="Hochreiter & Schmidhuber 1997; Arjovsky, Shah & Bengio 2016",
    )
