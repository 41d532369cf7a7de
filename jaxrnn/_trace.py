"""A step's trace as a list of operations, each marked with what it waits for.

Two rewrites prepare it for `jaxrnn._stages`: products with fixed matrices take any number of rows at once,
and sums add up first what is known first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend import core

__all__ = [
    "AHEAD",
    "FIXED",
    "LATE",
    "Op",
    "Value",
    "has_custom_vjp",
    "look_up",
    "needed",
    "run",
    "run_batched",
    "trace",
]

FIXED, AHEAD, LATE = range(3)
"""What a value waits for: the parameters only, the inputs too, or the state."""
_SUMS = ("add", "add_any")
# Linear in their only operand, element by element: f(a + b) = f(a) + f(b).
_MOVES = ("broadcast_in_dim", "neg", "reshape", "slice", "split", "squeeze", "transpose")
_PRODUCTS = ("dot_general", "conv_general_dilated")


class Value:
    """A result in the trace; `known` if it is a constant.

    `product` marks what is linear in a matrix product, `formed` where such a product has just been made.
    """

    def __init__(self, stage: int, shape: Sequence[int], known: Any = None, product: bool = False):
        self.stage, self.shape, self.known, self.product = stage, tuple(shape), known, product
        self.formed = False


class Op(NamedTuple):
    """One operation: ``outputs = call(*inputs)``.

    With `summed`, a product with a fixed matrix, over so many terms; `call` then takes any leading axes.
    """

    name: str
    call: Callable
    inputs: Sequence[Value]
    outputs: list[Value]
    summed: int = 0
    effects: bool = False

    @property
    def stage(self) -> int:
        # What has an effect, such as jax.debug.print, stays in its place.
        return max([LATE if self.effects else FIXED, *(value.stage for value in self.inputs)])


def trace(
    closed: core.ClosedJaxpr, constants: Sequence[Value], arguments: Sequence[Value], arrange: bool
) -> tuple[list[Op], list[Value]]:
    """(operations, results), with calls of jit inlined and both rewrites done.

    With `arrange`, products with fixed matrices are made with copies that lie as they need it.
    """
    inlined = _Inlined(arrange)
    results = inlined.add(closed.jaxpr, constants, arguments)
    return _Sums(inlined.ops, results).ops, results


def needed(ops: Sequence[Op], results: Iterable[Value], effects: bool = True) -> list[Op]:
    """The operations that the results depend on, and, if asked for, those with an effect."""
    wanted, kept = set(results), []
    for op in reversed(ops):
        if not wanted.isdisjoint(op.outputs) or (effects and op.effects):
            kept.append(op)
            wanted.update(op.inputs)
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
    for op in ops:
        call = op.call
        for members, length in reversed(axes):
            has = [value in members for value in op.inputs]
            if any(has):
                members.update(op.outputs)
                if not op.summed:
                    call = jax.vmap(call, [0 if one else None for one in has], axis_size=length)
        known.update(zip(op.outputs, call(*look_up(known, op.inputs)), strict=True))
    results = look_up(known, wanted)
    for i, (members, length) in enumerate(axes):
        results = [
            array if value in members else jnp.repeat(jnp.expand_dims(array, i), length, i)
            for value, array in zip(wanted, results, strict=True)
        ]
    return results


@jax.custom_jvp
def _as_saved(computed, saved):
    """The saved array with the tangent of the computed one, which is then not needed itself."""
    del computed
    return saved


@_as_saved.defjvp
def _as_saved_jvp(primals, tangents):
    return primals[1], tangents[0]


def has_custom_vjp(jaxpr: core.Jaxpr) -> bool:
    return any(
        eqn.primitive.name.startswith("custom_vjp_call")
        or any(map(has_custom_vjp, core.jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


class _Inlined:
    """The operations of jaxprs, with those of nested calls of jit among them."""

    def __init__(self, arrange: bool):
        self.ops: list[Op] = []
        self._arrange = arrange
        self._copies: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self._rows_of: dict[Value, Value] = {}

    def add(self, jaxpr, constants, arguments):
        """The results of a jaxpr."""
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))

        def read(atom):
            return _literal(atom.val) if isinstance(atom, core.Literal) else values[atom]

        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            if eqn.primitive.name in ("jit", "pjit"):
                inner = eqn.params["jaxpr"]
                outputs = self.add(inner.jaxpr, map(_literal, inner.consts), inputs)
            else:
                outputs = self._add_equation(eqn, inputs)
            values.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _add_equation(self, eqn, inputs):
        name = eqn.primitive.name
        if name == "split" and inputs[0] in self._rows_of:
            return self._split_columns(inputs[0], eqn.params["sizes"], eqn.params["axis"])

        def call(*arrays, **changed):
            params = eqn.primitive.get_bind_params(eqn.params)
            with eqn.ctx.manager:
                outputs = eqn.primitive.bind(*arrays, **params | changed)
            return outputs if eqn.primitive.multiple_results else [outputs]

        product = name in _PRODUCTS or (name in (*_SUMS, *_MOVES) and any(value.product for value in inputs))
        op = Op(name, call, inputs, [], effects=bool(eqn.effects))
        op.outputs.extend(Value(op.stage, var.aval.shape, product=product) for var in eqn.outvars)
        if name == "dot_general" and self._add_matrix_product(op, *eqn.params["dimension_numbers"]):
            return op.outputs
        for value in op.outputs:
            value.formed = name in _PRODUCTS
        self.ops.append(op)
        return op.outputs

    def _add_matrix_product(self, op, summed, batch):
        """Whether the operation is a product with a fixed matrix W, which then is made as ``x W``, by rows x.

        An arranged W has the summed axis first: small products run faster so, and the gradient of W is formed
        in this order, too. For the product with W on the way back there is then the other order beside it.
        """
        side = int(op.inputs[0].stage > FIXED)
        W, x = op.inputs[side], op.inputs[1 - side]
        axis, axis_of_x = summed[side], summed[1 - side]
        if W.stage > FIXED or x.stage == FIXED or any(batch) or len(W.shape) != 2 or len(axis) != 1:
            return False
        x = self._transposed(x, [i for i in range(len(x.shape)) if i not in axis_of_x] + [*axis_of_x])
        shape = (*x.shape[:-1], W.shape[1 - axis[0]])
        output = op.outputs[0] if side else Value(op.stage, shape, product=True)
        output.formed = True
        if self._arrange:
            call, weights = partial(_arranged_product, op.call), [W, self._transposed(W, (1, 0))]
            weights = weights[::-1] if axis[0] else weights
        else:
            call, weights = partial(_product, op.call, axis[0]), [W]
        self.ops.append(Op(op.name, call, [x, *weights], [output], summed=W.shape[axis[0]]))
        if not side:
            self.ops.append(_transposition(output, (len(shape) - 1, *range(len(shape) - 1)), op.outputs[0]))
            self._rows_of[op.outputs[0]] = output
        return True

    def _split_columns(self, value, sizes, axis):
        """Parts of ``W x`` as transposed parts of ``x W``: XLA makes a slow product of a transposed one."""
        rows = self._rows_of[value]
        n = len(rows.shape) - 1
        order = (n, *range(n))
        shapes = [(*value.shape[:axis], int(size), *value.shape[axis + 1 :]) for size in sizes]
        parts = [
            Value(value.stage, [shape[i] for i in (*range(1, n + 1), 0)], product=True) for shape in shapes
        ]
        split = partial(lax.split, sizes=sizes, axis=order[axis])
        self.ops.append(Op("split", split, [rows], parts))
        return [self._transposed(part, order) for part in parts]

    def _transposed(self, value, order):
        order = tuple(order)
        if order == tuple(range(len(order))):
            return value
        if (value, order) not in self._copies:
            copy = Value(value.stage, [value.shape[axis] for axis in order], product=value.product)
            self._copies[value, order] = copy
            self.ops.append(_transposition(value, order, copy))
        return self._copies[value, order]


def _literal(known):
    return Value(FIXED, jnp.shape(known), known)


def _transposition(value, order, output):
    return Op("transpose", lambda array: [lax.transpose(array, order)], [value], [output])


def _product(bind, axis, x, W):
    """``x W`` over the last axis of x and this one of W, as one product of two matrices."""
    rows = x.reshape(prod(x.shape[:-1]), x.shape[-1]) if x.ndim > 2 else x
    (product,) = bind(rows, W, dimension_numbers=(((rows.ndim - 1,), (axis,)), ((), ())))
    return [product.reshape(*x.shape[:-1], W.shape[1 - axis])]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _arranged_product(bind, x, W, transposed):
    """``x W``, where the transposed W is there for the way back."""
    del transposed
    return _product(bind, 0, x, W)


@partial(_arranged_product.defjvp, symbolic_zeros=True)
def _arranged_product_jvp(bind, primals, tangents):
    x, W, transposed = primals
    dx, dW, _ = tangents
    terms = [] if isinstance(dx, SymbolicZero) else _product(bind, 1, dx, transposed)
    terms += [] if isinstance(dW, SymbolicZero) else _product(bind, 0, x, dW)
    return _product(bind, 0, x, W), [sum(terms[1:], terms[0])]


class _Sums:
    """Operations in a new order, in which a sum of late and earlier terms adds the earlier ones first.

    Such a sum stays open, as its late and its earlier part, while it is only moved about and added to, and is
    formed where something else reads it: LSTM's ``W_x x + W_h h + b`` becomes ``(W_x x + b) + W_h h``, gate
    by gate.
    """

    def __init__(self, ops: list[Op], results: list[Value]):
        self._uses = Counter(value for op in ops for value in op.inputs) + Counter(results)
        self._open: dict[Value, tuple[Value, Value]] = {}
        self.ops: list[Op] = []
        for op in ops:
            if op.stage == LATE and op.name in _SUMS:
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
            parts = self._open.pop(value, (value, None) if value.stage == LATE else (None, value))
            for terms, part in zip((late, earlier), parts, strict=True):
                terms += [] if part is None else [part]
        if earlier:
            self._keep_open(op.outputs[0], self._total(late), self._total(earlier))
        else:
            self.ops.append(op)

    def _move(self, op):
        """The same for both parts, which is right for what is linear in its operand."""
        parts = [self._emit(op, [part], op.outputs) for part in self._open.pop(op.inputs[0])]
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
            late, earlier = self._open.pop(value)
            self.ops.append(_sum([late, earlier], value))
            value.formed, value.product = late.product or earlier.product, late.product

    def _total(self, terms):
        if len(terms) == 1:
            return terms[0]
        shape = np.broadcast_shapes(*(term.shape for term in terms))
        stage = max(term.stage for term in terms)
        output = Value(stage, shape, product=any(term.product for term in terms))
        self.ops.append(_sum(terms, output))
        return output

    def _emit(self, op, inputs, like):
        outputs = [Value(inputs[0].stage, value.shape, product=inputs[0].product) for value in like]
        self.ops.append(op._replace(inputs=inputs, outputs=outputs))
        return outputs


def _sum(terms, output):
    def call(*arrays):
        return [lax.add(*(jnp.broadcast_to(array, output.shape) for array in arrays))]

    return Op("add", call, terms, [output])
