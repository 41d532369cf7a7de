"""The Python blocks of a page, as a reader would paste them.

    python docs/_ext/pages.py docs/tutorial.md

runs a page in the working directory, where its pictures then lie.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

_ONE_PIECE = "--xla_cpu_parallel_codegen_split_count=1" + (
    " --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""
)
"""Compiles in less time: in one piece, and by the older emitters; after 0.10 XLA refuses the second flag."""

QUICK_XLA = f"--xla_backend_optimization_level=0 {_ONE_PIECE}"
"""XLA_FLAGS where nearly all of the time is compilation, as in tests."""

LIGHT_XLA = f"--xla_backend_optimization_level=1 {_ONE_PIECE}"
"""XLA_FLAGS where programs also run for a while."""

_BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.S | re.M)


class Block(NamedTuple):
    """One Python block, and the text block right behind it, which says what is printed."""

    code: str
    output: str
    line: int
    """Where the code begins, counted from 0."""


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2] or "", text.count("\n", 0, m.start(1))) for m in _BLOCK.finditer(text)]


def prose(page: Path) -> str:
    """A page without its blocks, inline code and the targets of links."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)


def execute(page: Path, block: Block, namespace: dict[str, Any]) -> None:
    """Run a block of a page; a traceback names the page and its line."""
    exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)


if __name__ == "__main__":
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(Path(sys.argv[1])):
        execute(Path(sys.argv[1]), block, namespace)
