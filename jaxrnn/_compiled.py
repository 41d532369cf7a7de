"""Functions of one array that are compiled as a whole also where a user calls them without `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

import jax
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
        if isinstance(array, Tracer) or not all(map(_of_integers, (*args, *options.values()))):
            return fn(array, *args, **options)
        named = tuple((name, _hashable(value)) for name, value in options.items())
        return program(array, tuple(map(_hashable, args)), named)

    return run


def _of_integers(value):
    """Whether it is None, an int, or some of them; others may be equal to these, and no right option."""
    return all(item is None or type(item) is int for item in (value if _is_sequence(value) else [value]))


def _hashable(value):
    return tuple(value) if _is_sequence(value) else value


def _is_sequence(value):
    return isinstance(value, list | tuple | range)
