"""How results look: a few words for each field, in a terminal and in a notebook."""

from __future__ import annotations

import html
from typing import Any

import jax
import jax.core
import numpy as np

__all__ = ["as_html", "as_text"]

_WIDTH = 100
_LONGEST = 70


def as_text(self) -> str:
    """``repr`` of a result: shapes and ranges, not entries."""
    name, fields = type(self).__name__, [f"{field}={brief(value)}" for field, value in _fields(self)]
    line = f"{name}({', '.join(fields)})"
    return (
        line if len(line) <= _WIDTH else "\n".join([f"{name}(", *(f"    {field}," for field in fields), ")"])
    )


def as_html(self) -> str:
    """The same as a table, for a notebook."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(field)}</th>"
        f"<td style='text-align:left'>{html.escape(brief(value))}</td></tr>"
        for field, value in _fields(self)
    )
    in_words = "" if type(self).__str__ is object.__str__ else f"<pre>{html.escape(str(self))}</pre>"
    return f"{in_words}<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"


def _fields(self):
    return zip(self._fields, self, strict=True)


def brief(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _array(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}(...)"
    if isinstance(value, tuple | list | dict) and (_holds_arrays(value) or len(repr(value)) > _LONGEST):
        inside = f": {', '.join(map(str, value))}" if isinstance(value, dict) else ""
        return _cut(f"{type(value).__name__} of {len(value)}{inside}")
    return _cut(repr(value))


def _holds_arrays(tree):
    return any(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(tree))


def _cut(text):
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _array(value):
    kind = f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    is_bool, is_number = (jax.dtypes.issubdtype(value.dtype, of) for of in (np.bool_, np.number))
    if isinstance(value, jax.core.Tracer) or not value.size or not (is_bool or is_number):
        return kind
    array = np.asarray(value)
    if is_bool:
        return str(array.item()) if array.size == 1 else f"{kind}, {100 * array.mean():.0f} % true"
    if array.size == 1:
        return f"{array.item():.6g}"
    if jax.dtypes.issubdtype(value.dtype, np.complexfloating):
        kind, array = f"{kind}, moduli", np.abs(array)
    array = array.astype(np.float64)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return f"{kind}, none finite"
    rest = f", {array.size - finite.size} not finite" if finite.size < array.size else ""
    return f"{kind}, {finite.min():.4g} to {finite.max():.4g}{rest}"
