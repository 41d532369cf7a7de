"""Save a result to .npz and load it back."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np

from jaxrnn import _checks
from jaxrnn._pytree import is_key

__all__ = ["load", "save"]

_STRUCTURE = "__structure__"
_RESERVED = {_STRUCTURE, "file", "args", "allow_pickle"}
# The last three are arguments of numpy.savez itself.


def save(path: str | Path, result: Any) -> None:
    """Write a result to one .npz file, which appears there complete or not at all.

    A result is any tree of dicts, tuples, lists, arrays, keys, numbers and strings. Every array stands
    under its own path, such as ``norms.log_norm``, so that `numpy.load` reads the file without this library.

    Raises
    ------
    TypeError
        If the tree holds anything else, such as a key that is not a string or a bfloat16 array.

    Example
    -------
    >>> import tempfile, jax.numpy as jnp
    >>> from jaxrnn.jacobians import norms
    >>> path = Path(tempfile.mkdtemp(), "norms.npz")
    >>> save(path, norms(jnp.ones((2, 1, 1))))
    >>> load(path).log_norm.shape
    (3, 3)
    """
    arrays: dict[str, np.ndarray] = {}
    structure = _encode(result, "", arrays)
    path = _npz("results.save", path)
    partial = path.with_name(f".{path.name}.partial.npz")
    try:
        np.savez_compressed(partial, **{_STRUCTURE: np.array(json.dumps(structure))}, **arrays)  # ty: ignore
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> Any:
    """Read what `save` wrote, with the same types and NumPy arrays as leaves; keys are JAX's.

    Raises
    ------
    ValueError
        If the file was not written by `save`.
    """
    path = _checks.file("results.load", "path", _npz("results.load", path))
    foreign = ValueError(f"results.load: {path.name} was not written by jaxrnn's save.")
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        raise foreign from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise foreign
    with file:
        if _STRUCTURE not in file:
            raise foreign
        return _decode(json.loads(str(file[_STRUCTURE])), file)


def _npz(function, path):
    """The path with the ending .npz, which numpy.savez would add by itself."""
    path = _checks.path(function, "path", path)
    if not path.name:
        raise TypeError(f"{function}: path is {str(path)!r}; expected a path to a file.")
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")


def _encode(node, path, arrays):
    """A JSON tree of [kind, content]; arrays go to `arrays` under their path."""
    if node is None or isinstance(node, bool | int | float | str):
        return ["value", node]
    if is_key(node):
        _, name = _encode(jax.random.key_data(node), path, arrays)
        return [f"key:{jax.random.key_impl(node)}", name]
    if isinstance(node, jax.Array | np.ndarray | np.generic):
        name = path or "array"
        keys = jax.dtypes.issubdtype(node.dtype, jax.dtypes.extended)
        array = np.empty((), object) if keys else np.asarray(node)
        if array.dtype.kind not in "biufcSU":
            raise TypeError(
                f"results.save: {name} has dtype {node.dtype}, which .npz files cannot hold; convert it, "
                "such as to float32."
            )
        while name in arrays or name in _RESERVED:
            name += "_"
        arrays[name] = array
        return ["array", name]

    def children(items):
        return {
            str(name): _encode(child, f"{path}.{name}" if path else str(name), arrays)
            for name, child in items
        }

    if isinstance(node, dict) and all(isinstance(name, str) for name in node):
        return ["dict", children(node.items())]
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        kind = type(node)
        return [f"{kind.__module__}:{kind.__qualname__}", children(zip(node._fields, node, strict=True))]
    if isinstance(node, tuple | list):
        return [type(node).__name__, children(enumerate(node))]
    raise TypeError(
        f"results.save: {path or 'the result'} is a {type(node).__name__}; expected arrays, numbers, "
        "strings, lists, tuples, NamedTuples or dicts with strings as keys."
    )


def _decode(structure, arrays):
    kind, content = structure
    if kind == "value":
        return content
    if kind == "array":
        return arrays[content]
    if kind.startswith("key:"):
        return jax.random.wrap_key_data(arrays[content], impl=kind.removeprefix("key:"))
    children = {name: _decode(child, arrays) for name, child in content.items()}
    if kind == "dict":
        return children
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](children.values())
    module, _, name = kind.partition(":")
    # Only the library's own result types are looked up: a file never names code to run.
    if not module.startswith("jaxrnn.") or module.endswith("__main__"):
        return tuple(children.values())
    result_type = getattr(importlib.import_module(module), name, None)
    if not (isinstance(result_type, type) and issubclass(result_type, tuple)):
        raise ValueError(f"results.load: {kind} is no result type of this version of jaxrnn.")
    return result_type(**children)
