"""``python -m validation [NAME ...]``: run the campaigns; each writes its part of docs/validation.md."""

from __future__ import annotations

import os
import sys

# Before JAX and NumPy load their BLAS: small matrices are many times slower on several threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import datetime
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import jax

from validation.harness import environment

# In the order of the page, which includes the part of each: validation/results/NAME.md.
NAMES = (
    "ladder",
    "closed_forms",
    "adversarial",
    "networks",
    "mean_field",
    "fixed_points",
    "bad_input",
    "scaling",
    "distributed",
    "killed",
    "stream",
)
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "validation" / "results"


def main(names: list[str]) -> int:
    """Exit code 0, 1 if a bar is broken, or 2 for a name that does not exist."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(
            f"validation: {', '.join(unknown)} unknown; expected some of {', '.join(NAMES)}.", file=sys.stderr
        )
        return 2
    jax.config.update("jax_enable_x64", True)
    all_broken = []
    for name in names or NAMES:
        module = import_module(f"validation.{name}")
        began = time.perf_counter()
        tables, broken = module.run()
        text = part(module, time.perf_counter() - began, tables, broken)
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
        all_broken += [f"{name}: {bar}" for bar in broken]
        print(f"{module.TITLE}\n\n{text}", flush=True)
    print("\n".join(["Bars that are broken:", *(f"- {bar}" for bar in all_broken or ["none"])]))
    return 1 if all_broken else 0


def part(module: ModuleType, seconds: float, tables: str, broken: list[str]) -> str:
    """What a campaign found, and when, with what and where."""
    summary, file = module.__doc__.partition("\n")[0], Path(module.__file__).resolve().relative_to(ROOT)
    source = f"{file.parent}/" if file.name == "__init__.py" else file
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    measured = f"Measured {date} in {seconds:.0f} s: {environment()}."
    bars = (
        "\n".join(["Broken bars:", "", *(f"- {bar}" for bar in broken)]) if broken else "Broken bars: none."
    )
    return f"{summary} (`{source}`)\n\n{measured}\n\n{tables}\n\n{bars}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
