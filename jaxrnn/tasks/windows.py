"""Random windows of one long sequence."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from jaxrnn.types import Key

__all__ = ["HELD_OUT", "random_windows", "split"]

HELD_OUT = 0.1
"""The share of a sequence, at its end, that is never trained on."""


def split(sequence, name: str, length: int):
    """(training part, held-out part); ValueError if either is shorter than one window."""
    cut = len(sequence) - max(int(HELD_OUT * len(sequence)), length + 1)
    if cut < length + 1:
        raise ValueError(
            f"{name}: {len(sequence)} items are too few for windows of {length} steps; expected at least "
            f"{2 * (length + 1)}. Give more data or a smaller length."
        )
    return sequence[:cut], sequence[cut:]


def random_windows(
    sequence: Shaped[Array, "N ..."], batch_size: int, length: int
) -> Callable[[Key], tuple[Shaped[Array, "B T ..."], Shaped[Array, "B T ..."]]]:
    """``key -> (inputs, the same one step later)``, each [B, T, ...], at uniformly random places."""

    def sample(key):
        starts = jax.random.randint(key, (batch_size, 1), 0, len(sequence) - length)
        window = sequence[starts + jnp.arange(length + 1)[None, :]]
        return window[:, :-1], window[:, 1:]

    return sample
