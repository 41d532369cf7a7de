"""Where the numbers of a running training go: files and dashboards."""

from __future__ import annotations

import csv as csv_module
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from jaxrnn import _checks

__all__ = ["Callback", "csv", "flat", "jsonl", "tensorboard", "wandb"]

Callback: TypeAlias = Callable[[int, Mapping[str, Any]], None]
"""``callback(step, metrics)``; metrics are arrays, numbers, and trees of them, by name."""


@_checks.signature("training.callbacks.flat")
def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every number by a name of its own: ``{"loss": [1, 2]}`` becomes ``{"loss/0": 1, "loss/1": 2}``.

    >>> flat({"loss": np.array([0.5]), "norms": {"by_lag": np.array([1.0, 2.0])}})
    {'loss': 0.5, 'norms/by_lag/0': 1.0, 'norms/by_lag/1': 2.0}
    """
    numbers = {}
    for name, tree in metrics.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            parts = [name, *(jax.tree_util.keystr((key,), simple=True) for key in path)]
            array = np.asarray(leaf)
            array = array.reshape(()) if array.size == 1 else array
            numbers |= {
                "/".join([*parts, *map(str, index)]): float(array[index]) for index in np.ndindex(array.shape)
            }
    return numbers


@_checks.signature("training.callbacks.jsonl")
def jsonl(path: str | Path) -> Callback:
    """A line of JSON for each call, appended to the file: ``{"step": 10, "loss": 0.5, ...}``.

    What is not finite becomes null, which JSON has and NaN it has not.
    """
    path = Path(path)

    def write(step, metrics):
        numbers = {name: value if np.isfinite(value) else None for name, value in flat(metrics).items()}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")

    return write


@_checks.signature("training.callbacks.csv")
def csv(path: str | Path) -> Callback:
    """A row for each call; an earlier file of that name is overwritten.

    Where a later call brings a name that is new, such as of a monitor that looks now and then, the file is
    written again with one more column; what a call lacks stays empty.
    """
    path, columns, rows = Path(path), ["step"], []

    def write(step, metrics):
        row = {"step": step, **flat(metrics)}
        more = [name for name in row if name not in columns]
        columns.extend(more)
        rows.append(row)
        begin = bool(more) or len(rows) == 1
        with path.open("w" if begin else "a", encoding="utf-8", newline="") as file:
            writer = csv_module.DictWriter(file, columns)
            if begin:
                writer.writeheader()
            writer.writerows(rows if begin else [row])

    return write


@_checks.signature("training.callbacks.tensorboard")
def tensorboard(folder: str | Path | Any) -> Callback:
    """Scalars for TensorBoard in that folder, or by a ``SummaryWriter`` of your own, torch's too.

    Raises
    ------
    ImportError
        For a folder, without tensorboardX.
    """
    writer: Any = folder
    if isinstance(folder, str | Path):
        with _checks.installed("training.callbacks.tensorboard", "tensorboardX", "tensorboard"):
            from tensorboardX import SummaryWriter
        writer = SummaryWriter(str(folder))

    def write(step, metrics):
        for name, value in flat(metrics).items():
            writer.add_scalar(name, value, step)

    return write


@_checks.signature("training.callbacks.wandb")
def wandb(run: Any) -> Callback:
    """To a run of Weights & Biases, as ``wandb.init()`` gives it, by its ``log``."""
    return lambda step, metrics: run.log(flat(metrics), step=step)
