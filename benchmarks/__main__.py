"""``python -m benchmarks [--quick] [NAME ...]``: run the benchmarks and print their tables.

All of them together, and not quick, are written to ``benchmarks/results/``.
"""

from __future__ import annotations

import os
import sys

# Before JAX loads its BLAS: small SVDs are many times slower on several threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import datetime
from importlib import import_module
from pathlib import Path

from benchmarks import harness

NAMES = (
    "training_gradient",
    "long_sequences",
    "estimators",
    "step_jacobians",
    "jacobian_products",
    "norms",
    "growth_rates",
    "leading_spectrum",
    "gemm_floor",
)


def main(names: list[str]) -> int:
    """Exit code 0, or 2 for a name that does not exist."""
    harness.QUICK = "--quick" in names
    names = [name for name in names if name != "--quick"]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(
            f"benchmarks: {', '.join(unknown)} unknown; expected some of {', '.join(NAMES)}.", file=sys.stderr
        )
        return 2
    where = harness.environment()
    complete = not (names or harness.QUICK)
    run = f"{datetime.datetime.now(datetime.UTC).date().isoformat()}-{harness.machine()}"
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    parts = [
        f"# Results\n\n{where}\n\nMade by `python -m benchmarks`. Ratios are to the first row of a table."
    ]
    print(where)
    for name in names or NAMES:
        module = import_module(f"benchmarks.{name}")
        summary = module.__doc__.partition("\n")[0]
        report = module.run()
        if complete:
            picture = f"{run}-{name}.png"
            report.picture(results / picture)
            summary += f"\n\n![Wall times over that of the first row]({picture})"
        command = f"`python -m benchmarks {name}`"
        parts.append(f"## {module.TITLE}\n\n{summary}\n\n{command}\n\n{report.markdown()}")
        print(f"\n{parts[-1]}", flush=True)
    if complete:
        path = results / f"{run}.md"
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        print(f"\nWritten to {path}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
