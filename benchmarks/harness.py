"""Timing that other work on the machine cannot easily bias: interleaved, in shuffled order, medians."""

from __future__ import annotations

import datetime
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from math import nan
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import jax
import numpy as np

import jaxrnn

QUICK = False
"""Set by ``--quick``: few rounds and small sizes, to see that all of it runs."""
_SECONDS, _MOST_ROUNDS = 5.0, 100
"""Short cases are measured more often, until so much time has passed."""
OURS = ("jaxrnn", "gradients.", "jacobians.")
"""How the names of cases begin that are this library's."""


class Case(NamedTuple):
    """A function to compile and call; or several, one a static argument, which are called in turn.

    `compiled` marks a function that is no JAX program and is called as it is.
    """

    name: str
    functions: Callable | Sequence[Callable]
    arguments: tuple
    compiled: bool = False


class Timing(NamedTuple):
    """Seconds: medians over the rounds, and the middle half of the wall times."""

    name: str
    wall: float
    wall_quartiles: tuple[float, float]
    cpu: float
    compile: float
    temp_bytes: float

    def times(self, factor: float) -> Timing:
        """Of so many times the work."""
        low, high = self.wall_quartiles
        wall, quartiles, cpu = self.wall * factor, (low * factor, high * factor), self.cpu * factor
        return self._replace(wall=wall, wall_quartiles=quartiles, cpu=cpu)


class Report(NamedTuple):
    """Titled tables of timings, and what is to be said before them."""

    panels: list[tuple[str, list[Timing]]]
    summary: str = ""

    def markdown(self) -> str:
        """The summary and the tables; ratios are to the first row, below 1 is faster than it."""
        parts = [f"{title}\n\n{_table(timings)}" for title, timings in self.panels]
        return "\n\n".join([self.summary, *parts] if self.summary else parts)

    def picture(self, path: Path) -> None:
        """Wall times of every table as bars, over that of its first row; whiskers are quartiles."""
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt

        columns = min(2, len(self.panels))
        rows = -(-len(self.panels) // columns)
        height = 0.9 + 0.24 * max(len(timings) for _, timings in self.panels)
        fig, axes = plt.subplots(
            rows, columns, figsize=(6.5 * columns, height * rows), squeeze=False, layout="constrained"
        )
        for ax, (title, timings) in zip(axes.flat, self.panels, strict=False):
            unit = timings[0].wall
            ratios = np.array([t.wall / unit for t in timings])
            quartiles = np.array([t.wall_quartiles for t in timings]).T / unit
            spread = np.maximum(np.abs(quartiles - ratios), 0)
            colors = ["tab:blue" if t.name.startswith(OURS) else "0.7" for t in timings]
            ax.barh([t.name for t in timings], ratios, xerr=spread, color=colors, error_kw={"lw": 1})
            ax.invert_yaxis()
            ax.axvline(1, color="0.3", lw=0.8)
            ax.set_title(title, fontsize=9)
            ax.set_xlabel("wall time / first row", fontsize=8)
            ax.tick_params(labelsize=7)
            if max(ratios) > 30 * min(ratios):
                ax.set_xscale("log")
        for ax in axes.flat[len(self.panels) :]:
            ax.axis("off")
        fig.savefig(path, dpi=64)
        plt.close(fig)


def measure(cases: Sequence[Case], *, rounds: int = 11, seed: int = 0) -> list[Timing]:
    """Compile all cases apart, call each once unmeasured, then all of them in every round, shuffled.

    At least so many rounds, and more of short cases.
    """
    rounds, seconds = (min(rounds, 3), 0.0) if QUICK else (rounds, _SECONDS)
    programs, compile_seconds = [], []
    for case in cases:
        functions = case.functions if isinstance(case.functions, Sequence) else [case.functions]
        began = time.perf_counter()
        programs.append(
            [f if case.compiled else jax.jit(f).lower(*case.arguments).compile() for f in functions]
        )
        compile_seconds.append(time.perf_counter() - began)
    calls = [
        lambda programs=some, arguments=case.arguments: jax.block_until_ready(
            [p(*arguments) for p in programs]
        )
        for case, some in zip(cases, programs, strict=True)
    ]
    for call in calls:
        call()
    walls, cpus = ([[] for _ in cases] for _ in range(2))
    order, generator = list(range(len(cases))), random.Random(seed)
    began = time.perf_counter()
    while len(walls[0]) < rounds or (len(walls[0]) < _MOST_ROUNDS and time.perf_counter() - began < seconds):
        generator.shuffle(order)
        for c in order:
            wall, cpu = time.perf_counter(), time.process_time()
            calls[c]()
            walls[c].append(time.perf_counter() - wall)
            cpus[c].append(time.process_time() - cpu)
    return [
        Timing(
            case.name,
            median(walls[c]),
            tuple(quantiles(walls[c], n=4)[::2]),
            median(cpus[c]),
            compile_seconds[c],
            nan if case.compiled else max(p.memory_analysis().temp_size_in_bytes for p in programs[c]),
        )
        for c, case in enumerate(cases)
    ]


def _table(timings):
    first = timings[0]
    lines = [
        "| | wall (ms) | quartiles | ratio | CPU (ms) | ratio | compile (s) | temporary memory (MB) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for t in timings:
        low, high = t.wall_quartiles
        lines.append(
            f"| {t.name} | {t.wall * 1e3:.2f} | {low * 1e3:.2f}–{high * 1e3:.2f} | {t.wall / first.wall:.2f} "
            f"| {t.cpu * 1e3:.2f} | {t.cpu / first.cpu:.2f} | {t.compile:.2f} | {t.temp_bytes / 1e6:.2f} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """What the name of a run says of where it ran."""
    huge_pages = "hugetlb=1" in os.environ.get("GLIBC_TUNABLES", "")
    return jax.default_backend() + ("-huge-pages" if huge_pages else "")


def environment() -> str:
    """One line: what ran, where, when, and how busy the machine was."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    load = f"load average {os.getloadavg()[0]:.1f} before the first run" if hasattr(os, "getloadavg") else ""
    peers = (
        f"{name} {metadata.version(name)}"
        for name in ("flax", "equinox", "dm-haiku", "lyapax", "torch")
        if find_spec(name.removeprefix("dm-"))
    )
    parts = (
        f"jaxrnn {jaxrnn.__version__}",
        f"jax {jax.__version__}",
        *peers,
        f"Python {platform.python_version()}",
        f"{jax.devices()[0].platform}: {names[0] if names else platform.processor()}, {os.cpu_count()} cores",
        *(f"{name}={os.environ.get(name, 'unset')}" for name in ("OPENBLAS_NUM_THREADS", "GLIBC_TUNABLES")),
        load,
        datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return "; ".join(part for part in parts if part)
