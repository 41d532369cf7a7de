"""One-step-ahead forecasting of a real-valued series."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import squared_error
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.windows import random_windows, split
from jaxrnn.types import Batch

__all__ = ["series"]


_PRICES = ("open", "high", "low", "adj_close")


@_checks.signature("tasks.series")
def series(
    path: str | Path | None = None,
    *,
    column: str | None = None,
    inputs: str | Sequence[str] | None = None,
    length: int = 30,
    batch_size: int = 32,
) -> Task:
    """Forecast the next value of a series from what is known so far, in windows of 30 days as in the notes.

    Every column is standardised by the mean and deviation of its first 90 %; the rest is held out.

    Parameters
    ----------
    path : a CSV file with a header line. By default the daily Google prices that matplotlib ships as
        ``goog.npz``.
    column : the column to forecast; may be left out if the file has only one. By default a day's ``high``:
        the last price of a day (``adj_close``) is close to a random walk, of which persistence is the best
        forecast.
    inputs : the columns that are read at each step. By default the forecast column alone, and a day's four
        prices for the default ``high``.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Its baseline is persistence: the forecast that tomorrow is as today, in windows as they are drawn.

    Raises
    ------
    ValueError
        If a column is missing, not numeric, constant, or shorter than two windows.
    OSError
        If the file cannot be read.

    Example
    -------
    >>> import jax
    >>> task = series(length=30, batch_size=2)
    >>> batch = task.sample(jax.random.key(0))
    >>> batch.xs.shape, batch.targets.shape
    ((2, 30, 4), (2, 30, 1))
    """
    length = _checks.at_least("tasks.series", "length", length, 1)
    batch_size = _checks.at_least("tasks.series", "batch_size", batch_size, 1)
    if path is None:
        table = _google_prices()
        if column is None:
            column, inputs = "high", _PRICES if inputs is None else inputs
    else:
        table = _read_csv(_checks.file("tasks.series", "path", path))
        column = table.only_column() if column is None else column
    inputs = (column,) if inputs is None else (inputs,) if isinstance(inputs, str) else tuple(inputs)
    if not inputs:
        raise ValueError("tasks.series: inputs is empty; expected at least one column.")
    name = f"{table.name}, {column}" + ("" if inputs == (column,) else f" from {', '.join(inputs)}")
    values = np.stack([table.numbers(c) for c in (column, *inputs)], axis=1)
    train, held_out = split(values, f"tasks.series: {name}", length)
    deviation = np.std(train, axis=0)
    for c, size in zip((column, *inputs), deviation, strict=True):
        if not size > 0:
            raise ValueError(f"tasks.series: {table.name}, {c} is constant; there is nothing to forecast.")
    train, held_out = ((part - np.mean(train, axis=0)) / deviation for part in (train, held_out))
    return Task(
        name="series",
        input_size=len(inputs),
        output_size=1,
        sample=_batches(train, batch_size, length),
        held_out=_batches(held_out, batch_size, length),
        step_loss=squared_error,
        baseline=_persistence(held_out[:, 0], length),
        baseline_name="persistence",
        loss_unit="½ squared error, in standard deviations",
        source=Source.of(name, table.content, len(values), "values"),
    )


def _persistence(values, length):
    """Its loss in windows as they are drawn, which seldom reach the ends of the values."""
    windows = np.lib.stride_tricks.sliding_window_view(np.diff(values) ** 2, length)
    return float(0.5 * np.mean(windows))


def _batches(values, batch_size, length):
    """Of values whose first column is the one to forecast, and whose others are the inputs."""
    windows = random_windows(jnp.asarray(values, dtype=float), batch_size, length)

    def sample(key):
        now, later = windows(key)
        return Batch(now[..., 1:], later[..., :1])

    return sample


class _Table(NamedTuple):
    """Named columns of one file."""

    name: str
    content: bytes
    columns: tuple[str, ...]
    read: Callable[[int], np.ndarray]
    """The numbers of a column."""

    def only_column(self):
        if len(self.columns) > 1:
            raise ValueError(
                f"tasks.series: {self.name} has the columns {', '.join(self.columns)}; choose one with "
                "column=."
            )
        return self.columns[0]

    def numbers(self, column):
        if column not in self.columns:
            raise ValueError(
                f"tasks.series: {self.name} has no column {column!r}; its columns are "
                f"{', '.join(self.columns)}."
            )
        return self.read(self.columns.index(column))


def _google_prices():
    # The file is found without importing matplotlib, which would cost seconds.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "tasks.series: the default data is matplotlib's; install matplotlib or give a CSV file."
        )
    path = Path(spec.submodule_search_locations[0], "mpl-data", "sample_data", "goog.npz")
    with np.load(path) as file:
        data = file["price_data"]
    columns = tuple(name for name in data.dtype.names if name != "date")
    return _Table(
        "goog.npz of matplotlib", path.read_bytes(), columns, lambda i: data[columns[i]].astype(float)
    )


def _read_csv(path):
    content = path.read_bytes()
    try:
        lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise ValueError(f"tasks.series: {path.name} is not UTF-8 text; expected a CSV file.") from error
    reader = csv.reader(lines)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"tasks.series: {path.name}, line {reader.line_num}: {error}.") from error
    if not rows:
        raise ValueError(f"tasks.series: {path.name} is empty; expected a CSV file with a header line.")
    header = tuple(name.strip() for name in rows[0][1])
    return _Table(path.name, content, header, lambda i: _numbers(rows[1:], i, path.name, header[i]))


def _numbers(rows, place, name, column):
    values = []
    for line, row in rows:
        cell = row[place].strip() if place < len(row) else ""
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(
                f"tasks.series: {name}, line {line}: {column!r} holds {cell!r}; expected a finite number."
            )
        values.append(value)
    return np.array(values)
