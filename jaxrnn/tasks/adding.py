"""Adding two marked numbers: the sum of what was seen far apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.tasks._batches import at_the_end, sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task

__all__ = ["adding"]


@_checks.signature("tasks.adding")
def adding(*, length: int = 100, batch_size: int = 32) -> Task:
    """Add the two marked numbers of a sequence, at its end (many-to-one).

    ``x_t = (value, marker)`` with values uniform in [0, 1) and two markers 1, all others 0:
    one at a uniform place in the first ⌊T/2⌋ steps, one at a uniform place in the rest. The target is
    the sum of the two marked values; it stands at every step, and only the last step weighs. (Where the
    markers stand differs between authors; one in each half is common.)

    Parameters
    ----------
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, 2] and targets [B, T, 1]. Its baseline is the answer 1, the mean: half the
        variance of a sum of two uniform numbers, ½·1/6. Its optimum is 0.

    Raises
    ------
    ValueError
        If length < 2 or batch_size < 1.

    Example
    -------
    >>> task = adding(length=6, batch_size=1)
    >>> batch = task.sample(jax.random.key(0))
    >>> batch.xs.shape, batch.weights
    ((1, 6, 2), Array([[0., 0., 0., 0., 0., 1.]], dtype=float32))

    Reference
    ---------
    Hochreiter & Schmidhuber, Long short-term memory, 1997 (experiment 4); in this form Le, Jaitly &
    Hinton, A simple way to initialize recurrent networks of rectified linear units, 2015.
    """
    length, batch_size = sizes("tasks.adding", length, 2, batch_size)

    def sample(key):
        key_values, key_first, key_second = jax.random.split(key, 3)
        values = jax.random.uniform(key_values, (batch_size, length))
        first = jax.random.randint(key_first, (batch_size,), 0, length // 2)
        second = jax.random.randint(key_second, (batch_size,), length // 2, length)
        markers = jax.nn.one_hot(first, length) + jax.nn.one_hot(second, length)
        total = jnp.sum(values * markers, axis=1, keepdims=True)
        return at_the_end(jnp.stack([values, markers], axis=-1), total)

    return drawn(
        "adding",
        sample,
        input_size=2,
        baseline=1 / 12,
        baseline_name="the answer 1",
        reference="Hochreiter & Schmidhuber 1997, experiment 4; Le, Jaitly & Hinton 2015",
    )
