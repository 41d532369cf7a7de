"""What a report is made of: one network a cell, trained, compared and diagnosed."""

from __future__ import annotations

import sys
from typing import NamedTuple

import jax
import numpy as np

from jaxrnn import cells, gradients
from jaxrnn._checks import choice
from jaxrnn.diagnosis import Comparison, Diagnosis, compare, diagnose
from jaxrnn.tasks import Task
from jaxrnn.training import clipped_adam, train
from jaxrnn.types import Cell

__all__ = ["CELLS", "Settings", "Study", "build_cell", "study"]

CELLS = {"elman": cells.elman, "gru": cells.gru, "lstm": cells.lstm}


class Settings(NamedTuple):
    """What the command line chooses."""

    hidden: int
    steps: int
    seeds: int
    windows: tuple[int | None, ...]
    seed: int
    with_spectra: bool
    with_comparison: bool


class Study(NamedTuple):
    """One cell's network: what truncation costs it, and where its gradient goes."""

    cell: str
    comparison: Comparison | None
    diagnosis: Diagnosis | None

    def rows(self) -> list[dict[str, float | str]]:
        """Rows of the table, one a window; the diagnosis stands in that of full BPTT."""
        rows = self.comparison.rows() if self.comparison else [{"estimator": "full"}]
        if self.diagnosis:
            rows[-1] |= _diagnosis_columns(self.diagnosis)
        return [{"cell": self.cell} | row for row in rows]


def build_cell(name: str, task: Task, hidden: int) -> Cell:
    """The network of a report: one recurrent layer and a linear readout."""
    choice("report", "cell", name, CELLS)
    return cells.stack(CELLS[name](task.input_size, hidden), cells.dense(hidden, task.output_size))


def study(name: str, task: Task, settings: Settings, *, progress: bool = True) -> Study:
    """Train one cell on the task as the settings say, and measure it."""
    cell = build_cell(name, task, settings.hidden)
    key_train, key_held_out = jax.random.split(jax.random.key(settings.seed))
    title = name if progress else False
    comparison = diagnosis = None
    if settings.with_comparison:
        comparison = _compare(cell, task, settings, key_train, title)
        params = comparison.results[-1].seed()
    else:
        params = _train_exactly(cell, task, settings, key_train, title)
    if settings.with_spectra:
        if progress:
            print(f"{name} diagnosis", file=sys.stderr)
        diagnosis = _diagnose(name, cell, task, params, key_held_out)
    return Study(name, comparison, diagnosis)


def _compare(cell, task, settings, key, title):
    comparison = compare(
        cell,
        task.step_loss,
        task.sample,
        clipped_adam(),
        windows=settings.windows,
        held_out=task.held_out,
        steps=settings.steps,
        seeds=settings.seeds,
        key=key,
        progress=title,
    )
    # The report keeps parameters and history, not what only further training would need.
    results = tuple(result._replace(opt_state=None, carry=None) for result in comparison.results)
    return comparison._replace(results=results)


def _train_exactly(cell, task, settings, key, title):
    """The parameters of one seed after full BPTT; untrained ones if there are no steps."""
    if not settings.steps:
        return cell.init(key)
    exact = gradients.full(cell.step, task.step_loss, init_state=cell.init_state)
    result = train(cell, exact, clipped_adam(), task.sample, steps=settings.steps, key=key, progress=title)
    if result.interrupted:
        raise KeyboardInterrupt
    return result.seed()


def _diagnose(name, cell, task, params, key):
    batch = task.held_out(key)
    h_0 = cell.initial_states(params, len(jax.tree.leaves(batch.xs)[0]))
    # Only the Elman cell has the bound (γλ)^lag of E14.
    W_hh, gamma = (params[0]["W_hh"], cells.activations.tanh.gamma) if name == "elman" else (None, None)
    return diagnose(cell.step, task.step_loss, params, h_0, batch, W_hh=W_hh, gamma=gamma)


def _diagnosis_columns(diagnosis):
    rates = diagnosis.growth_rates
    return {
        "verdict": diagnosis.verdict,
        "growth_rate": float(np.median(rates.rates[:, 0])),
        "growth_rate_error": float(np.median(rates.standard_error[:, 0])),
        "log10_norm_at_longest_lag": float(diagnosis.norm_by_lag.median[-1] / np.log(10)),
        "horizon": "" if diagnosis.horizon is None else diagnosis.horizon,
        "lambda": "" if diagnosis.lam is None else diagnosis.lam,
        "gamma": "" if diagnosis.gamma is None else diagnosis.gamma,
        "saturated": max(
            (s.fraction for s in diagnosis.saturation.values() if s.fraction is not None), default=""
        ),
    }
