"""What a public function's annotations promise, held against its arguments when it is called.

So that every function answers a mistake in its own words: shapes and dtypes by its jaxtyping annotations,
keys, counts, functions, batches and trees by theirs. Nothing here runs when compiled code does.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import AbstractArray

from jaxrnn._checks import sequences, trees, values
from jaxrnn.types import Batch, Cell, Estimator, Trajectory

__all__ = ["signature"]

F = TypeVar("F", bound=Callable)

_DIFFERENTIATED = "Gradients are taken by all of them."
_TREES = {"Params", "State"}
_ONE_SEQUENCE = " Use jax.vmap over a batch."


def signature(function: str, *, gradient: bool = False, random: bool = False) -> Callable[[F], F]:
    """Decorator of a public function, whose name stands in front of all messages.

    What it makes answers for itself too: the `init` of a cell, the `estimate` of an estimator.

    Parameters
    ----------
    function : the name by which the user calls it.
    gradient : whether parameters are differentiated, so that they must be floating.
    random : whether the estimator that it makes needs a key.
    """

    def decorate(fn: F) -> F:
        bound = inspect.signature(fn)
        parameters = bound.parameters

        @functools.cache
        def rules():
            names = inspect.unwrap(fn).__globals__
            return {
                name: rule
                for name, parameter in parameters.items()
                if (rule := _rule(parameter, eval(parameter.annotation, names), gradient))
            }

        @functools.wraps(fn)
        def call(*args, **options):
            try:
                given = bound.bind(*args, **options)
            except TypeError:
                return fn(*args, **options)  # Python's own message: an argument is missing or unknown
            sizes: dict[str, int] = {}
            for name, rule in rules().items():
                if name in given.arguments:
                    given.arguments[name] = rule(function, name, given.arguments[name], sizes)
            return _answering(function, fn(*given.args, **given.kwargs), random)

        return typing.cast(F, call)

    return decorate


def _answering(function, made, random):
    """A Cell, Estimator or Task whose own functions refuse what they cannot take."""
    if isinstance(made, Cell):
        start_of = made.init_state

        def first_state(params):
            try:
                return start_of(params)
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                raise ValueError(f"{function}: params is not what init gives; got {params!r}.") from error

        return made._replace(init=_of_key(function, made.init), init_state=first_state)
    if hasattr(made, "held_out") and hasattr(made, "sample"):
        held_out, sample = (_of_key(function, draw) for draw in (made.held_out, made.sample))
        return made._replace(held_out=held_out, sample=sample)
    if isinstance(made, Estimator):
        estimate, start = made.estimate, made.init

        def checked_start(params, h_0=None):
            trees.floating_leaves(function, "params", params, _DIFFERENTIATED)
            trees.floating_leaves(function, "h_0", h_0, "They are states [B, ...].")
            return start(jax.tree.map(jnp.asarray, params), h_0)

        def checked_estimate(params, carry, batch, key):
            trees.floating_leaves(function, "params", params, _DIFFERENTIATED)
            sequences.batch_shape(function, batch)
            if random or key is not None:
                values.key(function, "key", key)
            return estimate(params, carry, batch, key)

        return made._replace(init=checked_start, estimate=checked_estimate)
    return made


def _of_key(function, draw):
    """A function of one random key."""

    @functools.wraps(draw)
    def checked(key):
        return draw(values.key(function, "key", key))

    return checked


def _rule(parameter, hint, gradient):
    """``(function, argument, value, sizes) -> value``, or None where an annotation says too little."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        return _each(_of_kind(hint))
    text = parameter.annotation
    parts = [part.strip() for part in text.split(" | ")]
    optional = "None" in parts
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = [option for option in (typing.get_args(hint) if union else [hint]) if option is not type(None)]
    if set(parts) - {"None"} <= _TREES:
        rule = _tree_rule(gradient)
    elif "Key" in parts:
        rule = _key
    elif "PyTree" in parts:
        rule = _tree_rule(False)
    else:
        arrays = [option for option in options if _is_array(option)]
        one = _path if set(options) == {str, Path} else _of_kind(options[0]) if len(options) == 1 else None
        rule = _array_rule(arrays[0]) if arrays else one
    if rule is None:
        return None

    def maybe(function, name, value, sizes):
        return value if value is None and optional else rule(function, name, value, sizes)

    return maybe


def _each(rule):
    """A rule of all that is given for ``*cells``."""
    if rule is None:
        return None
    return lambda function, name, given, sizes: tuple(rule(function, name, value, sizes) for value in given)


def _of_kind(hint):
    """The rule of a class or a function type; a normalisation or activation is named by the cell itself."""
    if typing.get_origin(hint) is Callable or hint is Callable:
        return _function
    if typing.get_origin(hint) in (dict, Mapping):
        return _mapping_rule(_of_kind(typing.get_args(hint)[1]))
    if hint in (Batch, Cell, Estimator, Mesh, Trajectory) or (
        inspect.isclass(hint)
        and issubclass(hint, tuple)
        and hasattr(hint, "_fields")
        and "__call__" not in vars(hint)
    ):
        return lambda function, name, value, _: values.instance(function, name, value, hint)
    return {int: _integer, float: _number, str: _string}.get(hint)


def _mapping_rule(of_value):
    """The rule of a dict, and of each of its values; of functions, their reader says how they are called."""

    def rule(function, name, value, sizes):
        found = values.mapping(function, name, value)
        for key, entry in found.items() if of_value not in (None, _function) else ():
            of_value(function, f"{name}[{key!r}]", entry, sizes)
        return value

    return rule


def _path(function, name, value, sizes):
    del sizes
    return values.path(function, name, value)


def _function(function, name, value, sizes):
    del sizes
    if not callable(value):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}; expected a function.")
    return value


def _integer(function, name, value, sizes):
    del sizes
    return values.integer(function, name, value)


def _number(function, name, value, sizes):
    del sizes
    return values.number(function, name, value)


def _string(function, name, value, sizes):
    del sizes
    if not isinstance(value, str):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}; expected a string.")
    return value


def _key(function, name, value, sizes):
    del sizes
    return values.key(function, name, value)


def _tree_rule(floating):
    def rule(function, name, value, sizes):
        del sizes
        trees.array_leaves(function, name, value)
        if floating:
            trees.floating_leaves(function, name, value, _DIFFERENTIATED)
        return value

    return rule


def _is_array(option):
    return inspect.isclass(option) and issubclass(option, AbstractArray)


def _array_rule(annotation):
    host = annotation.array_type is np.ndarray
    dims, kinds = annotation.dim_str.split(), annotation.dtypes
    expected = f"[{', '.join(dims)}]" if dims else "a scalar"
    what = annotation.__name__.partition("[")[0].lower()
    what = {"float": "a floating dtype", "int": "integers", "bool": "booleans"}.get(what, "numbers")

    def rule(function, name, value, sizes):
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = values.numbers(function, name, value, expected)
        wanted = f"an array {expected}" if dims else expected
        shape, dtype = values.array(function, name, value, wanted, host=host)
        if not _fits(shape, dims, sizes):
            known = ", ".join(f"{dim} = {sizes[dim]}" for dim in dict.fromkeys(dims) if dim in sizes)
            remedy = _ONE_SEQUENCE if dims[:1] == ["T"] and len(shape) > len(dims) else ""
            raise ValueError(
                f"{function}: {name} has shape {shape}; expected {expected}"
                f"{f' with {known}' if known else ''}.{remedy}"
            )
        if dtype.name not in kinds and not (host and jnp.issubdtype(dtype, np.floating)):
            raise TypeError(f"{function}: {name} has dtype {dtype}; expected {what}.")
        return value

    return rule


def _fits(shape, dims, sizes):
    """Whether a shape has these dimensions; what they are called is kept in `sizes` if it has."""
    if any(dim.startswith(("*", "...")) for dim in dims):
        return True
    if len(shape) != len(dims):
        return False
    found = dict(sizes)
    if any(found.setdefault(dim, size) != size for dim, size in zip(dims, shape, strict=True)):
        return False
    sizes.update(found)
    return True
