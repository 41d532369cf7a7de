"""Loss and exact gradient of one recurrent layer: jaxrnn against the libraries' own layers."""

from __future__ import annotations

from math import prod

import jax
import numpy as np

from benchmarks import harness
from benchmarks.harness import Report, measure
from benchmarks.peers import (
    JAX_PEERS,
    OF_LINENS_CELL,
    OF_LINENS_CELL_IN_SEGMENTS,
    OURS,
    TORCH,
    cases,
)

TITLE = "Training gradient"
SIZES = [(100, 32, 28, 128), (1000, 32, 8, 128), (1000, 8, 64, 256), (200, 64, 128, 512)]
"""(T, B, d, H)."""


def run() -> Report:
    """A table for every layer and size, and a summary of them all."""
    panels, rows = [], []
    for kind in ("elman", "gru", "lstm"):
        for size in SIZES[:1] if harness.QUICK else SIZES:
            title, timings = _of_case(kind, *size)
            panels.append((title, timings))
            rows.append((title, *_ratios({timing.name: timing for timing in timings})))
    return Report(panels, _summary(rows))


def _of_case(kind, T, B, d, H):
    xs = jax.random.normal(jax.random.key(1), (T, B, d))
    peers, torch, ours = (cases(makers, kind, d, H, xs) for makers in (JAX_PEERS, TORCH, OURS))
    timings = measure([*peers, *torch, *ours], rounds=25)
    _check_equal(peers[0], ours[:2])
    return f"{kind}, T = {T}, B = {B}, d = {d}, H = {H}", timings


def _check_equal(plain, some):
    """Within 1e-5 of the largest entry: single precision, sums in another order."""
    expected = jax.tree.leaves(jax.jit(plain.functions)(*plain.arguments))
    for case in some:
        for ours, reference in zip(
            jax.tree.leaves(jax.jit(case.functions)(*case.arguments)), expected, strict=True
        ):
            scale = np.max(np.abs(reference))
            np.testing.assert_allclose(np.asarray(ours), np.asarray(reference), rtol=0, atol=1e-5 * scale)


def _ratios(by_name):
    """Best JAX peer, its time / ours, torch's better / ours, our memory / plain JAX's.

    Then of Flax's cell, without and with segments: its layer's time / ours, our memory / its layer's.
    """

    def starting(*starts):
        return [timing for name, timing in by_name.items() if name.startswith(starts)]

    best = min(starting("plain", "flax", "equinox", "haiku"), key=lambda timing: timing.wall)
    ours = by_name["jaxrnn: gradients.full"]
    torch = min((timing.wall for timing in starting("torch")), default=np.nan)
    linen = by_name.get("flax linen: RNN")
    return (
        best.name,
        best.wall / ours.wall,
        torch / ours.wall,
        ours.temp_bytes / by_name["plain JAX: grad over lax.scan"].temp_bytes,
        *(
            ratio
            for timing in starting(OF_LINENS_CELL, OF_LINENS_CELL_IN_SEGMENTS)
            for ratio in (linen.wall / timing.wall, timing.temp_bytes / linen.temp_bytes)
        ),
    )


def _summary(rows):
    lines = [
        "How many times faster `gradients.full` is (wall time), and its temporary memory over plain JAX's;",
        "the same for Flax's own cell in `gradients.full` against Flax's layer, without and with segments:",
        "",
        "| | best JAX peer | peer / ours | torch / ours | memory "
        "| flax / its cell here | memory | with segments | memory |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {title} | {best} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |"
        for title, best, *ratios in rows
    ]
    means = [prod(column) ** (1 / len(rows)) for column in list(zip(*rows, strict=True))[2:]]
    lines.append("| geometric mean | | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return "\n".join(lines)
