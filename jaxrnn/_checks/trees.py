"""Shapes and dtypes of arrays and of trees of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn._checks.values import array, real

__all__ = [
    "array_leaves",
    "floating_leaves",
    "leading_axis",
    "parameters",
    "paths",
    "shape",
]


def paths(tree):
    return [
        (jax.tree_util.keystr(path) or "(the state)", leaf) for path, leaf in jax.tree.leaves_with_path(tree)
    ]


def array_leaves(function: str, argument: str, tree) -> None:
    """TypeError unless all leaves of the tree are arrays or numbers."""
    for path, leaf in paths(tree):
        array(function, f"{argument} leaf {path}", leaf)


def floating_leaves(function: str, argument: str, tree, remedy: str) -> None:
    """TypeError unless the tree holds floating arrays only."""
    for path, leaf in paths(tree):
        _, dtype = array(function, f"{argument} leaf {path}", leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{function}: {argument} leaf {path} has dtype {dtype}; expected floating arrays only. "
                f"{remedy}"
            )


def leading_axis(function: str, argument: str, tree, axis: int = 0) -> int | None:
    """The length of `axis` that all leaves share; None without leaves."""
    sizes = {}
    for path, leaf in paths(tree):
        found, _ = array(function, f"{argument} leaf {path}", leaf)
        if len(found) <= axis:
            raise ValueError(
                f"{function}: {argument} leaf {path} has shape {found}; "
                f"expected at least {axis + 1} axes ({'[B, T, ...]' if axis else 'leading axis first'})."
            )
        sizes[path] = found[axis]
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"{function}: the leaves of {argument} disagree on axis {axis}: {sizes}; expected one length."
        )
    return next(iter(sizes.values()), None)


def same_kind(function: str, argument: str, tree, name: str, other) -> None:
    """ValueError unless both have the same structure, shapes and dtypes; `name` is that of the other."""
    kinds = [
        jax.tree.map(lambda leaf: f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}", each)
        for each in (tree, other)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(f"{function}: {argument} is {kinds[0]}; expected {kinds[1]}, as in {name}.")


def shape(function: str, argument: str, value, expected: tuple[int, ...], remedy: str) -> None:
    """ValueError unless it is an array of exactly this shape; TypeError unless it is one, of real numbers."""
    found, dtype = array(function, argument, value, f"an array {expected}")
    if found != expected:
        raise ValueError(f"{function}: {argument} has shape {found}; expected {expected}. {remedy}")
    if not real(dtype):
        raise TypeError(f"{function}: {argument} has dtype {dtype}; expected real numbers. {remedy}")


def parameters(function: str, params, expected: dict[str, tuple[int, ...]]) -> None:
    """Raise unless `params` is a dict with at least these leaves in these shapes, all floating."""
    names = [name for name in expected if name in params] if isinstance(params, dict) else []
    found = {name: array(function, f"params[{name!r}]", params[name]) for name in names}
    if any(name not in found or found[name][0] != size for name, size in expected.items()):
        shapes = {name: shape for name, (shape, _) in found.items()}
        raise ValueError(
            f"{function}: params is {shapes if isinstance(params, dict) else type(params).__name__}; "
            f"expected {expected} at least, as the cell's init gives."
        )
    for name, (_, dtype) in found.items():
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"{function}: params[{name!r}] has dtype {dtype}; expected a floating dtype.")
