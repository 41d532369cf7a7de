"""A step's trace as a list of operations; products with fixed matrices then take any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend import core

from jaxrnn._operations import FIXED, MOVES, PRODUCTS, SUMS, Op, Value

__all__ = ["bind", "has_custom_vjp", "results", "trace"]


def results(
    jaxpr: core.Jaxpr,
    constants: Iterable,
    arguments: Iterable,
    of_equation: Callable,
    known: Callable = lambda x: x,
) -> list:
    """The results of a jaxpr, of whatever `of_equation(eqn, inputs)` makes; calls of jit are entered.

    `known` makes an input of a number or an array that stands in the jaxpr itself.
    """
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))

    def read(atom):
        return known(atom.val) if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        if eqn.primitive.name in ("jit", "pjit"):
            inner = eqn.params["jaxpr"]
            outputs = results(inner.jaxpr, map(known, inner.consts), inputs, of_equation, known)
        else:
            outputs = of_equation(eqn, inputs)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def bind(eqn: core.JaxprEqn, *arrays, **changed) -> list:
    """The outputs of an equation's primitive, with some of its parameters changed."""
    params = eqn.primitive.get_bind_params(eqn.params)
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*arrays, **params | changed)
    return outputs if eqn.primitive.multiple_results else [outputs]


def trace(
    closed: core.ClosedJaxpr, constants: Sequence[Value], arguments: Sequence[Value], arrange: bool
) -> tuple[list[Op], list[Value]]:
    """(operations, results), with calls of jit inlined.

    With `arrange`, products with fixed matrices are made with copies that lie as they need it.
    """
    made = _Operations(arrange)
    ends = results(closed.jaxpr, constants, arguments, made.add, _literal)
    return made.ops, ends


def has_custom_vjp(jaxpr: core.Jaxpr) -> bool:
    return any(
        eqn.primitive.name.startswith("custom_vjp_call")
        or any(map(has_custom_vjp, core.jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


class _Operations:
    """The operations of equations, one after another."""

    def __init__(self, arrange: bool):
        self.ops: list[Op] = []
        self._arrange = arrange
        self._copies: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self._rows_of: dict[Value, Value] = {}

    def add(self, eqn, inputs):
        """The values that an equation makes."""
        name = eqn.primitive.name
        if name == "split" and inputs[0] in self._rows_of:
            return self._split_columns(inputs[0], eqn.params["sizes"], eqn.params["axis"])
        product = name in PRODUCTS or (name in (*SUMS, *MOVES) and any(value.product for value in inputs))
        op = Op(name, partial(bind, eqn), inputs, [], effects=bool(eqn.effects))
        op.outputs.extend(Value(op.stage, var.aval.shape, product=product) for var in eqn.outvars)
        if name == "dot_general" and self._add_matrix_product(op, *eqn.params["dimension_numbers"]):
            return op.outputs
        for value in op.outputs:
            value.formed = name in PRODUCTS
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
