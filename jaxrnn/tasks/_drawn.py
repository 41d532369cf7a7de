"""The Task of random numbers."""

from __future__ import annotations

from jaxrnn.losses import softmax_cross_entropy, squared_error
from jaxrnn.tasks.task import Task

__all__ = ["drawn"]


def drawn(name, sample, *, classes=None, outputs=1, optimum=0.0, **options):
    """A Task of random numbers: the choice of one class, or of so many numbers."""
    return Task(
        name=name,
        output_size=classes or outputs,
        sample=sample,
        held_out=sample,
        step_loss=softmax_cross_entropy if classes else squared_error,
        loss_unit="nats" if classes else "½ squared error",
        source=None,
        optimum=optimum,
        **options,
    )
