"""Which part of a step must wait for the recurrence, and which can be computed for many steps at once.

A step is traced, and its operations are sorted by what they wait for: the parameters only (once for all),
the inputs too (one batched call for many steps), or the state (step by step, in `lax.scan`). What the next
state does not need is computed behind the scan, again for many steps at once. So ``W_hx x_t`` leaves the
loop, and so does a readout, whoever wrote the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn._operations import AHEAD, FIXED, LATE, PRODUCTS, Value, look_up, needed, run, run_batched
from jaxrnn._sums import regrouped
from jaxrnn._trace import has_custom_vjp, trace

__all__ = ["Staged", "block_size"]


class Staged:
    """``fn(fixed, ahead, late) -> (late, outputs)``, all lists of arrays, taken apart by stage.

    `fixed` does not change from step to step, `ahead` is known for all steps before the first of them runs,
    `late` is what a step hands to the next. The arguments are examples of one step, for shapes and dtypes.

    Where a late value and others are added up, the others are added first, so that one batched term meets it.
    With `arrange`, products with fixed matrices are made with copies that lie as they need it.
    """

    def __init__(self, fn: Callable, fixed: list, ahead: list, late: list, *, arrange: bool = False):
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(fixed, ahead, late)
        self.outputs = shapes[1]
        variables = iter(closed.jaxpr.invars)
        self._fixed, self._ahead, self.late = (
            [Value(stage, next(variables).aval.shape) for _ in leaves]
            for stage, leaves in enumerate((fixed, ahead, late))
        )
        self._dtypes = [leaf.dtype for leaf in late]
        arguments = [*self._fixed, *self._ahead, *self.late]
        closed_over = [Value(FIXED, variable.aval.shape) for variable in closed.jaxpr.constvars]
        self._constants = dict(zip(closed_over, closed.consts, strict=True))
        ops, results = trace(closed, closed_over, arguments, arrange)
        self._ends, self._outs = results[: len(late)], results[len(late) :]
        ops = needed(regrouped(ops, results), results)
        self._once, self._batched, self._waiting = (
            [op for op in ops if op.stage == stage] for stage in (FIXED, AHEAD, LATE)
        )
        self._scanned = needed(self._waiting, self._ends)
        in_scan = set(map(id, self._scanned))
        self._behind = [op for op in self._waiting if id(op) not in in_scan]
        read = [value for op in self._batched + self._waiting for value in op.inputs]
        self._prepared = [v for v in dict.fromkeys(read + results) if v.stage == FIXED and v.known is None]

        self.products = _pre_activations(self._waiting, results)
        """Where in a step its matrix products with the state have been made: pre-activations, as a rule."""
        self.summed = max((op.summed for op in self._waiting), default=0)
        """Over how many terms such a product sums."""
        self.reverse_only = has_custom_vjp(closed.jaxpr)
        """Whether there is no forward mode, so that nothing but a plain scan will do."""

    def kept(self, products: bool) -> list[Value]:
        """Values of a step that tell all states: what it hands on; with `products`, those too.

        What follows from them without another product is then left out: an Elman state is tanh(z), and an
        LSTM's h_t follows from z and c_t.
        """
        kept = list(dict.fromkeys(self._ends))
        for end in list(kept) if products else []:
            rest = [*self.products, *(other for other in kept if other is not end)]
            ops = needed(self._batched + self._waiting, [end], effects=False, given=rest)
            read = {value for op in ops for value in op.inputs}.union([end])
            if read.isdisjoint(self.late) and not any(op.name in PRODUCTS for op in ops):
                kept.remove(end)
        return [*kept, *self.products] if products else kept

    def states(self, prepared: list, ahead: list, late: list, kept: dict[Value, Any], length: int) -> list:
        """[length, ...] a leaf: `late` before every step, from what was kept of every step."""
        ops = needed(self._batched + self._waiting, self._ends, effects=False, given=kept)
        rows = kept | _given(self._ahead, ahead)
        after = run_batched(ops, _given(self._prepared, prepared) | rows, [(rows, length)], self._ends)
        return [jnp.concatenate([first[None], array[:-1]]) for first, array in zip(late, after, strict=True)]

    def prepare(self, fixed: list) -> list:
        """What the steps need of `fixed`, of what `fn` closes over, and of what can be made of them once."""
        return look_up(run(self._once, self._constants | _given(self._fixed, fixed)), self._prepared)

    def apply(self, prepared: list, ahead: list, late: list, saved: dict[Value, Any]) -> tuple[list, list]:
        """One step as in `block`, but without its effects, and with `saved` at its places."""
        known = _given(self._prepared, prepared) | _given(self._ahead, ahead) | _given(self.late, late)
        ops = needed(self._batched + self._waiting, self._ends + self._outs, effects=False)
        known = run(ops, known, saved)
        return look_up(known, self._ends), look_up(known, self._outs)

    def block(
        self, prepared: list, ahead: list, late: list, length: int, *, keep: Sequence[Value] = ()
    ) -> tuple[list, list]:
        """`late` after `length` steps, and, with an axis of steps, the outputs and what stood at `keep`."""
        wanted = [*self._outs, *keep]
        later = {value for op in self._behind for value in op.inputs} | set(wanted)
        in_scan = {value for op in self._scanned for value in op.inputs} | set(self._ends)
        made_ahead = [*self._ahead, *(value for op in self._batched for value in op.outputs)]
        to_scan = [value for value in made_ahead if value in in_scan | later]
        made_in_scan = [*self.late, *(value for op in self._scanned for value in op.outputs)]
        from_scan = [value for value in made_in_scan if value in later]
        fixed = _given(self._prepared, prepared)

        def step(late, terms):
            known = run(self._scanned, fixed | _given(to_scan, terms) | _given(self.late, late))
            return look_up(known, self._ends), look_up(known, from_scan)

        rows = _given(self._ahead, ahead)
        terms = run_batched(self._batched, fixed | rows, [(rows, length)], to_scan)
        late, states = lax.scan(step, late, terms, length=length)
        rows = _given(to_scan, terms) | _given(from_scan, states)
        return late, run_batched(self._behind, fixed | rows, [(rows, length)], wanted)

    def columns(self, prepared: list, ahead: list, length: int) -> list:
        """[length, n, ...] a leaf of `late`: of a linear step, its value for every unit vector of `late`."""
        sizes = [prod(value.shape) for value in self.late]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        late = {
            value: jnp.eye(sum(sizes), size, -start, dtype=dtype).reshape(-1, *value.shape)
            for value, size, start, dtype in zip(self.late, sizes, starts, self._dtypes, strict=True)
        }
        rows = _given(self._ahead, ahead)
        ops = needed(self._batched + self._waiting, self._ends, effects=False)
        return run_batched(
            ops,
            _given(self._prepared, prepared) | rows | late,
            [(rows, length), (late, sum(sizes))],
            self._ends,
        )


def block_size(length: int, entries: int, most_entries: int, most_steps: int) -> int:
    """As many steps as may be: a divisor of the length if there is one near, else a rest is left."""
    most = min(most_steps, max(1, most_entries // max(entries, 1)))
    if length <= most:
        return length
    otherwise = length if length <= 2 * most else most
    return next((size for size in range(most, most // 2, -1) if length % size == 0), otherwise)


def _pre_activations(ops, results):
    """The formed values that the results depend on, but not those behind one that is linear in them."""
    wanted, found = set(results), []
    for op in reversed(ops):
        reached = wanted.intersection(op.outputs)
        formed = [value for value in op.outputs if value in reached and value.formed]
        found += formed
        if not all(value.formed and value.product for value in reached):
            wanted.update(op.inputs)
    return found[::-1]


def _given(values, arrays):
    return dict(zip(values, arrays, strict=True))
