"""Steps, sequences, batches and chains of Jacobians: arguments that more than one function has."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._checks.trees import array_leaves, floating_leaves, leading_axis, paths, shape
from jaxrnn._checks.values import array, instance, integer, key, real
from jaxrnn.types import Batch, Trajectory

__all__ = [
    "batch_shape",
    "both",
    "indices",
    "input_pair",
    "jacobian_chain",
    "keyed",
    "one_sequence",
    "pair",
    "same_batches",
    "same_structure",
    "states_of_batch",
    "step_keeps_state",
    "stepped",
    "trajectory",
]


def indices(function: str, argument: str, values, length: int) -> np.ndarray:
    """Python integers within 0..T as an array; all of them for None."""
    if values is None:
        return np.arange(length + 1)
    listed = values.ndim == 1 if isinstance(values, np.ndarray | jax.Array) else isinstance(values, Sequence)
    if not listed or isinstance(values, str | bytes):
        raise TypeError(f"{function}: {argument} is {values!r}; expected a list of Python integers.")
    numbers = [integer(function, argument, value) for value in values]
    if not all(0 <= number <= length for number in numbers):
        raise IndexError(
            f"{function}: {argument} is {numbers}; expected values within 0 <= {argument} <= T = {length}."
        )
    return np.array(numbers, int)


def one_sequence(function: str, x_t, h_tm1, input_size: int, hidden_size: int) -> None:
    """ValueError unless x_t is [d] and h_tm1 is [H]."""
    shape(function, "x_t", x_t, (input_size,), "xs is [T, d] for one sequence.")
    shape(function, "h_tm1", h_tm1, (hidden_size,), "h_0 is [H] for one sequence.")


def trajectory(function: str, trajectory) -> int:
    """T of one sequence's Trajectory whose states fit together and are not empty."""
    instance(function, "trajectory", trajectory, Trajectory)
    length = leading_axis(function, "trajectory.hs", trajectory.hs)
    floating_leaves(function, "trajectory.h_0", trajectory.h_0, "They are the states of unroll.")
    floating_leaves(function, "trajectory.hs", trajectory.hs, "They are the states of unroll.")
    trees = [jax.tree.structure(tree) for tree in (trajectory.h_0, trajectory.hs)]
    if trees[0] != trees[1]:
        raise ValueError(
            f"{function}: trajectory has h_0 {trees[0]} and hs {trees[1]}; expected one structure."
        )
    for (path, first), (_, rest) in zip(paths(trajectory.h_0), paths(trajectory.hs), strict=True):
        if jnp.result_type(first) != rest.dtype:
            raise TypeError(
                f"{function}: trajectory.hs leaf {path} is {rest.dtype} and h_0 {jnp.result_type(first)}; "
                "expected one dtype, as of one unroll."
            )
        if jnp.shape(rest)[1:] != jnp.shape(first):
            raise ValueError(
                f"{function}: trajectory.hs leaf {path} has shape {jnp.shape(rest)} and h_0 has "
                f"{jnp.shape(first)}; expected [T, ...] and [...] of one sequence. Use jax.vmap over a batch."
            )
    if length is None or not sum(jnp.size(leaf) for leaf in jax.tree.leaves(trajectory.h_0)):
        raise ValueError(f"{function}: the state is empty (n = 0); a network without memory has no Jacobian.")
    steps = leading_axis(function, "trajectory.xs", trajectory.xs)
    if steps not in (None, length):
        raise ValueError(
            f"{function}: trajectory.xs has {steps} steps and hs {length}; expected those of one unroll."
        )
    return length


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
    same_structure(function, h_0, h_t)
    for (path, before), (_, after) in zip(paths(h_0), paths(h_t), strict=True):
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


def same_structure(function: str, h_0, h_t) -> None:
    """TypeError unless a step returns its state built as it was."""
    if jax.tree.structure(h_t) != jax.tree.structure(h_0):
        raise TypeError(
            f"{function}: step changed the state's structure from {jax.tree.structure(h_0)} "
            f"to {jax.tree.structure(h_t)}; return h_t built as h_0 is."
        )


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


def keyed(function: str, x_t) -> tuple:
    """`x_t` itself; TypeError or ValueError unless it is a pair (x_t, key_t) with one key, or None."""
    input_pair(function, x_t, "key_t")
    array_leaves(function, "x_t", x_t[0])
    if x_t[1] is not None:
        key(function, "key_t", x_t[1])
    return x_t


def both(function: str, argument: str, value, names: tuple[str, str]):
    """`value` itself; ValueError unless it is a dict of these two names, as the cell's init gives."""
    if not isinstance(value, dict) or any(name not in value for name in names):
        got = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"{function}: {argument} is {got}; expected a dict of {' and '.join(names)}.")
    return value


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
    instance(function, "batch", batch, Batch)
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
    if batch.weights is not None and not real(array(function, "batch.weights", batch.weights)[1]):
        raise TypeError(f"{function}: batch.weights has dtype {batch.weights.dtype}; expected real numbers.")
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
