"""The packages of ``jaxrnn[tasks]``, which are imported by the task that needs them and not before."""

from __future__ import annotations

from contextlib import contextmanager

__all__ = ["extra"]


@contextmanager
def extra(function: str, package: str):
    """Imports within say what to install when the package is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{function} needs {package}: pip install 'jaxrnn[tasks]'.") from error
