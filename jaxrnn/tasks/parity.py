"""Sequential parity: one bit of memory that every input may turn."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.tasks._batches import at_the_end, sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch

__all__ = ["sequential_parity"]


@_checks.signature("tasks.sequential_parity")
def sequential_parity(*, targets: str = "end", length: int = 100, batch_size: int = 32) -> Task:
    """Say whether the number of ones so far is odd, at the end or at every step.

    x_t is 1 or -1 with equal probability, and ``target_t = target_{t-1} XOR (x_t = 1)``. Every x_t matters
    to all later targets, and no part of them says anything: without any one of them the target is a fair
    coin.

    Parameters
    ----------
    targets : ``"end"`` asks at the last step only, as Bengio et al. do (many-to-one); ``"every"`` asks at
        all steps, 1/T each, which is much easier, as the first steps teach the rule.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, 1] and targets [B, T], 1 for odd. Its baseline is the guess between the two,
        ln 2. Its optimum is 0.

    Raises
    ------
    ValueError
        If `targets` is unknown, or length or batch_size is below 1.

    Example
    -------
    >>> batch = sequential_parity(targets="every", length=5, batch_size=1).sample(jax.random.key(0))
    >>> batch.xs[0, :, 0], batch.targets
    (Array([-1., -1.,  1.,  1., -1.], dtype=float32), Array([[0, 0, 1, 0, 0]], dtype=int32))

    Reference
    ---------
    Bengio, Simard & Frasconi, Learning long-term dependencies with gradient descent is difficult, 1994
    (the parity problem).
    """
    _checks.choice("tasks.sequential_parity", "targets", targets, ("end", "every"))
    length, batch_size = sizes("tasks.sequential_parity", length, 1, batch_size)

    def sample(key):
        ones = jax.random.bernoulli(key, shape=(batch_size, length)).astype(int)
        xs = (2 * ones - 1).astype(float)[..., None]
        odd = jnp.cumsum(ones, axis=1) % 2
        return at_the_end(xs, odd[:, -1]) if targets == "end" else Batch(xs, odd)

    return drawn(
        "sequential_parity",
        sample,
        input_size=1,
        classes=2,
        baseline=math.log(2),
        baseline_name="a guess between odd and even",
        reference="Bengio, Simard & Frasconi 1994",
    )
