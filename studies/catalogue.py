"""All remedies, one by one, on the adding problem at T = 50: what changes, and whether the task is solved.

Training is short, with one learning rate for all: a remedy that does not solve the task here may do so with
other settings, or beside another remedy.
"""

from __future__ import annotations

import sys

import jaxrnn as jr

TITLE = "All remedies, T = 50"
STEPS, SEEDS, HIDDEN, RATE = 1500, 2, 32, 3e-3


def run():
    """The table and the picture; no bar is set here."""
    found = jr.remedies.bench(
        jr.tasks.adding(length=50),
        hidden_size=HIDDEN,
        steps=STEPS,
        seeds=SEEDS,
        learning_rate=RATE,
        progress=sys.stderr.isatty(),
    )
    text = (
        f"H = {HIDDEN}, batches of 32, {STEPS} steps of Adam at {RATE:g} unless the remedy says otherwise, "
        f"{SEEDS} seeds of `jax.random.key(0)`. Solved is a held-out loss below {found.solved_below:.2g}.\n\n"
        + found.table()
    )
    return text, [], jr.plots.plot_remedies(found)[0].figure
