"""What a training does when a loss or a gradient is not finite."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._checks import NumericalError
from jaxrnn._result_type import result_type
from jaxrnn.results import save
from jaxrnn.training.history import TrainResult
from jaxrnn.types import Batch, Carry, Key, Params

__all__ = ["POLICIES", "Failure", "NonFiniteError", "stopped"]

POLICIES = ("keep", "skip", "stop")


@result_type
class Failure(NamedTuple):
    """All that the gradient of one step was computed from, of one seed.

    ``estimator.estimate(*failure.arguments())`` computes it again, with the NaN or infinity in it.
    """

    step: int
    """Counted from 1; its batch is ``data[step - 1]`` where the data are a sequence."""
    seed: int
    params: Params
    """Before the update, and so still finite."""
    carry: Carry
    batch: Batch
    key: Key

    def arguments(self) -> tuple[Params, Carry, Batch, Key]:
        """(params, carry, batch, key), as ``estimate`` takes them; also of a failure that was loaded."""
        return (*jax.tree.map(jnp.asarray, (self.params, self.carry, self.batch)), self.key)


class NonFiniteError(NumericalError):
    """Training met a NaN or an infinity, with ``nonfinite="stop"``.

    ``failure`` computes it again; ``result`` is what was trained before that step, all of it finite.
    """

    def __init__(self, message: str, failure: Failure, result: TrainResult):
        super().__init__(message)
        self.failure = failure
        self.result = result


def stopped(seen: str, failure: Failure, result: TrainResult, folder: Path | None) -> NonFiniteError:
    """The error, with its failure saved in that folder, if there is one."""
    where = "`failure` of this error reproduces it"
    if folder is not None:
        path = folder / f"failure_at_step_{failure.step}.npz"
        try:
            save(path, failure)
            where = f"jaxrnn.load({str(path)!r}) reproduces it"
        except (OSError, TypeError) as error:
            where += f" (it could not be saved: {' '.join(str(error).split())})"
    return NonFiniteError(
        f"training.train: {seen}, from batch {failure.step - 1} of the data; {where}: "
        "estimator.estimate(*failure.arguments()). Clip the gradient (optax.clip_by_global_norm), lower the "
        'learning rate, or pass nonfinite="skip".',
        failure,
        result,
    )
