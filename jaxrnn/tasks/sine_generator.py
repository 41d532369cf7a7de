"""The sine generator: one of many oscillations, chosen by a constant input."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch

__all__ = ["sine_generator"]


@_checks.signature("tasks.sine_generator")
def sine_generator(
    *,
    frequencies: int = 51,
    lowest: float = 0.02,
    highest: float = 0.1,
    length: int = 100,
    batch_size: int = 32,
) -> Task:
    """Turn at the frequency that a constant input says: ``sin(2πft)`` for t = 1..T.

    One of so many frequencies f, evenly from `lowest` to `highest`, is drawn for each sequence; the input is
    ``1/4 + i/count`` for the i-th of them at all steps. A network that does this has a fixed point at each
    input that is unstable in two directions: see `dynamics.stability`. Small oscillations around it turn at
    about the frequency asked for in gated networks, and less closely in vanilla ones (docs/validation.md).

    Parameters
    ----------
    frequencies : how many there are.
    lowest, highest : of them, in cycles per step.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs and targets [B, T, 1]. Its baseline is the mean of each oscillation over its T steps,
        half of its variance. Its optimum is 0.

    Raises
    ------
    ValueError
        If not 0 < lowest <= highest <= ½, or frequencies, length or batch_size is below 1.

    Example
    -------
    >>> task = sine_generator(frequencies=1, lowest=0.25, highest=0.25, length=4, batch_size=1)
    >>> task.sample(jax.random.key(0)).targets[0, :, 0].round(3) + 0.0
    Array([ 1.,  0., -1.,  0.], dtype=float32)

    Reference
    ---------
    Sussillo & Barak, Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural
    networks, 2013.
    """
    name = "tasks.sine_generator"
    count = _checks.at_least(name, "frequencies", frequencies, 1)
    lowest, highest = (
        _checks.number(name, end, value) for end, value in (("lowest", lowest), ("highest", highest))
    )
    if not 0 < lowest <= highest <= 0.5:
        raise ValueError(
            f"{name}: lowest is {lowest} and highest {highest}; expected 0 < lowest <= highest <= 0.5 cycles "
            "per step."
        )
    length, batch_size = sizes(name, length, 1, batch_size)
    turns = np.linspace(lowest, highest, count)[:, None] * np.arange(1, length + 1)
    waves = np.sin(2 * math.pi * turns)

    def sample(key):
        chosen = jax.random.randint(key, (batch_size,), 0, count)
        levels = 0.25 + chosen.astype(float) / count
        xs = jnp.broadcast_to(levels[:, None, None], (batch_size, length, 1))
        return Batch(xs, jnp.asarray(waves, float)[chosen][..., None])

    return drawn(
        "sine_generator",
        sample,
        input_size=1,
        baseline=0.5 * float(np.mean(np.var(waves, axis=1))),
        baseline_name="the mean of each oscillation",
        reference="Sussillo & Barak 2013",
    )
