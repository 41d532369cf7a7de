"""optax's optimizers, as the library's own reports use them."""

from __future__ import annotations

from typing import TypeAlias

import optax

from jaxrnn import _checks

__all__ = ["Optimizer", "clipped_adam"]

Optimizer: TypeAlias = optax.GradientTransformation


def clipped_adam(learning_rate: float = 5e-3, *, max_norm: float = 1.0) -> Optimizer:
    """Adam on gradients clipped to a norm of at most `max_norm` (E21, E22)."""
    if not callable(learning_rate):
        _checks.number("training.clipped_adam", "learning_rate", learning_rate)
    if not _checks.number("training.clipped_adam", "max_norm", max_norm) > 0:
        raise ValueError(f"training.clipped_adam: max_norm is {max_norm}; expected a number above 0.")
    return optax.chain(optax.clip_by_global_norm(max_norm), optax.adam(learning_rate))
