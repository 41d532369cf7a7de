"""Results for other libraries: plain dictionaries, pandas and xarray."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = ["to_dict", "to_pandas", "to_xarray"]


class _Table(NamedTuple):
    """An array of a result, under its path, with a name for every axis."""

    name: str
    axes: tuple[str, ...]
    values: np.ndarray


def to_dict(self) -> dict[str, Any]:
    """Field -> value, results inside too; arrays are NumPy's. Anything else stays as it is."""

    def plain(node):
        if isinstance(node, tuple) and hasattr(node, "_fields"):
            return {name: plain(child) for name, child in zip(node._fields, node, strict=True)}
        if isinstance(node, dict):
            return {name: plain(child) for name, child in node.items()}
        if isinstance(node, tuple | list):
            return type(node)(map(plain, node))
        return np.asarray(node) if isinstance(node, jax.Array) else node

    return plain(self)


def to_xarray(self):
    """An `xarray.Dataset`: every array under its path, such as ``norms.log_norm``, with its axes' names.

    The axes are named as the field's annotation names them; the axis of a batch is ``B``, several are ``B0``,
    ``B1`` and so on. Where one name would stand for two lengths, the later axis is named after its array.
    Strings and numbers are the attributes.

    Raises
    ------
    ImportError
        Without xarray.
    """
    import xarray

    tables = _tables(self)
    return xarray.Dataset({t.name: (t.axes, t.values) for t in tables}, attrs=_facts(self))


def to_pandas(self):
    """A `pandas.DataFrame`: the ``rows()`` of a result that has them, or an entry of its first table a row.

    Such a row stands under its place on the table's axes, and has a column for every array of the same axes.
    Strings and numbers are in ``attrs``. For another table of a result, call `to_pandas` of that field.

    Raises
    ------
    ImportError
        Without pandas.
    TypeError
        If the result has neither rows nor an array with an axis.
    """
    import pandas

    if hasattr(self, "rows"):
        return pandas.DataFrame(self.rows())
    tables = [table for table in _tables(self) if table.axes]
    if not tables:
        raise TypeError(f"{type(self).__name__}.to_pandas: it holds no array with an axis; use to_dict.")
    axes, shape = tables[0].axes, tables[0].values.shape
    index = pandas.MultiIndex.from_product([range(size) for size in shape], names=axes)
    columns = {table.name: table.values.ravel() for table in tables if table.axes == axes}
    frame = pandas.DataFrame(columns, index=index if len(axes) > 1 else index.get_level_values(0))
    frame.attrs = _facts(self)
    return frame


def _tables(result) -> list[_Table]:
    """Every array of a result, with one length for every name of an axis."""
    lengths: dict[str, int] = {}
    found = []
    for name, axes, values in _arrays(result, ""):
        axes = tuple(
            axis if lengths.setdefault(axis, size) == size else f"{name}.{axis}"
            for axis, size in zip(axes, values.shape, strict=True)
        )
        found.append(_Table(name, axes, values))
    return found


def _arrays(node, path, annotation="") -> Iterator[_Table]:
    """The arrays below a node: those of results by their annotations, others by the number of the axis."""
    inside = f"{path}." if path else ""
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        annotations = type(node).__annotations__
        for name, child in zip(node._fields, node, strict=True):
            yield from _arrays(child, f"{inside}{name}", str(annotations.get(name, "")))
    elif isinstance(node, dict | list | tuple):
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _arrays(child, f"{inside}{name}")
    elif isinstance(node, jax.Array | np.ndarray):
        values = np.asarray(node)
        yield _Table(path, _axes(annotation, path, values.ndim), values)


def _axes(annotation, path, ndim):
    """The names in ``Float[Array, "*B A K"]``, of as many axes as there are."""
    found = re.search(r"""\[.*,\s*["'](.*)["']\]""", annotation)
    names = found[1].split() if found else []
    if names and names[0].startswith("*"):
        batch, names = names[0][1:], names[1:]
        extra = ndim - len(names)
        names = ([batch] if extra == 1 else [f"{batch}{i}" for i in range(extra)]) + names
    if len(names) != ndim or len(set(names)) != ndim:
        names = [f"{path}.{i}" for i in range(ndim)]
    return tuple(names)


def _facts(result):
    facts = zip(result._fields, result, strict=True)
    return {name: value for name, value in facts if isinstance(value, str | int | float)}
