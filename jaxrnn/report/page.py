"""The report as one HTML file that needs nothing else, and its table as text and CSV."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence

from jaxrnn.report.explorer import explorer, part
from jaxrnn.report.figures import Picture
from jaxrnn.report.study import Study

__all__ = ["csv_table", "page", "text_tables"]

_WINDOW_COLUMNS = {
    "cell": "cell",
    "estimator": "window K",
    "final_loss": "training loss",
    "held_out_loss": "held-out loss",
    "held_out_spread": "± over seeds",
    "cosine": "cosine to exact",
    "relative_error": "relative error",
    "seconds_per_step": "s per step",
    "memory_bytes": "memory (kB)",
}
_VERDICT_COLUMNS = {
    "cell": "cell",
    "verdict": "verdict",
    "growth_rate": "growth (nats/step)",
    "growth_rate_error": "± std. error",
    "log10_norm_at_longest_lag": "log10 norm at lag T",
    "horizon": "99 % horizon",
    "lambda": "λ",
    "gamma": "γ",
    "saturated": "saturated",
}

_NOTHING_ELSE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The browser itself holds the page to needing nothing else."""


def page(title: str, studies: Sequence[Study], pictures: Sequence[Picture], facts: dict[str, str]) -> str:
    """The whole report; pictures are inside, and no other file or address is referred to."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += ["<h2>In short</h2>", *(_summary(s) for s in studies), *_advice(studies), "<h2>In numbers</h2>"]
    parts += [_html_table(header, rows) for header, rows in _tables(studies)]
    parts.append(explorer(studies))
    for picture in pictures:
        data = base64.b64encode(picture.png).decode()
        parts.append(
            f"<h2>{html.escape(picture.title)}</h2><figure>"
            f'<img alt="{html.escape(picture.title)} {html.escape(picture.caption)}" '
            f'src="data:image/png;base64,{data}"><figcaption>{html.escape(picture.caption)}</figcaption></figure>'
        )
    items = "<br>".join(f"{html.escape(name)}: {html.escape(value)}" for name, value in facts.items())
    parts.append(f"<footer>{items}</footer>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_ELSE}">'
        f"<title>{html.escape(title)}</title><style>{part('page.css')}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def text_tables(studies: Sequence[Study]) -> str:
    """The tables for a terminal."""
    blocks = []
    for header, rows in _tables(studies):
        lines = [header, *rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [value.rjust(width) for value, width in zip(line[1:], widths[1:], strict=True)]
            blocks.append("  ".join(cells).rstrip())
        blocks.append("")
    return "\n".join(blocks)


def csv_table(studies: Sequence[Study]) -> str:
    """Every row with every column, numbers in full."""
    columns = {**_WINDOW_COLUMNS, **_VERDICT_COLUMNS}
    rows = [row for s in studies for row in s.rows()]
    present = [name for name in columns if any(name in row for row in rows)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, present, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _tables(studies):
    """(header, rows of strings), for the verdicts and for the windows."""
    rows = [row for s in studies for row in s.rows()]
    if studies[0].diagnosis:
        verdicts = [row for row in rows if "verdict" in row]
        yield (
            list(_VERDICT_COLUMNS.values()),
            [[_show(k, row[k]) for k in _VERDICT_COLUMNS] for row in verdicts],
        )
    if studies[0].comparison:
        yield list(_WINDOW_COLUMNS.values()), [[_show(k, row[k]) for k in _WINDOW_COLUMNS] for row in rows]


def _show(column, value):
    if value == "":
        return "–"
    if isinstance(value, str | int) and column != "memory_bytes":
        return str(value)
    if column == "memory_bytes":
        return f"{value / 1000:.0f}"
    if column == "saturated":
        return f"{value:.1%}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _summary(study):
    """A paragraph: the verdict, the reach, and what each window loses."""
    sentences = []
    if study.diagnosis:
        sentences.append(f"{study.diagnosis.verdict}: {study.diagnosis.reason}")
        if study.diagnosis.horizon is not None:
            sentences.append(f"99 % of the gradient's norm lies within lag {study.diagnosis.horizon}.")
    if study.comparison and len(study.comparison.labels) > 1:
        *truncated, exact = study.comparison.rows()
        windows = ", ".join(row["estimator"] for row in truncated)
        changes = ", ".join(f"{row['held_out_loss'] - exact['held_out_loss']:+.3f}" for row in truncated)
        sentences.append(
            f"Against full BPTT, chunks of {windows} steps change the held-out loss by {changes}."
        )
    return f"<p><strong>{html.escape(study.cell)}</strong> — {html.escape(' '.join(sentences))}</p>"


def _advice(studies):
    """The notes' advice, once a verdict."""
    advice = {s.diagnosis.verdict: s.diagnosis.advice for s in studies if s.diagnosis}
    for verdict, lines in advice.items():
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        yield f"<p>What the notes advise if the verdict is {html.escape(verdict)}:</p><ul>{items}</ul>"


def _html_table(header, rows):
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
