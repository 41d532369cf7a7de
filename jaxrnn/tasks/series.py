"""One-step-ahead forecasting of a real-valued series."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import squared_error
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.windows import random_windows, split
from jaxrnn.types import Batch

__all__ = ["series"]


def series(
    path: str | Path | None = None, *, column: str | None = None, length: int = 30, batch_size: int = 32
) -> Task:
    """Forecast the next value of a series from the values so far, in windows of 30 days as in the notes.

    Values are standardised by the mean and deviation of the first 90 %; the rest is held out.

    Parameters
    ----------
    path : a CSV file with a header line. By default the daily Google prices that matplotlib ships as
        ``goog.npz``.
    column : the column's name; may be left out if the file has only one. Of the default data ``adj_close``
        unless given; prices are close to a random walk, of which persistence is the best forecast, while
        ``volume`` returns to its mean.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Its baseline is persistence: the forecast that tomorrow is as today, in windows as they are drawn.

    Raises
    ------
    ValueError
        If the column is missing, not numeric, constant, or shorter than two windows.
    OSError
        If the file cannot be read.

    Example
    -------
    >>> import jax
    >>> task = series(length=30, batch_size=2)
    >>> task.sample(jax.random.key(0)).xs.shape
    (2, 30, 1)
    """
    length = _checks.at_least("tasks.series", "length", length, 1)
    batch_size = _checks.at_least("tasks.series", "batch_size", batch_size, 1)
    if path is None:
        name, content, values = _google_prices(column or "adj_close")
    else:
        name, content, values = _read_csv(Path(path), column)
    train, held_out = split(values, f"tasks.series: {name}", length)
    deviation = np.std(train)
    if not deviation > 0:
        raise ValueError(f"tasks.series: {name} is constant; there is nothing to forecast.")
    train, held_out = ((part - np.mean(train)) / deviation for part in (train, held_out))
    return Task(
        name="series",
        input_size=1,
        output_size=1,
        sample=_batches(train, batch_size, length),
        held_out=_batches(held_out, batch_size, length),
        step_loss=squared_error,
        baseline=_persistence(held_out, length),
        baseline_name="persistence",
        loss_unit="½ squared error, in standard deviations",
        source=Source.of(name, content, len(values), "values"),
    )


def _persistence(values, length):
    """Its loss in windows as they are drawn, which seldom reach the ends of the values."""
    windows = np.lib.stride_tricks.sliding_window_view(np.diff(values) ** 2, length)
    return float(0.5 * np.mean(windows))


def _batches(values, batch_size, length):
    windows = random_windows(jnp.asarray(values, dtype=float), batch_size, length)

    def sample(key):
        inputs, targets = windows(key)
        return Batch(inputs[..., None], targets[..., None])

    return sample


def _google_prices(column):
    # The file is found without importing matplotlib, which would cost seconds.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "tasks.series: the default data is matplotlib's; install matplotlib or give a CSV file."
        )
    path = Path(spec.submodule_search_locations[0], "mpl-data", "sample_data", "goog.npz")
    with np.load(path) as file:
        data = file["price_data"]
    _checks.choice("tasks.series", "column", column, [name for name in data.dtype.names if name != "date"])
    return f"goog.npz of matplotlib, {column}", path.read_bytes(), data[column].astype(float)


def _read_csv(path, column):
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
    header = [name.strip() for name in rows[0][1]]
    if column is None and len(header) == 1:
        column = header[0]
    if column is None:
        raise ValueError(
            f"tasks.series: {path.name} has the columns {', '.join(header)}; choose one with column=."
        )
    if column not in header:
        raise ValueError(
            f"tasks.series: {path.name} has no column {column!r}; its columns are {', '.join(header)}."
        )
    return f"{path.name}, {column}", content, _numbers(rows, header.index(column), path.name, column)


def _numbers(rows, place, name, column):
    values = []
    for line, row in rows[1:]:
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
