"""What a report is made of: one network a cell, trained, compared and diagnosed."""

from __future__ import annotations

import sys
from typing import NamedTuple

import jax
import numpy as np

from jaxrnn import cells, gradients
from jaxrnn._checks import choice
from jaxrnn.diagnosis import Comparison, Diagnosis, compare, diagnose
from jaxrnn.report.snapshots import Snapshots, snapshots
from jaxrnn.tasks import Task
from jaxrnn.training import clipped_adam, train
from jaxrnn.types import Cell

__all__ = ["CELLS", "Settings", "Study", "build_cell", "study"]

_MOMENTS, _CHUNK = 4, 20
# Looks at the parameters after the first; steps of a compiled call of `train`.

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
    snapshots: Snapshots | None
    """Of the network that full BPTT trains."""

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
    comparison = diagnosis = found = None
    if settings.with_comparison:
        comparison, trained = _compare(cell, task, settings, key_train, title)
    else:
        trained = _train_exactly(cell, task, settings, key_train, title)
    if settings.with_spectra:
        if progress:
            print(f"{name} diagnosis", file=sys.stderr)
        batch = task.held_out(key_held_out)
        history = _history(cell, trained, key_train)
        _, params = history[-1]
        h_0 = cell.initial_states(params, len(jax.tree.leaves(batch.xs)[0]))
        diagnosis = _diagnose(name, cell, task, params, h_0, batch)
        first_h_0, first_xs = jax.tree.map(lambda leaf: leaf[0], (h_0, batch.xs))
        found = snapshots(cell.step, history, first_h_0, first_xs)
    return Study(name, comparison, diagnosis, found)


def _compare(cell, task, settings, key, title):
    """The comparison without what only further training would need, and the run of full BPTT."""
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
        **_watch(settings),
        progress=title,
    )
    results = tuple(
        result._replace(
            opt_state=None,
            carry=None,
            history=result.history._replace(monitored=None, monitored_steps=None),
        )
        for result in comparison.results
    )
    return comparison._replace(results=results), comparison.results[-1]


def _train_exactly(cell, task, settings, key, title):
    """The run of full BPTT with one seed; None if there are no steps."""
    if not settings.steps:
        return None
    exact = gradients.full(cell.step, task.step_loss, init_state=cell.init_state)
    result = train(
        cell,
        exact,
        clipped_adam(),
        task.sample,
        steps=settings.steps,
        key=key,
        **_watch(settings),
        nonfinite="keep",
        progress=title,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def _watch(settings):
    """What makes `train` keep the parameters of some moments."""
    # Whole chunks between them: chunks of another length are compiled anew.
    return {
        "monitor": lambda params: params,
        "monitor_every": _CHUNK * -(-settings.steps // (_MOMENTS * _CHUNK)),
    }


def _history(cell, trained, key):
    """(steps done, parameters) of the first seed, from untrained to the end."""
    if trained is None:
        return [(0, cell.init(key))]
    history, steps = trained.history, trained.history.loss.shape[1]
    seen = {
        int(done): jax.tree.map(lambda leaf, m=m: leaf[0, m], history.monitored)
        for m, done in enumerate(history.monitored_steps)
    }
    return list((seen | {steps: trained.seed()}).items())


def _diagnose(name, cell, task, params, h_0, batch):
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
