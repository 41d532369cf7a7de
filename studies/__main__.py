"""``python -m studies [NAME ...]``: train, print the tables, and write them with their pictures."""

from __future__ import annotations

import os
import sys

# Before JAX loads its BLAS: small SVDs are many times slower on several threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import datetime
import time
from importlib import import_module
from pathlib import Path

from benchmarks.harness import environment

NAMES = ("adding", "catalogue", "real_tasks")


def main(names: list[str]) -> int:
    """Exit code 0, 1 if a bar is broken, or 2 for a name that does not exist."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"studies: {', '.join(unknown)} unknown; expected some of {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    broken = 0
    for name in names or NAMES:
        module = import_module(f"studies.{name}")
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        where, began = environment(), time.perf_counter()
        text, bars, figure = module.run()
        took = time.perf_counter() - began
        picture = f"{date}-{name}.png"
        figure.savefig(results / picture, dpi=80)
        page = "\n\n".join(
            [
                f"# {module.TITLE}",
                f"{where}\n\nMade by `python -m studies {name}` in {took:.0f} s.",
                module.__doc__.strip(),
                f"![{module.TITLE}]({picture})",
                text,
                "Bars that are broken: " + ("; ".join(bars) or "none."),
            ]
        )
        (results / f"{date}-{name}.md").write_text(page + "\n", encoding="utf-8")
        print(page, flush=True)
        broken += len(bars)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
