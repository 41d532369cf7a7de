"""From settings to a folder with index.html, PNGs, results.npz and table.csv."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

import jaxrnn
from jaxrnn.report.figures import NAMES, draw
from jaxrnn.report.page import csv_table, page, text_tables
from jaxrnn.report.study import Settings, study
from jaxrnn.report.write import all_or_nothing
from jaxrnn.results import save
from jaxrnn.tasks import Task

__all__ = ["build"]


def build(
    task: Task,
    cell_names: Sequence[str],
    settings: Settings,
    folder: str | Path,
    *,
    command: str = "",
    progress: bool = True,
) -> str:
    """Train, measure, draw and write; returns the tables as text.

    Raises
    ------
    OSError
        If the folder cannot be written. A report is written whole or not at all.
    """
    with all_or_nothing(Path(folder)) as draft:
        if progress:
            print(_origin(task), file=sys.stderr)
        studies = [study(name, task, settings, progress=progress) for name in cell_names]
        facts = _facts(task, command)
        pictures = list(draw(studies, task))
        for picture in pictures:
            (draft / f"{picture.name}.png").write_bytes(picture.png)
        (draft / "table.csv").write_text(csv_table(studies), encoding="utf-8")
        save(
            draft / "results.npz",
            {
                "facts": facts,
                "settings": settings,
                "source": task.source,
                "studies": {s.cell: s for s in studies},
            },
        )
        data = task.source.name if task.source else task.name
        title = f"Where does the gradient go? {', '.join(cell_names)} on {data}"
        (draft / "index.html").write_text(page(title, studies, pictures, facts), encoding="utf-8")
    for name in set(NAMES) - {picture.name for picture in pictures}:  # of an earlier report in this folder
        Path(folder, f"{name}.png").unlink(missing_ok=True)
    return text_tables(studies)


def _origin(task):
    return str(task.source or f"{task.name}: drawn from random numbers")


def _facts(task, command):
    device = jax.devices()[0]
    return {
        "Data": _origin(task),
        **({"Reference": task.reference} if task.reference else {}),
        "Naive baseline": f"{task.baseline:.4f} {task.loss_unit} ({task.baseline_name})",
        **({"Optimum": f"{task.optimum:.4f} {task.loss_unit}"} if task.optimum is not None else {}),
        "Made by": f"jaxrnn {jaxrnn.__version__}, jax {jax.__version__}, Python {platform.python_version()}",
        "On": f"{device.platform}: {device.device_kind}",
        "Date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Command": command,
    }
