"""The part of the page that answers: every pair's spectrum at the pointer, at several training steps."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from jaxrnn.plots.style import to_log10
from jaxrnn.report.study import Study

__all__ = ["explorer", "part"]

_POINTS = 400
# Of a loss curve: more than a screen shows.


def part(name: str) -> str:
    """The text of a file that lies beside this one."""
    return files("jaxrnn.report").joinpath(name).read_text(encoding="utf-8")


def explorer(studies: Sequence[Study]) -> str:
    """A section of HTML with its numbers and its program; nothing if the studies have no snapshots."""
    if not all(study.snapshots for study in studies):
        return ""
    networks = "".join(
        f'<label><input type="radio" name="network" value="{i}"{" checked" * (i == 0)}> '
        f"{html.escape(study.cell)}</label>"
        for i, study in enumerate(studies)
    )
    # A "<" could end the script that holds the numbers.
    numbers = json.dumps([_numbers(study) for study in studies], allow_nan=False).replace("<", "\\u003c")
    return (
        part("explorer.html").replace("NETWORKS", networks)
        + f'<script type="application/json" id="numbers">{numbers}</script>'
        + f"<script>{part('explorer.js')}</script>"
    )


def _numbers(study):
    """What explorer.js reads; the tables are little-endian bytes in base64, pairs k <= t row by row."""
    found = study.snapshots
    log_sigma, log_error, certified = found.spectra
    t, k = np.tril_indices(len(found.times))
    decades, error = (np.asarray(to_log10(table[:, t, k])) for table in (log_sigma, log_error))
    with np.errstate(invalid="ignore"):  # of a zero or NaN norm nothing else is known
        below = np.round(1000 * (decades[..., :1] - decades[..., 1:]))
    known = certified[:, t, k, 1:] & (below < 2**15)
    return {
        "name": study.cell,
        "steps": found.steps.tolist(),
        "times": found.times.tolist(),
        "ranks": found.ranks.tolist(),
        "norm": _bytes(decades[..., 0], "<f4"),
        "error": _bytes(error[..., 0], "<f4"),
        "certified": _bytes(certified[:, t, k, 0], "u1"),
        "below": _bytes(np.where(known, below, -1), "<i2"),
        "loss": _losses(study.comparison),
    }


def _bytes(array, dtype):
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()


def _losses(comparison):
    """window -> [steps, medians over the seeds]."""
    if comparison is None:
        return {}
    curves = {}
    for label, result in zip(comparison.labels, comparison.results, strict=True):
        loss = np.median(result.history.loss, axis=0)
        shown = np.unique(np.linspace(0, len(loss) - 1, min(len(loss), _POINTS)).round().astype(int))
        values = [float(f"{value:.5g}") if np.isfinite(value) else None for value in loss[shown]]
        curves[label] = [(shown + 1).tolist(), values]
    return curves
