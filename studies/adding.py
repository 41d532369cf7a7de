"""The adding problem at T = 100: which networks carry the first marked number to the end.

The textbook's tanh network is to stay at the answer 1 (mean squared error 1/6), and LSTM, IRNN and orthogonal
network are to end below 0.01, all seeds, in 20 minutes together. Losses are ½ (error)².
"""

from __future__ import annotations

import sys
import time

import jaxrnn as jr

TITLE = "The adding problem, T = 100"
STEPS, SEEDS, HIDDEN, RATE = 6000, 3, 64, 2e-3
SOLVE = tuple(f"{name} + clip_norm + cosine" for name in ("lstm", "irnn", "orthogonal_rnn"))
SOLVED = 0.01 / 2
MINUTES = 20


def run():
    """The table and verdicts, the bars that are broken, and the picture."""
    began = time.perf_counter()
    task = jr.tasks.adding(length=100)
    found = jr.remedies.bench(
        task,
        SOLVE,
        hidden_size=HIDDEN,
        steps=STEPS,
        seeds=SEEDS,
        learning_rate=RATE,
        solved_below=SOLVED,
        progress=sys.stderr.isatty(),
    )
    minutes = (time.perf_counter() - began) / 60
    broken = [
        f"{name}: {found[name].solved.sum()} of {SEEDS} seeds"
        for name in SOLVE
        if not found[name].solved.all()
    ]
    # Below half of the naive loss a network has learnt something of the first number.
    if (found["none"].after.loss < task.baseline / 2).any():
        broken.append("none: a seed has learnt the task")
    if minutes > MINUTES:
        broken.append(f"{minutes:.1f} minutes")
    figure = jr.plots.plot_remedies(found)[0].figure
    text = (
        f"H = {HIDDEN}, batches of 32, {STEPS} steps of Adam from {RATE:g}, {SEEDS} seeds of "
        f"`jax.random.key(0)`; {minutes:.1f} minutes.\n\n{found.table()}\n\n"
        + "\n".join(f"- {found.verdict(outcome.name)}" for outcome in found.outcomes[1:])
    )
    return text, broken, figure
