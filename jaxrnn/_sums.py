"""Sums regrouped: what is known first is added up first."""

from __future__ import annotations

from collections import Counter
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn._operations import LATE, MOVES, SUMS, Op, Value

__all__ = ["regrouped"]


def regrouped(ops: list[Op], results: list[Value]) -> list[Op]:
    """The operations in a new order, in which a sum of late and earlier terms adds the earlier ones first."""
    return _Sums(ops, results).ops


class _Sums:
    """The open sums, each as its late and its earlier part.

    A sum stays open while it is only moved about and added to, and is formed where something else reads it:
    LSTM's ``W_x x + W_h h + b`` becomes ``(W_x x + b) + W_h h``, gate by gate.
    """

    def __init__(self, ops: list[Op], results: list[Value]):
        self._uses = Counter(value for op in ops for value in op.inputs) + Counter(results)
        self._open: dict[Value, tuple[Value, Value]] = {}
        self.ops: list[Op] = []
        for op in ops:
            if op.stage == LATE and op.name in SUMS:
                self._add(op)
            elif op.name in MOVES and self._is_whole(op.inputs[0]):
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
        self.ops.append(Op(op.name, op.call, inputs, outputs))
        return outputs


def _sum(terms, output):
    return Op("add", partial(_add, output.shape), terms, [output])


def _add(shape, *arrays):
    return [lax.add(*(jnp.broadcast_to(array, shape) for array in arrays))]
