"""Trainings killed by SIGKILL at random moments and resumed, against one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from validation.harness import table

TITLE = "Killed and resumed"
KILLS = 20
ESTIMATORS = ("full", "chunked", "randomized", "rtrl")
STEPS, EVERY = 400, 5
SEED = 8


def run(kills: int = KILLS) -> tuple[str, list[str]]:
    """A row an estimator: how often it was killed, where, and how often the end was the same in every bit."""
    rows, broken = [], []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for name in ESTIMATORS:
            trials = _Trials(name, Path(folder))
            random_numbers = random.Random(f"{SEED} {name}")
            shares = [random_numbers.random() for _ in range(kills)]
            ends = list(pool.map(trials.killed_at, range(kills), shares))
            same, steps = (list(column) for column in zip(*ends, strict=True))
            span = f"{min(steps)} to {max(steps)}"
            rows.append([name, f"{kills}", span, f"{len(set(steps))}", f"{sum(same)}"])
            if not all(same):
                broken.append(f"{name}: {same.count(False)} of {kills} ended in other bits")
    header = ("estimator", "kills", "latest checkpoints, of 400 steps", "different ones", "same bits")
    return f"Random moments from seed {SEED}.\n\n{table(header, rows)}", broken


class _Trials:
    """Trainings of one estimator in processes of their own."""

    def __init__(self, name, folder):
        self._name, self._folder = name, folder / name
        began = time.monotonic()
        self._start("alone").wait()
        self._duration = time.monotonic() - began
        self._expected = self._outcome("alone")

    def killed_at(self, number, share):
        """(whether the end is the same, the step of the checkpoint that it went on from)."""
        name = f"killed_{number}"
        process = self._start(name)
        checkpoints = self._folder / name / "checkpoints"
        while not _saved(checkpoints):  # before, there is nothing to lose
            time.sleep(0.01)
        # Saving begins after imports and the first compilation, some two thirds of a short run.
        time.sleep(share * self._duration / 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        step = max(_saved(checkpoints))
        self._start(name).wait()
        found = self._outcome(name)
        same = all(np.array_equal(found[leaf], self._expected[leaf]) for leaf in self._expected)
        return same and found.keys() == self._expected.keys(), step

    def _start(self, name):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        environment["JAX_COMPILATION_CACHE_DIR"] = str(self._folder / "cache")
        command = [sys.executable, "-m", "validation.killed", self._name, str(self._folder / name)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def _outcome(self, name):
        """Every array of the result but the times, of which one stands in the file's structure."""
        with np.load(self._folder / name / "trained.npz") as file:
            return {
                leaf: file[leaf] for leaf in file.files if "seconds" not in leaf and leaf != "__structure__"
            }


def _saved(checkpoints):
    """The steps of the complete ones: orbax gives what it still writes another name."""
    return [int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()]


def main(estimator: str, folder: str) -> None:
    """The training of one process."""
    import jax
    import jax.numpy as jnp
    import optax

    import jaxrnn as jr

    cell = jr.cells.stack(jr.cells.elman(2, 8), jr.cells.dense(8, 1))
    options = {"chunked": {"window": 4}, "randomized": {"keep": 0.7}}.get(estimator, {})
    make = getattr(jr.gradients, estimator)

    def sample(key):
        xs = jax.random.normal(key, (4, 12, 2))
        return jr.Batch(xs, jnp.cumsum(xs.sum(-1, keepdims=True), axis=1) / 4)

    result = jr.training.train(
        cell,
        make(cell.step, jr.losses.squared_error, **options),
        optax.adam(1e-2),
        sample,
        steps=STEPS,
        key=jax.random.key(0),
        seeds=2,
        stream=True,
        chunk=EVERY,
        monitor=optax.tree.norm,
        monitor_every=50,
        checkpoints=jr.training.Checkpoints(Path(folder) / "checkpoints", every=EVERY),
        resume=True,
        progress=False,
    )
    result.save(Path(folder) / "trained.npz")


if __name__ == "__main__":
    main(*sys.argv[1:])
