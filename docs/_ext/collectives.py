"""The collectives of a compiled program, for the tests and for `validation/scaling.py`."""

from __future__ import annotations

import re

__all__ = ["bytes_moved", "collectives"]

_SIZES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
}
_CALL = re.compile(
    r"= (?P<shapes>\(?[a-z0-9]+\[.*?) "
    r"(?P<name>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\("
)


def collectives(text: str) -> list[tuple[str, list[tuple[str, int]]]]:
    """(name, [(dtype, entries) of every result]) of each collective in the text of an HLO module."""
    found = []
    for line in text.splitlines():
        match = _CALL.search(re.sub(r"/\*.*?\*/", "", line))
        if match:
            shapes = re.findall(r"([a-z0-9]+)\[([\d,]*)\]", match["shapes"])
            found.append((match["name"], [(kind, _entries(dims)) for kind, dims in shapes]))
    return found


def bytes_moved(text: str, name: str | None = None) -> int:
    """Bytes of the results of all collectives, or of those of one name, each counted once."""
    return sum(
        _SIZES[kind] * entries
        for found, shapes in collectives(text)
        if name in (None, found)
        for kind, entries in shapes
    )


def _entries(dims):
    entries = 1
    for dim in dims.split(",") if dims else []:
        entries *= int(dim)
    return entries
