"""Trace-time checks, with every message that more than one function needs.

The checks look at shapes, dtypes and Python integers only, so that they cost nothing at run time.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "NumericalError",
    "at_least",
    "batch_shape",
    "choice",
    "floating_leaves",
    "fraction",
    "indices",
    "input_pair",
    "installed",
    "integer",
    "jacobian_chain",
    "leading_axis",
    "one_sequence",
    "pair",
    "parameters",
    "same_batches",
    "shape",
    "states_of_batch",
    "step_keeps_state",
    "stepped",
    "trajectory",
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


def _paths(tree):
    return [
        (jax.tree_util.keystr(path) or "(the state)", leaf) for path, leaf in jax.tree.leaves_with_path(tree)
    ]


def _describe(tree) -> str:
    leaves = [f"{path}: {jnp.asarray(leaf).dtype}{list(jnp.shape(leaf))}" for path, leaf in _paths(tree)]
    return "{" + ", ".join(leaves) + "}"


def choice(function: str, argument: str, value, allowed) -> None:
    """ValueError unless `value` is one of the options."""
    if value not in allowed:
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


def fraction(function: str, argument: str, value, *, below_1: bool = False) -> float:
    """`value` as a float; ValueError unless it lies in 0..1, or in 0 <= value < 1."""
    number = float(value)
    if not 0 <= number <= 1 or (below_1 and number == 1):
        upper = f"{'<' if below_1 else '<='} 1"
        raise ValueError(f"{function}: {argument} is {number}; expected 0 <= {argument} {upper}.")
    return number


def indices(function: str, argument: str, values, length: int) -> np.ndarray:
    """Python integers within 0..T as an array; all of them for None."""
    if values is None:
        return np.arange(length + 1)
    numbers = np.array([integer(function, argument, value) for value in values], int)
    if not np.all((numbers >= 0) & (numbers <= length)):
        raise IndexError(
            f"{function}: {argument} is {numbers}; expected values within 0 <= {argument} <= T = {length}."
        )
    return numbers


def shape(function: str, argument: str, array, expected: tuple[int, ...], remedy: str) -> None:
    """ValueError unless the array has exactly this shape; TypeError for a tuple or a dict of arrays."""
    if isinstance(array, tuple | dict):
        raise TypeError(
            f"{function}: {argument} is a {type(array).__name__}; expected an array {expected}. {remedy}"
        )
    if jnp.shape(array) != expected:
        raise ValueError(
            f"{function}: {argument} has shape {jnp.shape(array)}; expected {expected}. {remedy}"
        )


def one_sequence(function: str, x_t, h_tm1, input_size: int, hidden_size: int) -> None:
    """ValueError unless x_t is [d] and h_tm1 is [H]."""
    shape(function, "x_t", x_t, (input_size,), "xs is [T, d] for one sequence.")
    shape(function, "h_tm1", h_tm1, (hidden_size,), "h_0 is [H] for one sequence.")


def parameters(function: str, params, expected: dict[str, tuple[int, ...]]) -> None:
    """ValueError unless `params` is a dict with at least these leaves in these shapes."""
    found = {name: jnp.shape(leaf) for name, leaf in params.items()} if isinstance(params, dict) else None
    if found is None or any(found.get(name) != size for name, size in expected.items()):
        raise ValueError(
            f"{function}: params is {type(params).__name__ if found is None else found}; expected {expected} "
            "at least, as the cell's init gives."
        )


def trajectory(function: str, trajectory) -> int:
    """T of one sequence's Trajectory whose states fit together and are not empty."""
    length = leading_axis(function, "trajectory.hs", trajectory.hs)
    for (path, first), (_, rest) in zip(_paths(trajectory.h_0), _paths(trajectory.hs), strict=True):
        if jnp.shape(rest)[1:] != jnp.shape(first):
            raise ValueError(
                f"{function}: trajectory.hs leaf {path} has shape {jnp.shape(rest)} and h_0 has "
                f"{jnp.shape(first)}; expected [T, ...] and [...] of one sequence. Use jax.vmap over a batch."
            )
    if length is None or not sum(jnp.size(leaf) for leaf in jax.tree.leaves(trajectory.h_0)):
        raise ValueError(f"{function}: the state is empty (n = 0); a network without memory has no Jacobian.")
    return length


def floating_leaves(function: str, argument: str, tree, remedy: str) -> None:
    """TypeError unless the tree holds floating arrays only."""
    for path, leaf in _paths(tree):
        if not jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating):
            raise TypeError(
                f"{function}: {argument} leaf {path} has dtype {jnp.asarray(leaf).dtype}; expected floating "
                f"arrays only. {remedy}"
            )


def leading_axis(function: str, argument: str, tree, axis: int = 0) -> int | None:
    """The length of `axis` that all leaves share; None without leaves."""
    sizes = {}
    for path, leaf in _paths(tree):
        if jnp.ndim(leaf) <= axis:
            raise ValueError(
                f"{function}: {argument} leaf {path} has shape {jnp.shape(leaf)}; "
                f"expected at least {axis + 1} axes ({'[B, T, ...]' if axis else 'leading axis first'})."
            )
        sizes[path] = jnp.shape(leaf)[axis]
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"{function}: the leaves of {argument} disagree on axis {axis}: {sizes}; expected one length."
        )
    return next(iter(sizes.values()), None)


def stepped(function: str, result):
    """What a step returned; TypeError unless it is the pair (h_t, y_t)."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"{function}: step returned {type(result).__name__}; expected the pair (h_t, y_t).")
    return result


def step_keeps_state(function: str, step, params, h_0, x_t):
    """Shapes and dtypes of (h_t, y_t); TypeError or ValueError unless `step` keeps the state's structure.

    JAX itself would broadcast a state of the wrong shape, or fail inside the scan without a name.
    """
    floating_leaves(function, "state", h_0, "Let tokens, keys and counters travel in xs.")
    result = stepped(function, jax.eval_shape(step, params, h_0, x_t))
    h_t = result[0]
    if jax.tree.structure(h_t) != jax.tree.structure(h_0):
        raise TypeError(
            f"{function}: step changed the state's structure from {jax.tree.structure(h_0)} "
            f"to {jax.tree.structure(h_t)}; return h_t built as h_0 is."
        )
    for (path, before), (_, after) in zip(_paths(h_0), _paths(h_t), strict=True):
        before_dtype, weak = jnp.result_type(before), getattr(before, "weak_type", False)
        if jnp.shape(before) != after.shape:
            raise ValueError(
                f"{function}: state leaf {path} has shape {jnp.shape(before)} in h_0 but {after.shape} "
                "after one step; give h_0 the shape that step returns."
            )
        if before_dtype != after.dtype and not weak:
            raise TypeError(
                f"{function}: state leaf {path} is {before_dtype} in h_0 but {after.dtype} after one step; "
                "give params, h_0 and xs the same dtype."
            )
    return result


def jacobian_chain(function: str, js) -> tuple[int, int]:
    """(T, n) of a chain of step Jacobians [T, n, n]."""
    if jnp.ndim(js) != 3 or jnp.shape(js)[1] != jnp.shape(js)[2]:
        raise ValueError(
            f"{function}: js has shape {jnp.shape(js)}; expected [T, n, n] for one sequence, as "
            "jacobians.step_jacobians returns it. Use jax.vmap over a batch."
        )
    if not jnp.issubdtype(js.dtype, jnp.floating):
        raise TypeError(f"{function}: js has dtype {js.dtype}; expected a floating dtype.")
    if jnp.shape(js)[1] == 0:
        raise ValueError(f"{function}: the state is empty (n = 0); a network without memory has no Jacobian.")
    return jnp.shape(js)[0], jnp.shape(js)[1]


def input_pair(function: str, x_t, second: str) -> tuple:
    """`x_t` itself; TypeError unless it is a pair, as of cells whose inputs carry more than a signal."""
    if not isinstance(x_t, tuple) or len(x_t) != 2:
        raise TypeError(f"{function}: x_t is a {type(x_t).__name__}; expected a pair (x_t, {second}).")
    return x_t


def pair(function: str, t, k, length: int) -> tuple[int, int]:
    """(t, k) as ints with 0 <= k <= t <= T."""
    t, k = (integer(function, name, value) for name, value in (("t", t), ("k", k)))
    for name, value in (("t", t), ("k", k)):
        if not 0 <= value <= length:
            raise IndexError(f"{function}: {name} is {value}; expected 0 <= {name} <= T = {length}.")
    if k > t:
        raise ValueError(
            f"{function}: k = {k} > t = {t}; the state h_t depends on h_k for k <= t only. Swap them?"
        )
    return t, k


def batch_shape(function: str, batch) -> tuple[int, int]:
    """(B, T) of a Batch whose inputs, targets and weights agree."""
    sizes: dict[str, tuple[int, int]] = {}
    for name, tree in (("xs", batch.xs), ("targets", batch.targets), ("weights", batch.weights)):
        size = leading_axis(function, f"batch.{name}", tree)
        length = leading_axis(function, f"batch.{name}", tree, 1)
        if size is not None and length is not None:
            sizes[name] = (size, length)
    if not sizes:
        raise ValueError(f"{function}: the batch has no arrays; expected xs and targets [B, T, ...].")
    if len(set(sizes.values())) > 1:
        raise ValueError(f"{function}: leading axes [B, T] of the batch disagree: {sizes}.")
    if batch.weights is not None and jnp.ndim(batch.weights) != 2:
        raise ValueError(f"{function}: batch.weights has shape {jnp.shape(batch.weights)}; expected [B, T].")
    size, length = next(iter(sizes.values()))
    if 0 in (size, length):
        raise ValueError(
            f"{function}: the batch is empty, [B, T] = [{size}, {length}]; expected at least [1, 1]."
        )
    return size, length


def same_batches(function: str, batches) -> tuple[int, int]:
    """(B, T) of batches that have one structure, shape and dtype."""
    sizes = [batch_shape(function, batch) for batch in batches]
    kinds = {str(jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), b)) for b in batches}
    if len(kinds) > 1:
        raise ValueError(
            f"{function}: batches differ in shape: [B, T] is {sorted(set(sizes))} and leaves are "
            f"{' or '.join(sorted(kinds))}; expected batches of one shape."
        )
    return sizes[0]


def states_of_batch(function: str, h_0, size: int) -> None:
    """ValueError unless h_0 carries one state a sequence, [B, ...]."""
    found = leading_axis(function, "h_0", h_0)
    if found not in (None, size):
        raise ValueError(
            f"{function}: h_0 has {found} states for a batch of {size} sequences; expected leaves [B, ...], "
            "as cell.initial_states(params, B) gives."
        )
