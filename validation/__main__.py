"""``python -m validation [NAME ...]``: run the campaigns, print the tables and, if all ran, write them."""

from __future__ import annotations

import os
import sys

# Before JAX and NumPy load their BLAS: small matrices are many times slower on several threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import datetime
import time
from importlib import import_module
from pathlib import Path

import jax

from validation.harness import environment

NAMES = ("closed_forms", "adversarial", "networks", "mean_field", "scaling", "distributed")


def main(names: list[str]) -> int:
    """Exit code 0, 1 if a bar is broken, or 2 for a name that does not exist."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(
            f"validation: {', '.join(unknown)} unknown; expected some of {', '.join(NAMES)}.", file=sys.stderr
        )
        return 2
    jax.config.update("jax_enable_x64", True)
    parts, broken = [], []
    for name in names or NAMES:
        module = import_module(f"validation.{name}")
        began = time.perf_counter()
        tables, own = module.run()
        broken += [f"{name}: {bar}" for bar in own]
        summary = module.__doc__.partition("\n")[0]
        took = f"{time.perf_counter() - began:.0f} s"
        parts.append(f"## {module.TITLE}\n\n{summary} (`validation/{name}.py`, {took})\n\n{tables}")
        print(f"{parts[-1]}\n", flush=True)
    bars = "\n".join(f"- {bar}" for bar in broken) or "None."
    parts.insert(0, f"# Validation\n\n{environment()}\n\nMade by `python -m validation`.")
    parts.append(f"## Bars that are broken\n\n{bars}")
    print(parts[-1])
    if not names:
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        path = Path(__file__).parent / "results" / f"{date}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        print(f"\nWritten to {path.relative_to(Path(__file__).parents[1])}.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
