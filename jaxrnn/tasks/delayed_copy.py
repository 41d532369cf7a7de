"""Delayed copy: a memory of known length."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch

__all__ = ["delayed_copy"]


@_checks.signature("tasks.delayed_copy")
def delayed_copy(*, delay: int = 10, symbols: int = 8, length: int = 100, batch_size: int = 32) -> Task:
    """Repeat every symbol `delay` steps later: a memory of known length.

    ``target_t = x_{t-delay}``, with x_t one-hot and uniform over the symbols. The first `delay` steps, whose
    targets stand for nothing, weigh 0 and the others 1/(T - delay).

    x_{t-delay} enters the state at h_{t-delay}, and the loss at t reads h_t. How to write the symbol is
    learned from the lag `delay`, how to keep it from the lags below. A sliding window holds the lags 0..K-1,
    so K = delay + 1 is the smallest that holds them all, whatever T.

    Parameters
    ----------
    delay : steps between a symbol and its copy; 0 needs no memory.
    symbols : how many there are, V.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, V] and targets [B, T]. Its baseline is the guess among V equally likely
        symbols, ln V. Its optimum is 0.

    Raises
    ------
    ValueError
        If delay < 0, symbols < 2, length <= delay or batch_size < 1.

    Example
    -------
    >>> batch = delayed_copy(delay=2, symbols=3, length=5, batch_size=1).sample(jax.random.key(0))
    >>> jnp.argmax(batch.xs, axis=-1), batch.targets
    (Array([[1, 0, 2, 1, 2]], dtype=int32), Array([[1, 2, 1, 0, 2]], dtype=int32))

    Reference
    ---------
    Jaeger, Short term memory in echo state networks, 2002.
    """
    delay = _checks.at_least("tasks.delayed_copy", "delay", delay, 0)
    symbols = _checks.at_least("tasks.delayed_copy", "symbols", symbols, 2)
    length, batch_size = sizes("tasks.delayed_copy", length, delay + 1, batch_size)

    def sample(key):
        tokens = jax.random.randint(key, (batch_size, length), 0, symbols)
        weights = (jnp.arange(length) >= delay).astype(float) / (length - delay)
        return Batch(
            jax.nn.one_hot(tokens, symbols),
            jnp.roll(tokens, delay, axis=1),
            jnp.tile(weights, (batch_size, 1)),
        )

    return drawn(
        "delayed_copy",
        sample,
        input_size=symbols,
        classes=symbols,
        baseline=math.log(symbols),
        baseline_name="a guess among all symbols",
        reference="Jaeger 2002",
    )
