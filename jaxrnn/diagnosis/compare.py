"""Truncated against full BPTT: the same network from the same seeds, under several estimators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._result_type import result_type
from jaxrnn.gradients import chunked, full
from jaxrnn.gradients.fidelity import measure
from jaxrnn.training import Optimizer, TrainResult, train
from jaxrnn.types import Batch, Cell, Estimator, Key, Params, StepLoss

__all__ = ["Comparison", "compare"]

_DRAWS = 16


@result_type
class Comparison(NamedTuple):
    """W estimators side by side, each trained from the same S seeds on the same data."""

    labels: tuple[str, ...]
    """The windows as numbers, the names of other estimators, and ``"full"`` last."""
    windows: tuple[int | None, ...]
    """K; None for what is no window."""
    results: tuple[TrainResult, ...]
    held_out_loss: Float[np.ndarray, "W S"]
    """After training, on one held-out batch."""
    cosine: Float[np.ndarray, "W S"]
    """Between the estimate and the exact gradient of a whole batch, at the parameters that full BPTT ends at.
    What an estimator's carry is worth in a stream, it does not show: see ``fidelity(cuts=)``."""
    relative_error: Float[np.ndarray, "W S"]
    """‖ĝ - g‖ / ‖g‖ there; the root mean square over 16 draws for other estimators than windows."""
    memory_bytes: Float[np.ndarray, " W"]
    """Temporary memory of one compiled gradient, without parameters and data."""

    def rows(self) -> list[dict[str, float | str]]:
        """One row an estimator, as a table wants it; means over the seeds."""
        return [
            {
                "estimator": label,
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


@_checks.signature("compare")
def compare(
    cell: Cell,
    step_loss: StepLoss,
    data: Callable[[Key], Batch],
    optimizer: Optimizer,
    *,
    windows: Sequence[int | None] = (1, 4, 16, 64, None),
    truncation: Callable[..., Estimator] = chunked,
    estimators: Mapping[str, Callable[..., Estimator]] | None = None,
    held_out: Callable[[Key], Batch] | None = None,
    steps: int,
    key: Key,
    seeds: int = 3,
    stream: bool = False,
    monitor: Callable[[Params], PyTree] | None = None,
    monitor_every: int = 100,
    progress: bool | str = True,
) -> Comparison:
    """Train one network under several windows, other estimators and full BPTT, and measure what each loses.

    Parameters
    ----------
    cell, step_loss, data, optimizer : as for `training.train`; data is a pure ``key -> Batch``.
    windows : truncation windows; None means full BPTT, which is added if it is missing. A window of T or
        more is full BPTT and is merged with it.
    truncation : `gradients.chunked` or `gradients.sliding`, for the windows.
    estimators : others by name, as functions of step and step_loss, such as
        ``{"uoro": gradients.uoro, "π = 0.9": partial(gradients.randomized, keep=0.9)}``.
    held_out : ``key -> Batch`` for the final loss; by default fresh batches of `data`.
    steps, seeds, key, stream, monitor, monitor_every, progress : as for `training.train`. Unless in a
        stream, every batch starts at ``cell.init_state``, and the gradient reaches a learned h_0.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a window is below 1, or another estimator has the name of one.
    TypeError
        If estimators holds anything but functions by name.
    KeyboardInterrupt
        On Ctrl-C: windows trained for different numbers of steps cannot be compared.

    Notes
    -----
    One compiled program an estimator, which trains all seeds at once; so time and memory are each one's own.
    Wall times are those of this run, one estimator after another: compare them as ratios.

    Example
    -------
    >>> from jaxrnn import cells, losses, tasks
    >>> from jaxrnn.training import clipped_adam
    >>> task = tasks.series(length=8, batch_size=4)
    >>> cell = cells.stack(cells.elman(4, 4), cells.dense(4, 1))
    >>> result = compare(cell, losses.squared_error, task.sample, clipped_adam(), windows=(2,),
    ...                  steps=4, key=jax.random.key(0), seeds=1, progress=False)
    >>> result.labels
    ('2', 'full')
    """
    key_train, key_data = jax.random.split(key)
    batch = (held_out or data)(key_data)
    _, length = _checks.batch_shape("compare", batch)
    constructors = _of_windows(windows, truncation, length) | _of_names(estimators or {})
    start: dict[str, Any] = {} if stream else {"init_state": cell.init_state}
    built = {
        label: constructor(cell.step, step_loss, **start)
        for label, constructor in {**constructors, "full": full}.items()
    }

    results = {}
    for label, estimator in built.items():
        title = f"{progress if isinstance(progress, str) else ''} {_title(label)}".strip()
        results[label] = train(
            cell,
            estimator,
            optimizer,
            data,
            steps=steps,
            key=key_train,
            seeds=seeds,
            stream=stream,
            monitor=monitor,
            monitor_every=monitor_every,
            nonfinite="keep",
            progress=title if progress else False,
        )
        if results[label].interrupted:
            raise KeyboardInterrupt(f"compare: stopped while training {_title(label)}")
    return Comparison(
        labels=tuple(built),
        windows=tuple(int(label) if label.isdecimal() else None for label in built),
        results=tuple(results.values()),
        **_measure(cell, built, set(estimators or ()), results, batch, key_data),
    )


def _of_windows(windows, truncation, length):
    """label -> constructor, for each window that truncates sequences of that length."""
    windows = _checks.listed("compare", "windows", windows, "a list of integers and None")
    windows = {_checks.at_least("compare", "windows", w, 1) for w in windows if w is not None}
    return {str(w): partial(truncation, window=w) for w in sorted(windows) if w < length}


def _of_names(estimators):
    """The user's own constructors, if their names are names."""
    for name, constructor in estimators.items():
        if not isinstance(name, str) or not callable(constructor):
            raise TypeError(
                f"compare: estimators holds {name!r}: {constructor!r}; expected names of functions of step "
                "and step_loss."
            )
        if name == "full" or name.isdecimal():
            raise ValueError(f"compare: estimators has the name {name!r}, which is that of a window.")
    return dict(estimators)


def _measure(cell, estimators, drawn, results, batch, key):
    """The other fields of a Comparison: every estimator's gradient where full BPTT ends, every final loss."""
    size, _ = _checks.batch_shape("compare", batch)
    params_of = {
        label: [result.seed(s) for s in range(len(result.history.loss))] for label, result in results.items()
    }
    ends = params_of["full"]

    def compiled(estimator):
        def estimate(params, key):
            carry = estimator.init(params, cell.initial_states(params, size))
            result, _ = estimator.estimate(params, carry, batch, key)
            return result.loss, ravel(result.grads)

        return jax.jit(estimate).lower(ends[0], key).compile()

    programs = {label: compiled(estimator) for label, estimator in estimators.items()}
    exact = [programs["full"](params, key)[1] for params in ends]

    def fidelity_of(label, params, g):
        """(cosine, root mean square error) over the draws, or of the one estimate there is."""
        keys = jax.random.split(key, _DRAWS) if label in drawn else [key]
        draws = [measure(programs[label](params, k)[1][None, None], g[None]) for k in keys]
        return np.mean([d.cosine for d in draws]), np.sqrt(np.mean([d.bias**2 for d in draws]))

    fidelities = np.array(
        [[fidelity_of(label, *at) for at in zip(ends, exact, strict=True)] for label in estimators]
    )
    return {
        "held_out_loss": np.array(
            [[programs["full"](params, key)[0] for params in params_of[label]] for label in results]
        ),
        "cosine": fidelities[..., 0],
        "relative_error": fidelities[..., 1],
        "memory_bytes": np.array([p.memory_analysis().temp_size_in_bytes for p in programs.values()]),
    }


def _title(label):
    """What a label stands for, in a progress bar."""
    return f"window {label}" if label.isdecimal() else label


def _tail(result):
    """The last tenth of the steps, over which a final loss is averaged."""
    return max(1, result.history.loss.shape[1] // 10)
