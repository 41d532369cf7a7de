"""A text of 2 GB, trained on in one pass: the memory of the process while it does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from validation.harness import table

TITLE = "A stream far larger than what is kept of it"
GIGABYTES = 2.0
GROWTH = 0.05
LENGTH, BATCH_SIZE = 64, 2048


def run(gigabytes: float = GIGABYTES) -> tuple[str, list[str]]:
    """Resident memory in the first and the last quarter of the pass."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder, "text"), int(gigabytes * 1e9))
        command = [sys.executable, "-m", "validation.stream", folder]
        subprocess.run(command, check=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
        report = np.load(Path(folder, "report.npz"))
        resident, seconds, loss = report["resident"], report["seconds"], report["loss"]
    quarter = len(resident) // 4
    first, last = resident[:quarter].mean(), resident[-quarter:].mean()
    growth = last / first - 1
    header = ("text", "steps", "time", "first quarter", "last quarter", "growth", "loss, first", "loss, last")
    row = [
        f"{gigabytes:g} GB",
        f"{len(loss)}",
        f"{seconds:.0f} s",
        f"{first / 1e6:.1f} MB",
        f"{last / 1e6:.1f} MB",
        f"{growth:+.2%}",
        f"{loss[:20].mean():.3f}",
        f"{loss[-20:].mean():.3f}",
    ]
    broken = [f"the resident set grew by {growth:.1%} (5 % allowed)"] if growth >= GROWTH else []
    return table(header, [row]), broken


def _write(path, size):
    """Words drawn at random from a thousand random ones, so that there is something to learn."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    words = [bytes(rng.choice(letters, rng.integers(2, 9))) + b" " for _ in range(1000)]
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(b"".join(words[i] for i in rng.integers(0, len(words), 200_000)))


def main(folder: str) -> None:
    """The training of the process that is measured."""
    import jax

    import jaxrnn as jr

    resident = []

    def watch(step, metrics):
        del step, metrics
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident.append(pages * os.sysconf("SC_PAGE_SIZE"))

    text = jr.tasks.text_stream(Path(folder, "text"), length=LENGTH, batch_size=BATCH_SIZE, one_hot=False)
    cell = jr.cells.stack(jr.cells.elman(27, 8), jr.cells.dense(8, 27))

    def step(params, h_tm1, symbol):
        return cell.step(params, h_tm1, jax.nn.one_hot(symbol, 27))

    result = jr.training.train(
        cell,
        jr.gradients.full(step, text.step_loss),
        jr.training.clipped_adam(1e-2),
        text,
        steps=None,
        key=jax.random.key(0),
        stream=True,
        chunk=10,
        callbacks=[watch],
        progress="2 GB",
    )
    history = result.history
    np.savez(Path(folder, "report.npz"), resident=resident, loss=history.loss[0], seconds=history.seconds[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
