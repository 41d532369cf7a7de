"""Truncated against full BPTT: the same network from the same seeds, trained under several windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn.gradients import chunked, full
from jaxrnn.gradients.fidelity import fidelity_of
from jaxrnn.training import Optimizer, TrainResult, train
from jaxrnn.types import Batch, Cell, Estimator, Key, StepLoss

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """W windows side by side, each trained from the same S seeds on the same data."""

    labels: tuple[str, ...]
    """``"full"``, or the window as a number."""
    results: tuple[TrainResult, ...]
    held_out_loss: Float[np.ndarray, "W S"]
    """After training, on one held-out batch."""
    cosine: Float[np.ndarray, "W S"]
    """Between the window's gradient and the exact one, at the parameters that full BPTT ends at."""
    relative_error: Float[np.ndarray, "W S"]
    """‖ĝ - g‖ / ‖g‖ there."""
    memory_bytes: Float[np.ndarray, " W"]
    """Temporary memory of one compiled gradient, without parameters and data."""

    def rows(self) -> list[dict[str, float | str]]:
        """One row a window, as a table wants it; means over the seeds."""
        return [
            {
                "window": label,
                "final_loss": float(np.mean(result.history.loss[:, -_tail(result) :])),
                "held_out_loss": float(np.mean(self.held_out_loss[i])),
                "held_out_spread": float(np.std(self.held_out_loss[i])),
                "cosine": float(np.mean(self.cosine[i])),
                "relative_error": float(np.mean(self.relative_error[i])),
                "seconds_per_step": float(result.history.seconds[-1] / len(result.history.seconds)),
                "memory_bytes": int(self.memory_bytes[i]),
            }
            for i, (label, result) in enumerate(zip(self.labels, self.results, strict=True))
        ]


def compare(
    cell: Cell,
    step_loss: StepLoss,
    data: Callable[[Key], Batch],
    optimizer: Optimizer,
    *,
    windows: Sequence[int | None] = (1, 4, 16, 64, None),
    truncation: Callable[..., Estimator] = chunked,
    held_out: Callable[[Key], Batch] | None = None,
    steps: int,
    key: Key,
    seeds: int = 3,
    progress: bool | str = True,
) -> Comparison:
    """Train one network under several truncation windows and full BPTT, and measure what each loses.

    Parameters
    ----------
    cell, step_loss, data, optimizer : as for `training.train`; data is a pure ``key -> Batch``.
    windows : truncation windows; None means full BPTT, which is added if it is missing. A window of T or
        more is full BPTT and is merged with it.
    truncation : `gradients.chunked` or `gradients.sliding`. Every batch starts at ``cell.init_state``, and
        the gradient reaches a learned h_0.
    held_out : ``key -> Batch`` for the final loss; by default fresh batches of `data`.
    steps, seeds, key, progress : as for `training.train`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a window is below 1.
    KeyboardInterrupt
        On Ctrl-C: windows trained for different numbers of steps cannot be compared.

    Notes
    -----
    Wall times are those of this run, one window after another, all seeds at once: compare them as ratios.

    Example
    -------
    >>> from jaxrnn import cells, losses, tasks
    >>> from jaxrnn.training import clipped_adam
    >>> task = tasks.series(length=8, batch_size=4)
    >>> cell = cells.stack(cells.elman(1, 4), cells.dense(4, 1))
    >>> result = compare(cell, losses.squared_error, task.sample, clipped_adam(), windows=(2,),
    ...                  steps=4, key=jax.random.key(0), seeds=1, progress=False)
    >>> result.labels
    ('2', 'full')
    """
    key_train, key_data = jax.random.split(key)
    batch = (held_out or data)(key_data)
    _, length = _checks.batch_shape("compare", batch)
    windows = [None if w is None else _checks.at_least("compare", "windows", w, 1) for w in windows]
    start = {"init_state": cell.init_state}
    estimators = {
        str(w): truncation(cell.step, step_loss, window=w, **start)
        for w in sorted({w for w in windows if w is not None and w < length})
    }
    estimators["full"] = full(cell.step, step_loss, **start)

    results = {}
    for label, estimator in estimators.items():
        title = f"{progress if isinstance(progress, str) else ''} window {label:>4}".strip()
        results[label] = train(
            cell,
            estimator,
            optimizer,
            data,
            steps=steps,
            key=key_train,
            seeds=seeds,
            progress=title if progress else False,
        )
        if results[label].interrupted:
            raise KeyboardInterrupt(f"compare: stopped while training window {label}")
    return Comparison(
        labels=tuple(estimators),
        results=tuple(results.values()),
        **_measure(estimators, results, batch, key_data),
    )


def _measure(estimators, results, batch, key):
    """The other fields of a Comparison: every estimator's gradient where full BPTT ends, every final loss."""
    params_of = {
        label: [result.seed(s) for s in range(len(result.history.loss))] for label, result in results.items()
    }
    ends = params_of["full"]

    def compiled(estimator):
        def estimate(params):
            result, _ = estimator.estimate(params, estimator.init(params), batch, key)
            return result.loss, ravel(result.grads)

        return jax.jit(estimate).lower(ends[0]).compile()

    programs = {label: compiled(estimator) for label, estimator in estimators.items()}
    exact = [programs["full"](params)[1] for params in ends]
    fidelities = [
        [fidelity_of(program(params)[1][None], g) for params, g in zip(ends, exact, strict=True)]
        for program in programs.values()
    ]
    return {
        "held_out_loss": np.array([[programs["full"](p)[0] for p in params_of[label]] for label in results]),
        "cosine": np.array([[f.cosine for f in row] for row in fidelities]),
        "relative_error": np.array([[f.bias for f in row] for row in fidelities]),
        "memory_bytes": np.array([p.memory_analysis().temp_size_in_bytes for p in programs.values()]),
    }


def _tail(result):
    """The last tenth of the steps, over which a final loss is averaged."""
    return max(1, result.history.loss.shape[1] // 10)
