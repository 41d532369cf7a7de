"""optax's optimizers, as the library's own reports use them."""

from __future__ import annotations

from typing import TypeAlias

import optax

from jaxrnn import _checks

__all__ = ["Optimizer", "clipped_adam"]

Optimizer: TypeAlias = optax.GradientTransformation


@_checks.signature("training.clipped_adam")
def clipped_adam(learning_rate: float = 5e-3, *, max_norm: float = 1.0) -> Optimizer:
    """Adam on gradients clipped to a norm of at most `max_norm` (E21, E22)."""
    return optax.chain(optax.clip_by_global_norm(max_norm), optax.adam(learning_rate))
