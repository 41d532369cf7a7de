"""Which part of a step must wait for the recurrence, and which can be computed for many steps at once.

A step is traced, and its operations are sorted by what they wait for: the parameters only (once for all),
the inputs too (one batched call for many steps), or the state (step by step, in `lax.scan`). What the next
state does not need is computed behind the scan, again for many steps at once. So ``W_hx x_t`` leaves the
loop, and so does a readout, whoever wrote the step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

__all__ = ["Staged"]

_FIXED, _AHEAD, _LATE = range(3)
_PRODUCTS = ("dot_general", "conv_general_dilated")
_SUMS = ("add", "add_any")
# Linear in their only operand, element by element: f(a + b) = f(a) + f(b).
_MOVES = ("broadcast_in_dim", "neg", "reshape", "slice", "split", "squeeze", "transpose")


class _Value:
    """A result in the trace; `known` if it is a constant, `product` if it is linear in a matrix product."""

    def __init__(self, stage: int, shape: tuple[int, ...], known: Any = None, product: bool = False):
        self.stage, self.shape, self.known, self.product = stage, shape, known, product


class _Op(NamedTuple):
    """One equation of the trace, or, without one, the sum of its two inputs."""

    eqn: Any
    inputs: Sequence[_Value]
    outputs: list[_Value]

    @property
    def name(self) -> str:
        return self.eqn.primitive.name if self.eqn else "add"

    @property
    def stage(self) -> int:
        # What has an effect, such as jax.debug.print, stays in its place.
        waits = _LATE if self.eqn and self.eqn.effects else _FIXED
        return max([waits, *(value.stage for value in self.inputs)])

    def __call__(self, inputs):
        if self.eqn is None:
            shape = np.broadcast_shapes(*map(jnp.shape, inputs))
            return [lax.add(*(jnp.broadcast_to(term, shape) for term in inputs))]
        params = self.eqn.primitive.get_bind_params(self.eqn.params)
        with self.eqn.ctx.manager:
            if self.name == "dot_general" and self._weights_first():
                return [_weights_last(self.eqn.primitive, params, *inputs)]
            outputs = self.eqn.primitive.bind(*inputs, **params)
        return outputs if self.eqn.primitive.multiple_results else [outputs]

    def _weights_first(self):
        batched = any(self.eqn.params["dimension_numbers"][1])
        return not batched and self.inputs[0].stage == _FIXED < self.inputs[1].stage


def _weights_last(primitive, params, W, x):
    """W x as (xᵀ Wᵀ)ᵀ: many rows x make one matrix product whose result needs no transposition."""
    (of_W, of_x), batch = params["dimension_numbers"]
    product = primitive.bind(x, W, **params | {"dimension_numbers": ((of_x, of_W), batch)})
    rows = x.ndim - len(of_x)
    return lax.transpose(product, (*range(rows, product.ndim), *range(rows)))


class Staged:
    """``fn(fixed, ahead, late) -> (late, outputs)``, all lists of arrays, taken apart by stage.

    `fixed` does not change from step to step, `ahead` is known for all steps before the first of them runs,
    `late` is what a step hands to the next. The arguments are examples of one step, for shapes and dtypes.

    Where a late value and others are added up, the others are added first, so that one batched term meets it.
    """

    def __init__(self, fn: Callable, fixed: list, ahead: list, late: list):
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(fixed, ahead, late)
        self.outputs = shapes[1]
        variables = iter(closed.jaxpr.invars)
        self._fixed, self._ahead, self.late = (
            [_Value(stage, next(variables).aval.shape) for _ in leaves]
            for stage, leaves in enumerate((fixed, ahead, late))
        )
        arguments = [*self._fixed, *self._ahead, *self.late]
        self.constants = closed.consts
        """What `fn` closes over; it follows after `fixed`."""
        closed_over = [_Value(_FIXED, variable.aval.shape) for variable in closed.jaxpr.constvars]
        self._fixed += closed_over
        ops: list[_Op] = []
        results = _flatten(closed.jaxpr, closed_over, arguments, ops)
        self._traced = _needed(ops, results, effects=False)
        sums = _Sums(ops, results)
        self._ends, self._outs = results[: len(late)], results[len(late) :]
        ops = _needed(sums.ops, results)
        self._once, self._batched, waiting = (
            [op for op in ops if op.stage == stage] for stage in (_FIXED, _AHEAD, _LATE)
        )
        self._scanned = _needed(waiting, self._ends)
        in_scan = set(map(id, self._scanned))
        self._behind = [op for op in waiting if id(op) not in in_scan]

        self.products = [
            value
            for op in waiting
            for value in op.outputs
            if value.product and (value in sums.formed or op.name in _PRODUCTS)
        ]
        """Where in a step a matrix product with the state has just been made, such as pre-activations."""
        self.rows = max((_rows(op) for op in waiting if op.name == "dot_general"), default=0)
        """How many vectors at once such a product takes, which is the size of a batch."""
        self.reverse_only = _has_custom_vjp(closed.jaxpr)
        """Whether there is no forward mode, so that nothing but a plain scan will do."""

    def apply(self, fixed: list, ahead: list, late: list, saved: dict[_Value, Any]) -> tuple[list, list]:
        """One step as it was traced, but without its effects, and with `saved` at its places."""
        arguments = _given(self._fixed, fixed) | _given(self._ahead, ahead) | _given(self.late, late)
        known = _run(self._traced, arguments, saved)
        return _look_up(known, self._ends), _look_up(known, self._outs)

    def block(
        self, fixed: list, ahead: list, late: list, length: int, *, keep: Sequence[_Value] = ()
    ) -> tuple[list, list]:
        """`late` after `length` steps, and, with an axis of steps, the outputs and what stood at `keep`."""
        wanted = [*self._outs, *keep]
        later = {value for op in self._behind for value in op.inputs} | set(wanted)
        in_scan = {value for op in self._scanned for value in op.inputs} | set(self._ends)
        made_ahead = [*self._ahead, *(value for op in self._batched for value in op.outputs)]
        to_scan = [value for value in made_ahead if value in in_scan | later]
        made_in_scan = [*self.late, *(value for op in self._scanned for value in op.outputs)]
        from_scan = [value for value in made_in_scan if value in later]
        once = _run(self._once, _given(self._fixed, fixed))

        def in_advance(ahead):
            return _look_up(_run(self._batched, once | _given(self._ahead, ahead)), to_scan)

        def step(late, terms):
            known = _run(self._scanned, once | _given(to_scan, terms) | _given(self.late, late))
            return _look_up(known, self._ends), _look_up(known, from_scan)

        def afterwards(terms, states):
            return _look_up(
                _run(self._behind, once | _given(to_scan, terms) | _given(from_scan, states)), wanted
            )

        terms = jax.vmap(in_advance, axis_size=length)(ahead)
        late, states = lax.scan(step, late, terms, length=length)
        return late, jax.vmap(afterwards, axis_size=length)(terms, states)


def _flatten(jaxpr, constants, arguments, ops):
    """The results of a jaxpr as values; its equations, and those of nested calls of jit, go to `ops`."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))

    def read(atom):
        return _literal(atom.val) if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        if eqn.primitive.name in ("jit", "pjit"):
            inner = eqn.params["jaxpr"]
            outputs = _flatten(inner.jaxpr, map(_literal, inner.consts), inputs, ops)
        else:
            op = _Op(eqn, inputs, [])
            product = op.name in _PRODUCTS or (
                op.name in (*_SUMS, *_MOVES) and any(value.product for value in inputs)
            )
            op.outputs.extend(_Value(op.stage, var.aval.shape, product=product) for var in eqn.outvars)
            ops.append(op)
            outputs = op.outputs
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rows(op):
    """The vectors of the late operand of a matrix product."""
    (lhs, rhs), batch = op.eqn.params["dimension_numbers"]
    side = int(op.inputs[0].stage != _LATE)
    summed = ((*lhs, *batch[0]), (*rhs, *batch[1]))[side]
    return prod(size for axis, size in enumerate(op.inputs[side].shape) if axis not in summed)


def _literal(known):
    return _Value(_FIXED, jnp.shape(known), known)


class _Sums:
    """Operations in a new order, in which a sum of late and earlier terms adds the earlier ones first.

    Such a sum stays open, as its late and its earlier part, while it is only moved about and added to, and is
    formed where something else reads it: LSTM's ``W_x x + W_h h + b`` becomes ``(W_x x + b) + W_h h``, gate
    by gate. `formed` are the values that were put together in this way.
    """

    def __init__(self, ops: list[_Op], results: list[_Value]):
        self._uses = Counter(value for op in ops for value in op.inputs) + Counter(results)
        self._open: dict[_Value, tuple[_Value, _Value]] = {}
        self.ops: list[_Op] = []
        self.formed: set[_Value] = set()
        for op in ops:
            if op.stage == _LATE and op.name in _SUMS:
                self._add(op)
            elif op.name in _MOVES and self._is_whole(op.inputs[0]):
                self._move(op)
            else:
                for value in op.inputs:
                    self._form(value)
                self.ops.append(op)
        for value in results:
            self._form(value)

    def _add(self, op):
        late, earlier = [], []
        for value in op.inputs:
            parts = self._open.pop(value, (value, None) if value.stage == _LATE else (None, value))
            for terms, part in zip((late, earlier), parts, strict=True):
                terms += [] if part is None else [part]
        if earlier:
            self._keep_open(op.outputs[0], self._total(late), self._total(earlier))
        else:
            self.ops.append(op._replace(eqn=None))

    def _move(self, op):
        """The same for both parts, which is right for what is linear in its operand."""
        parts = [self._emit(op.eqn, [part], op.outputs) for part in self._open.pop(op.inputs[0])]
        for value, late, earlier in zip(op.outputs, *parts, strict=True):
            self._keep_open(value, late, earlier)

    def _keep_open(self, value, late, earlier):
        self._open[value] = late, earlier
        if self._uses[value] != 1:
            self._form(value)

    def _is_whole(self, value):
        """An open sum both of whose parts have its shape."""
        return value in self._open and {part.shape for part in self._open[value]} == {value.shape}

    def _form(self, value):
        if value in self._open:
            self.ops.append(_Op(None, self._open.pop(value), [value]))
            self.formed.add(value)

    def _total(self, terms):
        if len(terms) == 1:
            return terms[0]
        shape = np.broadcast_shapes(*(term.shape for term in terms))
        return self._emit(None, terms, [_Value(_FIXED, shape)])[0]

    def _emit(self, eqn, inputs, like):
        op = _Op(eqn, inputs, [])
        op.outputs.extend(_Value(op.stage, value.shape) for value in like)
        self.ops.append(op)
        return op.outputs


def _needed(ops, results, effects=True):
    """The operations that the results depend on, and, if asked for, those with an effect."""
    needed, kept = set(results), []
    for op in reversed(ops):
        if not needed.isdisjoint(op.outputs) or (effects and op.eqn and op.eqn.effects):
            kept.append(op)
            needed.update(op.inputs)
    return kept[::-1]


def _has_custom_vjp(jaxpr):
    return any(
        eqn.primitive.name.startswith("custom_vjp_call")
        or any(map(_has_custom_vjp, core.jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


def _given(values, arrays):
    return dict(zip(values, arrays, strict=True))


def _look_up(known, values):
    return [known[value] if value.known is None else value.known for value in values]


def _run(ops, known, saved=()):
    """The known values and what the operations make of them, or, in its place, what was saved."""
    known = dict(known)
    for op in ops:
        for value, array in zip(op.outputs, op(_look_up(known, op.inputs)), strict=True):
            known[value] = _as_saved(array, saved[value]) if value in saved else array
    return known


@jax.custom_jvp
def _as_saved(computed, saved):
    """The saved array with the tangent of the computed one, which is then not needed itself."""
    del computed
    return saved


@_as_saved.defjvp
def _as_saved_jvp(primals, tangents):
    return primals[1], tangents[0]
