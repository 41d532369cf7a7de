"""Operations of a step, each marked with what it waits for, and two ways to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

__all__ = [
    "AHEAD",
    "FIXED",
    "LATE",
    "MOVES",
    "PRODUCTS",
    "SUMS",
    "Op",
    "Value",
    "look_up",
    "needed",
    "run",
    "run_batched",
]

FIXED, AHEAD, LATE = range(3)
"""What a value waits for: the parameters only, the inputs too, or the state."""
SUMS = ("add", "add_any")
PRODUCTS = ("dot_general", "conv_general_dilated")
# Linear in their only operand, element by element: f(a + b) = f(a) + f(b). (rounded_back: of `precision`)
MOVES = ("broadcast_in_dim", "neg", "reshape", "rounded_back", "slice", "split", "squeeze", "transpose")


class Value:
    """A result in the trace; `known` if it is a constant.

    `product` marks what is linear in a matrix product, `formed` where such a product has just been made.
    """

    def __init__(self, stage: int, shape: Sequence[int], known: Any = None, product: bool = False):
        self.stage, self.shape, self.known, self.product = stage, tuple(shape), known, product
        self.formed = False


class Op:
    """One operation: ``outputs = call(*inputs)``.

    With `summed`, a product with a fixed matrix, over so many terms; `call` then takes any leading axes.
    """

    def __init__(
        self,
        name: str,
        call: Callable,
        inputs: Sequence[Value],
        outputs: list[Value],
        summed: int = 0,
        effects: bool = False,
    ):
        self.name, self.call, self.inputs, self.outputs = name, call, inputs, outputs
        self.summed, self.effects = summed, effects
        # What has an effect, such as jax.debug.print, stays in its place.
        self.stage = max([LATE if effects else FIXED, *(value.stage for value in inputs)])


def needed(
    ops: Sequence[Op], results: Iterable[Value], effects: bool = True, given: Iterable[Value] = ()
) -> list[Op]:
    """The operations that the results depend on, unless given, and, if asked for, those with an effect."""
    given = set(given)
    wanted, kept = set(results) - given, []
    for op in reversed(ops):
        if not wanted.isdisjoint(op.outputs) or (effects and op.effects):
            kept.append(op)
            wanted.update(value for value in op.inputs if value not in given)
    return kept[::-1]


def look_up(known: Mapping[Value, Any], values: Iterable[Value]) -> list:
    return [known[value] if value.known is None else value.known for value in values]


def run(ops: Iterable[Op], known: Mapping[Value, Any], saved: Mapping[Value, Any] | None = None) -> dict:
    """The known values and what the operations make of them, or, in its place, what was saved."""
    known, saved = dict(known), saved or {}
    for op in ops:
        for value, array in zip(op.outputs, op.call(*look_up(known, op.inputs)), strict=True):
            known[value] = _as_saved(array, saved[value]) if value in saved else array
    return known


def run_batched(
    ops: Iterable[Op],
    known: Mapping[Value, Any],
    axes: Sequence[tuple[Iterable[Value], int]],
    wanted: Sequence[Value],
) -> list:
    """What is wanted, with leading axes, such as one of steps.

    `axes` are, from the outermost on, (the known values that have it, its length). What none of its inputs
    has is computed without it, once.
    """
    known, axes = dict(known), [(set(members), length) for members, length in axes]
    groups = _groups(ops, [members for members, _ in axes])
    for i, (has, group) in enumerate(groups):
        if not any(has):
            known = run(group, known)
            continue
        made = dict.fromkeys(value for op in group for value in op.outputs)
        read = dict.fromkeys(value for op in group for value in op.inputs if value.known is None)
        later = {value for _, ops in groups[i + 1 :] for op in ops for value in op.inputs}.union(wanted)
        inputs, outputs = [v for v in read if v not in made], [v for v in made if v in later]
        call = partial(_call, group, inputs, outputs)
        for (members, length), one in list(zip(axes, has, strict=True))[::-1]:
            if one:
                call = jax.vmap(call, [0 if v in members else None for v in inputs], axis_size=length)
        known.update(zip(outputs, call(*look_up(known, inputs)), strict=True))
    results = look_up(known, wanted)
    for i, (members, length) in enumerate(axes):
        results = [
            array if value in members else jnp.repeat(jnp.expand_dims(array, i), length, i)
            for value, array in zip(wanted, results, strict=True)
        ]
    return results


def _groups(ops, axes):
    """(which axes the outputs have, operations), in an order in which few groups hold them all.

    Each group is one call of `jax.vmap`, whose tracing is slow, or none where the operations take their
    inputs as they are. `axes` are the values that have each axis; the outputs are added to them.
    """
    groups: list[tuple[tuple[bool, ...], list[Op]]] = []
    made_in: dict[Value, int] = {}
    for op in ops:
        has = tuple(not members.isdisjoint(op.inputs) for members in axes)
        for members, one in zip(axes, has, strict=True):
            members.update(op.outputs if one else [])
        has = () if op.summed or not any(has) else has
        first = max((made_in.get(value, 0) for value in op.inputs), default=0)
        place = next((i for i in range(first, len(groups)) if groups[i][0] == has), len(groups))
        if place == len(groups):
            groups.append((has, []))
        groups[place][1].append(op)
        made_in.update(dict.fromkeys(op.outputs, place))
    return groups


def _call(ops, inputs, outputs, *arrays):
    return look_up(run(ops, dict(zip(inputs, arrays, strict=True))), outputs)


@jax.custom_jvp
def _as_saved(computed, saved):
    """The saved array with the tangent of the computed one, which is then not needed itself."""
    del computed
    return saved


@_as_saved.defjvp
def _as_saved_jvp(primals, tangents):
    return primals[1], tangents[0]
