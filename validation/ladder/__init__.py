"""Four tiers of reference: exact answers, identities, independent implementations, published results."""

from __future__ import annotations

from importlib import import_module

import jax

from validation.harness import table
from validation.ladder.row import Row, rows_of

TITLE = "The ladder"
TIERS = {
    "exact": "Tier 1: exact answers",
    "identities": "Tier 2: invariants and identities",
    "independent": "Tier 3: independent implementations",
    "published": "Tier 4: published results",
}


def run() -> tuple[str, list[str]]:
    """A table a tier, and the rows that do not hold."""
    tables, broken = [], []
    for name, tier in TIERS.items():
        rows = []
        # Here, since the tests of `row` need no torch.
        for check in import_module(f"validation.ladder.{name}").CHECKS:
            rows += rows_of(check)
            # Hundreds of small programs, none of which is needed twice.
            jax.clear_caches()
        tables.append(f"### {tier}\n\n{_table(rows)}")
        broken += [f"{row.claim}: {row.measured}; expected {row.expected}" for row in rows if not row.held]
    return "\n\n".join(tables), broken


def _table(rows: list[Row]) -> str:
    cells = [(*row[:-1], "yes" if row.held else "**no**") for row in rows]
    return table(("claim", "reference", "expected", "measured", "held"), cells)
