"""What every result can do beside holding its arrays."""

from __future__ import annotations

from typing import TypeVar

from jaxrnn._display import as_html, as_text
from jaxrnn._export import to_dict, to_pandas, to_xarray
from jaxrnn.results import save

__all__ = ["result_type"]

T = TypeVar("T", bound=type)


def result_type(named_tuple: T) -> T:
    """Class decorator of a result, a NamedTuple: how it is shown, and its ways to other libraries.

    >>> from typing import NamedTuple
    >>> import numpy as np
    >>> @result_type
    ... class Found(NamedTuple):
    ...     label: str
    ...     values: np.ndarray
    >>> found = Found("all", np.arange(6.0).reshape(2, 3))
    >>> found
    Found(label='all', values=float64[2, 3], 0 to 5)
    >>> found.to_dict()["values"].sum()
    np.float64(15.0)
    """
    methods = {
        "__repr__": as_text,
        "_repr_html_": as_html,
        "save": _save,
        "to_dict": to_dict,
        "to_pandas": to_pandas,
        "to_xarray": to_xarray,
    }
    for name, method in methods.items():
        setattr(named_tuple, name, method)
    return named_tuple


def _save(self, path) -> None:
    """Write the result to one .npz file, which `jaxrnn.load` reads back."""
    save(path, self)
