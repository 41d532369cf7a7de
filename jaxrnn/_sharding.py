"""Sharded arrays: what their types say of where they lie, and functions that compute there.

On a mesh with Explicit axes, JAX's default, the type of an array says along which axes of the mesh it is
sharded, also while a function is traced. On one with Auto axes the compiler decides, and nothing here acts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
import numpy as np
from jax import lax
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import PyTree

__all__ = ["axes_of", "constrained", "explicit_mesh", "on_auto_axes", "place", "where_it_lies"]

Args = ParamSpec("Args")
Result = TypeVar("Result")


def explicit_mesh(tree: PyTree) -> AbstractMesh | None:
    """The mesh that the arrays of a tree lie on, if it has Explicit axes."""
    meshes = (jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array))
    return next((mesh for mesh in meshes if mesh.explicit_axes), None)


def axes_of(tree: PyTree, dimension: int) -> str | tuple[str, ...] | None:
    """Along which Explicit axes of a mesh this dimension of the arrays is sharded."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    specs = [jax.typeof(leaf).sharding.spec for leaf in arrays if leaf.ndim > dimension]
    return next((spec[dimension] for spec in specs if len(spec) > dimension and spec[dimension]), None)


def place(tree: PyTree, mesh: AbstractMesh, spec: Spec) -> PyTree:
    """The arrays, sharded so on Explicit axes."""
    wanted = NamedSharding(mesh, spec)

    def move(leaf):
        found = jax.typeof(leaf).sharding
        first, rest = found.spec[: len(spec)], found.spec[len(spec) :]
        # Under vmap, to move it where it is would gather the axis that is vmapped.
        there = found.mesh == mesh and tuple(first) == tuple(spec) and not any(rest)
        return leaf if there else jax.sharding.reshard(leaf, wanted)

    return jax.tree.map(move, tree)


def on_auto_axes(
    mesh: AbstractMesh | None, fn: Callable[..., Result], *arrays: PyTree, spec: PyTree | None = None
) -> Result:
    """``fn(*arrays)`` with the mesh's axes, if any, Auto, and the result sharded as `spec`, by default not.

    With Explicit axes JAX refuses what it cannot type: a scan whose carry starts as a constant, a gather by
    sharded indices, a reshape over a sharded axis.
    """
    if mesh is None:
        return fn(*arrays)
    out = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), Spec() if spec is None else spec, is_leaf=_is_spec
    )
    return jax.sharding.auto_axes(fn, out_sharding=out)(*arrays)


def constrained(tree: PyTree, *spec) -> PyTree:
    """The arrays, their dimensions sharded so along Auto axes."""
    return jax.tree.map(lambda leaf: lax.with_sharding_constraint(leaf, Spec(*spec)), tree)


def where_it_lies(fn: Callable[Args, Result]) -> Callable[Args, Result]:
    """The function for arrays on a mesh with Explicit axes, too: of one sequence, and under `jax.vmap`.

    An axis that is vmapped stays sharded as it is, and each device computes what it has.
    """

    @wraps(fn)
    def run(*args: Args.args, **options: Args.kwargs) -> Result:
        leaves, structure = jax.tree.flatten((args, options))
        arrays = [leaf for leaf in leaves if _is_array(leaf)]
        mesh = explicit_mesh(arrays)
        if mesh is None:
            return fn(*args, **options)

        def of_arrays(*arrays):
            given = iter(arrays)
            args, options = jax.tree.unflatten(
                structure, [next(given) if _is_array(leaf) else leaf for leaf in leaves]
            )
            return fn(*args, **options)

        return on_auto_axes(mesh, of_arrays, *arrays)

    return run


def _is_array(leaf):
    return isinstance(leaf, jax.Array | np.ndarray)


def _is_spec(leaf):
    return isinstance(leaf, Spec)
