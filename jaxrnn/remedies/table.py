"""A bench in words: a table, and what each remedy changed."""

from __future__ import annotations

import numpy as np

from jaxrnn.remedies.catalogue import MAX_NORM

__all__ = ["table", "verdict"]

_COLUMNS = (
    "remedy",
    "held-out loss",
    "solved",
    "growth rate, nats per step",
    "ln ‖∂h_T/∂h_0‖ before",
    "after training",
    "99 % horizon",
    f"gradient norm > {MAX_NORM:g}",
    "time a step",
)


def table(bench) -> str:
    """Markdown: medians over the seeds, with the lowest and highest where they differ."""
    base = bench.outcomes[0].seconds_per_step
    rows = [_COLUMNS, ["---"] * len(_COLUMNS)]
    for outcome in bench.outcomes:
        horizons = [np.nan if after is None else after for _, after in outcome.horizons]
        rows.append(
            [
                outcome.name,
                _spread(outcome.after.loss, ".4g"),
                f"{int(outcome.solved.sum())} of {len(outcome.solved)}",
                _spread(outcome.after.growth_rate, "+.3f"),
                _spread(outcome.before.log_norm[:, -1], "+.1f"),
                _spread(outcome.after.log_norm[:, -1], "+.1f"),
                _spread(horizons, ".0f"),
                _spread(100 * outcome.clipped, ".0f") + " %",
                f"{outcome.seconds_per_step / base:.2f}x",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def verdict(bench, outcome) -> str:
    """One line: what changed against the control, beyond the spread over the seeds or not."""
    control = bench.outcomes[0]
    lost = int(np.sum(~np.isfinite(outcome.after.loss)))
    if lost:
        return f"{outcome.name}: {lost} of {len(outcome.solved)} seeds diverged; their loss is not finite."
    parts = [
        _change(what, unit, find(control), find(outcome))
        for what, unit, find in (
            ("ln ‖∂h_T/∂h_0‖ at the start", "+.1f", lambda o: o.before.log_norm[:, -1]),
            ("after training", "+.1f", lambda o: o.after.log_norm[:, -1]),
            ("held-out loss", ".4g", lambda o: o.after.loss),
        )
    ]
    solved = f"solved by {int(outcome.solved.sum())} of {len(outcome.solved)} seeds"
    return f"{outcome.name}: {'; '.join(parts)}; {solved} (control: {int(control.solved.sum())})."


def _change(what, unit, control, found):
    if np.array_equal(control, found):
        return f"{what} unchanged"
    text = f"{what} {_spread(found, unit)} against {_spread(control, unit)}"
    apart = np.nanmin(found) > np.nanmax(control) or np.nanmax(found) < np.nanmin(control)
    return text if apart else f"{text}, within the spread of the seeds"


def _spread(values, unit) -> str:
    """The median, with the range in brackets if there is one."""
    values = np.asarray(values, float)
    low, middle, high = (format(v, unit) for v in np.quantile(values, [0, 0.5, 1], method="inverted_cdf"))
    return middle if low == high else f"{middle} [{low}, {high}]"
