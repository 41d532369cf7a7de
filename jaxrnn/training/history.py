"""What a training leaves behind: parameters, and what happened at every step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree

from jaxrnn import _checks
from jaxrnn._result_type import result_type
from jaxrnn.types import Carry, Params

__all__ = ["History", "Recorder", "TrainResult", "describe", "empty_history", "nonfinite_step"]


@result_type
class History(NamedTuple):
    """What happened at every training step, for each of S seeds."""

    loss: Float[np.ndarray, "S steps"]
    """Of the step's batch, before the update."""
    grad_norm: Float[np.ndarray, "S steps"]
    """‖ĝ‖ as the estimator gave it, before clipping."""
    seconds: Float[np.ndarray, " steps"]
    """Wall time since the start of training, all seeds together, without compilation, monitor and
    checkpoints; a resumed training goes on counting."""
    compile_seconds: float
    monitored: PyTree = None
    """What the monitor returned, leaves [S, M, ...]; None without one."""
    monitored_steps: Int[np.ndarray, " M"] | None = None
    """How many steps were done when it looked: 0, m, 2m, ..."""

    def raise_if_bad(self) -> History:
        """The history itself; NumericalError at the first step whose loss or gradient is not finite."""
        bad = nonfinite_step(self.loss, self.grad_norm)
        if bad is not None:
            raise _checks.NumericalError(
                f"train: {describe(self.loss, self.grad_norm, *bad, step=bad[1] + 1)}. Clip the gradient "
                "(optax.clip_by_global_norm) or lower the learning rate."
            )
        return self


def nonfinite_step(
    loss: Float[np.ndarray, "S steps"], grad_norm: Float[np.ndarray, "S steps"]
) -> tuple[int, int] | None:
    """(seed, index) of the earliest step whose loss or gradient norm is NaN or infinite."""
    bad = np.argwhere(~(np.isfinite(loss) & np.isfinite(grad_norm)))
    if not len(bad):
        return None
    seed, index = bad[bad[:, 1].argmin()]
    return int(seed), int(index)


def describe(loss, grad_norm, seed: int, index: int, step: int) -> str:
    """What was seen there, for a message."""
    return (
        f"loss {loss[seed, index]} and gradient norm {grad_norm[seed, index]} at step {step} of seed {seed}"
    )


@result_type
class TrainResult(NamedTuple):
    """Trained parameters with a leading axis [S] of seeds, and how they got there."""

    params: Params
    opt_state: Any
    carry: Carry
    history: History
    interrupted: bool
    """Whether Ctrl-C or SIGTERM ended the training early."""

    def seed(self, index: int = 0) -> Params:
        """The parameters of one seed, without the leading axis."""
        return jax.tree.map(lambda leaf: leaf[index], self.params)


def empty_history(state: PyTree) -> History:
    """Before the first step; `state` has leaves [S, ...]."""
    seeds = jax.tree.leaves(state)[0].shape[0]
    return History(*np.zeros((2, seeds, 0)), np.zeros(0), compile_seconds=0.0)


class Recorder:
    """The history while it grows, chunk by chunk."""

    def __init__(self, history: History):
        self._columns = [[history.loss], [history.grad_norm], [history.seconds]]
        self._compile_seconds = history.compile_seconds
        self._looks, self._looked = [], []
        if history.monitored_steps is not None:
            self._looked = list(history.monitored_steps)
            rows = range(len(self._looked))
            self._looks = [jax.tree.map(lambda leaf, m=m: leaf[:, m], history.monitored) for m in rows]
        self.done = history.loss.shape[1]

    def add(self, loss, grad_norm, seconds: float) -> Float[np.ndarray, " K"]:
        """A chunk of K steps [S, K] that took so long; returns the time at the end of each step."""
        last = self._columns[2][-1][-1] if len(self._columns[2][-1]) else 0.0
        size = loss.shape[1]
        times = last + seconds * np.arange(1, size + 1) / size
        for column, rows in zip(self._columns, (loss, grad_norm, times), strict=True):
            column.append(rows)
        self.done += size
        return times

    def look(self, monitored: PyTree) -> None:
        """What the monitor saw after the steps that are done."""
        self._looks.append(monitored)
        self._looked.append(self.done)

    def history(self, compile_seconds: float = 0.0) -> History:
        """Everything so far, with what this run has spent on compilation."""
        self._columns = [[np.concatenate(rows, axis=-1)] for rows in self._columns]
        monitored = steps = None
        if self._looks:
            monitored = jax.tree.map(lambda *rows: np.stack(rows, axis=1), *self._looks)
            steps = np.array(self._looked)
        columns = (column[0] for column in self._columns)
        return History(*columns, self._compile_seconds + compile_seconds, monitored, steps)
