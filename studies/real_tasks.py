"""Every task on real data: one small network each, against the predictor that its baseline names.

Each is to end below its baseline on held-out data in less than two minutes, compilation included.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn as jr
from jaxrnn.cells import dense, encoder_decoder, gru, stack

TITLE = "Real tasks"
SECONDS = 120
HELD_OUT = 16


class Study(NamedTuple):
    """A task and how to learn it."""

    make: partial
    hidden_size: int
    steps: int
    learning_rate: float = 5e-3


STUDIES = {
    "digits, by row": Study(partial(jr.tasks.digits, by="row"), 64, 1000),
    "digits, by pixel": Study(partial(jr.tasks.digits, by="pixel"), 64, 1500),
    "surnames": Study(partial(jr.tasks.surnames), 64, 600),
    "hyphenation": Study(partial(jr.tasks.hyphenation), 64, 1000),
    "case_restoration": Study(partial(jr.tasks.case_restoration), 64, 1000),
    "dates": Study(partial(jr.tasks.dates), 128, 1500),
    "series, high": Study(partial(jr.tasks.series), 32, 1000, 2e-3),
    "series, volume": Study(partial(jr.tasks.series, column="volume"), 32, 600, 2e-3),
    "text": Study(partial(jr.tasks.text), 64, 1000),
}


def run():
    """A row for each task, the bars that are broken, and the picture."""
    figure, axs = plt.subplots(3, 3, figsize=(12.0, 8.4), layout="constrained")
    lines = [
        "| task | held-out loss | baseline | of | steps | seconds |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    broken = []
    for (name, study), ax in zip(STUDIES.items(), axs.ravel(), strict=True):
        began = time.perf_counter()
        task = study.make()
        network = _network(task, study)
        result = jr.training.train(
            network,
            jr.gradients.full(network.step, task.step_loss),
            jr.training.clipped_adam(study.learning_rate),
            task.sample,
            steps=study.steps,
            key=jax.random.key(0),
            progress=name if sys.stderr.isatty() else False,
        )
        loss = _held_out_loss(task, network, result.seed())
        seconds = time.perf_counter() - began
        against = f"{task.baseline:.4g} | {task.baseline_name}"
        lines.append(f"| {name} | {loss:.4g} | {against} | {study.steps} | {seconds:.0f} |")
        if not (loss < task.baseline and seconds < SECONDS):
            broken.append(f"{name}: {loss:.4g} in {seconds:.0f} s")
        _draw(ax, name, task, result.history.loss[0], loss)
    return "\n".join(lines), broken, figure


def _network(task, study):
    H = study.hidden_size
    network = stack(gru(task.input_size, H), dense(H, task.output_size))
    return encoder_decoder(gru(task.input_size, H), network) if task.encoder_decoder else network


def _held_out_loss(task, network, params):
    @jax.jit
    def of_batch(key):
        batch = task.held_out(key)
        h_0 = network.initial_states(params, batch.targets.shape[0])
        return jr.gradients.loss(network.step, task.step_loss, params, h_0, batch)[0]

    return float(np.mean([of_batch(key) for key in jax.random.split(jax.random.key(1), HELD_OUT)]))


def _draw(ax, name, task, losses, held_out):
    ax.plot(np.arange(1, len(losses) + 1), losses, linewidth=0.8, label="training batches")
    ax.axhline(task.baseline, color="0.3", linestyle="--", label=f"baseline: {task.baseline_name}")
    ax.plot(len(losses), held_out, "o", color="#D55E00", label="held-out")
    # The first steps may lie far above all that matters.
    ax.set_ylim(0, 1.2 * max(task.baseline, held_out, np.quantile(losses[len(losses) // 2 :], 0.95)))
    ax.set_title(name)
    ax.set_xlabel("step")
    ax.set_ylabel(task.loss_unit, fontsize=8)
    ax.legend(fontsize=7)
