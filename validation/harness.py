"""What the campaigns share: exact answers from a pool of processes, tables, and what they were run with."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import mpmath
import numpy as np

import jaxrnn
from jaxrnn.jacobians import oracle

LN10 = np.log(10)


def pool() -> ProcessPoolExecutor:
    """Processes for the oracle; spawned, since JAX's threads do not survive a fork."""
    return ProcessPoolExecutor(min(2, os.cpu_count() or 1), multiprocessing.get_context("spawn"))


def exact(js: np.ndarray, pairs: Sequence[tuple[int, int]]) -> tuple[np.ndarray, list[float]]:
    """ln σ of the whole product, and ln of the norm at each pair (t, k)."""
    return oracle.spectrum(js), [oracle.log_norm(js, t, k) for t, k in pairs]


def difference(got: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|got - truth|; 0 where both are -inf, inf where one is, or where got is NaN."""
    got, truth = np.asarray(got, np.float64), np.asarray(truth, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(got == truth, 0, np.nan_to_num(np.abs(got - truth), nan=np.inf))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column to the left."""
    rule = "|".join([" --- ", *[" ---: "] * (len(header) - 1)])
    return "\n".join([f"| {' | '.join(header)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])


def environment() -> str:
    """One line: the versions and the machine."""
    parts = (
        f"jaxrnn {jaxrnn.__version__}",
        f"jax {jax.__version__} on {jax.devices()[0].platform}",
        f"NumPy {np.__version__}",
        f"mpmath {mpmath.__version__}",
        f"Python {platform.python_version()}",
        f"{os.cpu_count()} cores of {_processor()}",
    )
    return "; ".join(parts)


def _processor():
    """Its name where Linux tells it, or else the architecture."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    name = re.search(r"^model name\s*: (.+)$", text, re.M)
    return name[1] if name else platform.machine()
