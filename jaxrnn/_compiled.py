"""Functions of one array that are compiled as a whole also where a user calls them without `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

__all__ = ["compiled"]

Options = ParamSpec("Options")
Result = TypeVar("Result")


def compiled(
    fn: Callable[Concatenate[Array, Options], Result],
) -> Callable[Concatenate[Array, Options], Result]:
    """The function of an array as one program, compiled once for each shape and each choice of its options.

    Otherwise every operation of it is a program of its own, and every loop another one at every call. Of a
    traced array, within `jax.jit`, `jax.vmap` or `jax.grad`, it is the function itself.
    """

    @partial(jax.jit, static_argnums=(1, 2))
    def program(array, args, options):
        return fn(array, *args, **dict(options))

    @wraps(fn)
    def run(array: Array, *args: Options.args, **options: Options.kwargs) -> Result:
        named = ((name, _hashable(value)) for name, value in options.items())
        fixed = tuple(map(_hashable, args)), tuple(named)
        if isinstance(array, Tracer) or not _is_hashable(fixed):
            return fn(array, *args, **options)
        return program(array, *fixed)

    return run


def _hashable(value):
    """A sequence of indices as a tuple."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def _is_hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True
