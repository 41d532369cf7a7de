"""The flip-flop: bits that pulses set, and that stay until the next one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn import _checks
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch

__all__ = ["flip_flop"]


@_checks.signature("tasks.flip_flop")
def flip_flop(*, bits: int = 3, pulses: float = 0.1, length: int = 100, batch_size: int = 32) -> Task:
    """Remember the sign of the last pulse of each of several inputs, at every step.

    Each x_t is 0, or with probability `pulses` a pulse of 1 or -1; the first step has one for every bit. The
    target is the last pulse of each input, so that a network has to rest at one of 2^bits states between
    pulses: fixed points near the corners of a cube, which `dynamics.fixed_points` finds.

    Parameters
    ----------
    bits : how many inputs, and as many outputs.
    pulses : the probability p of a pulse, of each input at each step after the first.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs and targets [B, T, bits]. Its baseline is the pulse where there is one and else 0,
        ½·bits·(1 - p)(T - 1)/T. Its optimum is 0.

    Raises
    ------
    ValueError
        If pulses is not in 0..1, or bits, length or batch_size is below 1.

    Example
    -------
    >>> batch = flip_flop(bits=1, pulses=0.5, length=6, batch_size=1).sample(jax.random.key(2))
    >>> print(batch.xs[0, :, 0], batch.targets[0, :, 0])
    [-1.  0.  1.  0.  0. -1.] [-1. -1.  1.  1.  1. -1.]

    Reference
    ---------
    Sussillo & Barak, Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural
    networks, 2013.
    """
    name = "tasks.flip_flop"
    bits = _checks.at_least(name, "bits", bits, 1)
    pulses = _checks.fraction(name, "pulses", pulses)
    length, batch_size = sizes(name, length, 1, batch_size)

    def sample(key):
        key_time, key_sign = jax.random.split(key)
        shape = (batch_size, length, bits)
        pulse = jax.random.bernoulli(key_time, pulses, shape).at[:, 0].set(True)
        xs = jnp.where(pulse, jax.random.rademacher(key_sign, shape, float), 0)
        last = lax.cummax(jnp.where(pulse, jnp.arange(length)[None, :, None], 0), axis=1)
        return Batch(xs, jnp.take_along_axis(xs, last, axis=1))

    return drawn(
        "flip_flop",
        sample,
        input_size=bits,
        outputs=bits,
        baseline=0.5 * bits * (1 - pulses) * (length - 1) / length,
        baseline_name="the pulse, and 0 between pulses",
        reference="Sussillo & Barak 2013",
    )
