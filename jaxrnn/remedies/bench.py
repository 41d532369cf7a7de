"""Remedies side by side: the same task, seeds and data, before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxrnn import _checks
from jaxrnn._result_type import result_type
from jaxrnn.diagnosis.diagnose import horizon
from jaxrnn.remedies.catalogue import MAX_NORM, REMEDIES, remedy
from jaxrnn.remedies.reach import Reach, measure_reach
from jaxrnn.remedies.setup import Remedy, Setup, Sizes
from jaxrnn.remedies.table import table, verdict
from jaxrnn.tasks import Task
from jaxrnn.training import train
from jaxrnn.types import Key

__all__ = ["Bench", "Outcome", "bench"]

_HELD_OUT = 16
# So many held-out batches: of one, the loss of a network that has learnt nothing scatters by a fifth.


@result_type
class Outcome(NamedTuple):
    """What one remedy came to, with S seeds."""

    name: str
    reference: str
    before: Reach
    after: Reach
    loss: Float[np.ndarray, "S steps"]
    """Of the training batches."""
    grad_norm: Float[np.ndarray, "S steps"]
    """Before any clipping."""
    seconds_per_step: float
    """Of training, all seeds together, without compilation."""
    compile_seconds: float
    solved: Bool[np.ndarray, " S"]
    """Whether the held-out loss ended below the bench's `solved_below`."""

    @property
    def clipped(self) -> Float[np.ndarray, " S"]:
        """The share of the steps whose gradient norm is above `MAX_NORM`, or not finite."""
        return np.mean(~(self.grad_norm <= MAX_NORM), axis=1)

    @property
    def horizons(self) -> tuple[tuple[int | None, int | None], ...]:
        """Of each seed, before and after: the lag within which 99 % of the gradient's norm lies."""
        profiles = zip(self.before.lag_profile, self.after.lag_profile, strict=True)
        return tuple((horizon(first), horizon(last)) for first, last in profiles)


@result_type
class Bench(NamedTuple):
    """All outcomes, the control first."""

    task: str
    loss_unit: str
    baseline: float
    baseline_name: str
    solved_below: float
    length: int
    hidden_size: int
    lags: Int[np.ndarray, " L"]
    """At which ``ln ‖∂h_T/∂h_{T-lag}‖`` was measured; the last is T."""
    outcomes: tuple[Outcome, ...]

    def __getitem__(self, name: str) -> Outcome:  # ty: ignore[incompatible-method-override]
        """The outcome of that name."""
        found = {outcome.name: outcome for outcome in self.outcomes}
        if name not in found:
            raise KeyError(f"Bench: no remedy {name!r}; there are {', '.join(found)}.")
        return found[name]

    def verdict(self, name: str) -> str:
        """What a remedy changed against the control, with the spread over the seeds."""
        return verdict(self, self[name])

    def table(self) -> str:
        """The outcomes as a Markdown table."""
        return table(self)

    def __str__(self) -> str:
        """Table and verdicts, for a terminal."""
        verdicts = [self.verdict(outcome.name) for outcome in self.outcomes[1:]]
        return "\n".join([self.table(), "", *verdicts])


@_checks.signature("remedies.bench")
def bench(
    task: Task,
    remedies: Sequence[str | Remedy] | None = None,
    *,
    hidden_size: int = 64,
    steps: int = 1000,
    seeds: int = 3,
    learning_rate: float = 1e-3,
    solved_below: float | None = None,
    key: Key | None = None,
    progress: bool = True,
) -> Bench:
    """Train the lecture's tanh network with each remedy, and measure its gradient before and after (E20-E22).

    Parameters
    ----------
    task : such as ``tasks.adding(length=100)``.
    remedies : names of `REMEDIES`, sums of them such as ``"irnn + clip_norm"``, or `Remedy` of your own; all
        by default. The control ``"none"`` always runs first.
    hidden_size : H.
    steps : updates.
    seeds : S, trained at once. All remedies see the same batches, and those of one layer the same start.
    learning_rate : before any schedule.
    solved_below : the held-out loss that counts as success. By default a tenth of the way from the task's
        optimum to its baseline, or the baseline itself where the optimum is unknown.
    key : of everything that is random; by default ``jax.random.key(0)``.
    progress : whether to show a bar for each remedy.

    Returns
    -------
    Bench
        ``print`` shows its table and a verdict on each remedy; `plots.plot_remedies` draws it.

    Raises
    ------
    ValueError
        If a name is unknown, or steps, seeds or hidden_size is below 1.

    Notes
    -----
    One compilation of training for each remedy, one of the measurement for each network that differs in more
    than its start, and one of norms and growth rates for each size of state; all for all seeds. A remedy that
    diverges stays in the table, with NaN. Ctrl-C ends the bench.

    Example
    -------
    >>> from jaxrnn import tasks
    >>> found = bench(tasks.adding(length=8), ["relu"], hidden_size=4, steps=2, seeds=1, progress=False)
    >>> [outcome.name for outcome in found.outcomes]
    ['none', 'relu']
    """
    _checks.at_least("remedies.bench", "hidden_size", hidden_size, 1)
    chosen = _chosen(tuple(REMEDIES) if remedies is None else remedies)
    solved_below = _solved_below(task) if solved_below is None else solved_below
    key_train, key_held_out = jax.random.split(jax.random.key(0) if key is None else key)
    batches = jax.jit(jax.vmap(task.held_out))(jax.random.split(key_held_out, _HELD_OUT))
    _, length = _checks.batch_shape("remedies.bench", jax.tree.map(lambda leaf: leaf[0], batches))
    sizes = Sizes(task.input_size, hidden_size, length)
    lags = np.unique(np.geomspace(1, length, num=min(length, 10)).round().astype(int))

    looks = {}

    def outcome(remedy):
        setup = remedy.change(Setup())
        cell = setup.cell(task, sizes)
        # Compiled when it is first called.
        look = looks.setdefault(setup.step_key, measure_reach(setup, cell, task, batches, lags.tolist()))
        result = train(
            cell,
            setup.estimator(cell, task, sizes),
            setup.chain(learning_rate, steps),
            setup.sampler(task),
            steps=steps,
            key=key_train,
            seeds=seeds,
            monitor=lambda params: params,
            monitor_every=steps,
            nonfinite="keep",
            progress=remedy.name if progress else False,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        history = result.history
        ends = (jax.tree.map(lambda leaf, i=i: leaf[:, i], history.monitored) for i in (0, -1))
        before, after = (jax.tree.map(np.asarray, look(params)) for params in ends)
        return Outcome(
            remedy.name,
            remedy.reference,
            before,
            after,
            history.loss,
            history.grad_norm,
            float(history.seconds[-1] / len(history.seconds)),
            history.compile_seconds,
            after.loss < solved_below,
        )

    return Bench(
        task.name, task.loss_unit, task.baseline, task.baseline_name, solved_below, length, hidden_size, lags,
        tuple(map(outcome, [REMEDIES["none"], *(r for r in chosen if r.name != "none")])),
    )  # fmt: skip


def _chosen(remedies):
    """Each as a `Remedy`."""
    remedies = _checks.listed("remedies.bench", "remedies", remedies, "names or Remedy objects")
    return [
        remedy(r) if isinstance(r, str) else _checks.instance("remedies.bench", "remedies", r, Remedy)
        for r in remedies
    ]


def _solved_below(task):
    if task.optimum is None:
        return task.baseline
    return task.optimum + 0.1 * (task.baseline - task.optimum)
