"""What a task is: batches, a loss per step, and the loss of a predictor without memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from jaxrnn.types import Batch, Cell, Key, StepLoss

__all__ = ["Source", "Task"]


class Source(NamedTuple):
    """Where data came from, so that a result can be traced to it."""

    name: str
    sha256: str
    length: int
    unit: str

    @classmethod
    def of(cls, name: str, content: bytes, length: int, unit: str) -> Source:
        """The source with the hash of its content."""
        return cls(name, hashlib.sha256(content).hexdigest(), length, unit)

    def __str__(self) -> str:
        """One line, such as for a report's footer."""
        return f"{self.name}: {self.length:,} {self.unit}, sha256 {self.sha256[:16]}…"


class Task(NamedTuple):
    """Data with its loss. `sample` and `held_out` are pure: the same key gives the same batch."""

    name: str
    input_size: int
    output_size: int
    sample: Callable[[Key], Batch]
    held_out: Callable[[Key], Batch]
    step_loss: StepLoss
    baseline: float
    """The loss of the naive predictor that `baseline_name` says, on the held-out part."""
    baseline_name: str
    loss_unit: str
    source: Source | None
    """None where the data are drawn from random numbers."""
    optimum: float | None = None
    """The lowest loss that any predictor can reach; None where nobody knows it."""
    reference: str = ""
    encoder_decoder: bool = False
    """Whether inputs are the pairs that `cells.encoder_decoder` reads."""
    cell: Cell | None = None
    """The network itself, where the task is about a certain one."""
