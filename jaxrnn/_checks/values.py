"""What one argument is: a number, a count, an option, a key, an array; and what is raised if it is not."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

__all__ = [
    "NumericalError",
    "array",
    "at_least",
    "choice",
    "file",
    "fraction",
    "installed",
    "instance",
    "integer",
    "iterated",
    "key",
    "listed",
    "mapping",
    "number",
    "numbers",
    "path",
    "real",
]


class NumericalError(ArithmeticError):
    """A result is not finite or not certified, found by `.raise_if_bad()`."""


@contextmanager
def installed(function: str, package: str, extra: str):
    """Imports within say what to install when the package of that extra is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{function} needs {package}: pip install 'jaxrnn[{extra}]'.") from error


def choice(function: str, argument: str, value, allowed) -> None:
    """ValueError unless `value` is one of the options."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{function}: {argument} is {value!r}; expected one of {', '.join(map(repr, sorted(allowed)))}."
        )


def integer(function: str, argument: str, value) -> int:
    """`value` as an int; TypeError unless it is a Python integer."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(
            f"{function}: {argument} must be a Python integer, known when tracing; got {value!r}."
        ) from error


def at_least(function: str, argument: str, value, minimum: int) -> int:
    """`value` as an int; TypeError unless it is a Python integer, ValueError if it is too small."""
    number = integer(function, argument, value)
    if number < minimum:
        raise ValueError(f"{function}: {argument} is {number}; expected at least {minimum}.")
    return number


def number(function: str, argument: str, value) -> float:
    """`value` as a Python number; TypeError unless it is real and known now, ValueError for NaN."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and not isinstance(value, jax.core.Tracer):
        plain = not value.shape and not jnp.issubdtype(value.dtype, jax.dtypes.extended)
        value = np.asarray(value).item() if plain else value
    if not isinstance(value, bool | int | float):
        raise TypeError(f"{function}: {argument} must be a real number, known when tracing; got {value!r}.")
    if value != value:
        raise ValueError(f"{function}: {argument} is {value}; expected a number.")
    return value


def fraction(function: str, argument: str, value, *, below_1: bool = False) -> float:
    """`value` as a float; ValueError unless it lies in 0..1, or in 0 <= value < 1."""
    value = float(number(function, argument, value))
    if not 0 <= value <= 1 or (below_1 and value == 1):
        upper = f"{'<' if below_1 else '<='} 1"
        raise ValueError(f"{function}: {argument} is {value}; expected 0 <= {argument} {upper}.")
    return value


def numbers(function: str, argument: str, values, expected: str) -> np.ndarray:
    """Real numbers in any form as an array; TypeError for what has no regular shape or is no number."""
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, jax.errors.JAXTypeError) as error:
        raise TypeError(
            f"{function}: {argument} is a {type(values).__name__} that makes no array; expected {expected}."
        ) from error
    if not real(found.dtype):
        raise TypeError(f"{function}: {argument} is of {found.dtype}; expected {expected}, in real numbers.")
    return found


def listed(function: str, argument: str, values, expected: str) -> tuple:
    """A tuple of the values; TypeError unless they are a list, a tuple or another sequence, and no string."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise TypeError(f"{function}: {argument} is {values!r}; expected {expected}.")
    return tuple(values)


def path(function: str, argument: str, value) -> Path:
    """`value` as a Path; TypeError unless it is one or a string."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise TypeError(f"{function}: {argument} is {value!r}; expected a path.")
    return Path(value)


def file(function: str, argument: str, value) -> Path:
    """`value` as the Path of a file or pipe; FileNotFoundError or IsADirectoryError unless there is one."""
    found = path(function, argument, value)
    if found.is_dir():
        raise IsADirectoryError(f"{function}: {str(found)!r} is a folder; expected a file.")
    if not found.exists():
        raise FileNotFoundError(f"{function}: there is no file {str(found)!r}.")
    return found


def mapping(function: str, argument: str, value) -> Mapping:
    """`value` itself; TypeError unless it is a dict or another mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{function}: {argument} is a {type(value).__name__}; expected a dict.")
    return value


def iterated(function: str, argument: str, values, expected: str) -> Iterator:
    """An iterator over the values; TypeError for a string and an array without axes, too."""
    try:
        found = None if isinstance(values, str | bytes) else iter(values)
    except TypeError:  # of an array without axes
        found = None
    if found is None:
        raise TypeError(f"{function}: {argument} is a {type(values).__name__}; expected {expected}.")
    return found


def instance(function: str, argument: str, value, kind: type):
    """`value` itself; TypeError unless it is of that type."""
    if not isinstance(value, kind):
        fields = ", ".join(getattr(kind, "_fields", ()))
        raise TypeError(
            f"{function}: {argument} is a {type(value).__name__}; expected a {kind.__name__}({fields})."
        )
    return value


def key(function: str, argument: str, value):
    """`value` itself; TypeError or ValueError unless it is one random key, of either kind that JAX has."""
    dtype, found = getattr(value, "dtype", None), getattr(value, "shape", None)
    if not isinstance(found, tuple):
        dtype = None
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and dtype != np.uint32:
        got = type(value).__name__ if dtype is None else f"{dtype}{list(found or ())}"
        raise TypeError(f"{function}: {argument} is {got}; expected a random key such as jax.random.key(0).")
    expected = () if typed else jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape
    if found != expected:
        raise ValueError(
            f"{function}: {argument} has shape {found}; expected one random key such as jax.random.key(0). "
            "Use jax.vmap over several."
        )
    return value


def array(
    function: str, argument: str, value, expected: str = "an array", *, host: bool = False
) -> tuple[tuple[int, ...], Any]:
    """(shape, dtype) of an array or a number; TypeError for anything else, which JAX would not take.

    `host` says that NumPy computes, which has long doubles.
    """
    if isinstance(value, bool | int | float | complex):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise TypeError(f"{function}: {argument} is {value}, which no array holds; expected {expected}.")
        return (), jnp.dtype(jnp.result_type(value))
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if not isinstance(shape, tuple) or _of_no_array(dtype, host):
        got = f"{type(value).__name__} of {dtype}" if isinstance(dtype, np.dtype) else type(value).__name__
        raise TypeError(f"{function}: {argument} is a {got}; expected {expected}.")
    return shape, dtype


def _of_no_array(dtype, host):
    """Whether JAX has no arrays of that dtype: objects, text, dates, long doubles, another byte order."""
    if isinstance(dtype, np.dtype):
        wide = not host and dtype.itemsize > {"f": 8, "c": 16}.get(dtype.kind, dtype.itemsize)
        return dtype.kind in "OSUMm" or wide or not dtype.isnative
    return not (dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended))


def real(dtype) -> bool:
    """Whether arrays of that dtype hold real numbers: no complex ones and no keys."""
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
