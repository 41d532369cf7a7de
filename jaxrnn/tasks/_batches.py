"""What tasks share: checked sizes, and the target at the end."""

from __future__ import annotations

import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Batch
from jaxrnn.weights import weights_from_lengths

__all__ = ["at_the_end", "sizes"]


def sizes(function, length, shortest, batch_size):
    """(T, B), checked."""
    length = _checks.at_least(function, "length", length, shortest)
    return length, _checks.at_least(function, "batch_size", batch_size, 1)


def at_the_end(xs, target):
    """A Batch whose target [B, ...] weighs at the last step only."""
    size, length = xs.shape[:2]
    weights = weights_from_lengths(jnp.full(size, length), length, form="last")
    targets = jnp.broadcast_to(target[:, None], (size, length, *target.shape[1:]))
    return Batch(xs, targets, weights)
