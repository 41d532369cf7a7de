"""The oldest version of each direct dependency that pyproject.toml allows, as constraints.

    python tools/lowest.py test > lowest.txt
    pip install -c lowest.txt -e '.[test]'

What the dependencies need themselves is left to the resolver ("lowest-direct").
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_REQUIREMENT = re.compile(r"([\w.-]+)>=([\w.]+)$")


def lowest(extras: list[str]) -> list[str]:
    """``name==version`` for the library's dependencies and those of its extras."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    requirements = list(project["dependencies"])
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    found = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if not match:
            raise SystemExit(
                f"tools/lowest.py: {requirement!r} names no oldest version; expected name>=version."
            )
        found[match[1]] = match[2]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:])))
