"""Mixed precision: matrix products of rounded operands, with everything else as it was."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from jaxrnn import _checks
from jaxrnn._operations import PRODUCTS
from jaxrnn._trace import bind, results
from jaxrnn.types import StepFn

__all__ = ["mixed_precision"]

_BITS = jnp.finfo(jnp.bfloat16).nexp, jnp.finfo(jnp.bfloat16).nmant


@_checks.signature("mixed_precision")
def mixed_precision(step: StepFn) -> StepFn:
    """The same step, with the operands of its matrix products rounded to bfloat16.

    ``W h`` becomes ``R(W) R(h)``, where R rounds; the sum, and all that is no product, stays as precise as it
    was: states, parameters, their gradients, activations. It holds for derivatives as well: the products of
    the backward pass are ``R(W)ᵀ R(δ_t)`` and, for the weights, ``Σ_t R(δ_t) R(h_{t-1})ᵀ`` (E8).

    Parameters
    ----------
    step : the recurrence of one sequence.

    Returns
    -------
    step
        Of the same signature, for `unroll`, every estimator and all of `jacobians`; for a whole network,
        ``cell._replace(step=mixed_precision(cell.step))``.

    Notes
    -----
    What it does to a gradient is measured by ``gradients.fidelity(full(mixed_precision(step), loss),
    full(step, loss), ...)``. The products ask for the hardware's quickest way (`jax.lax.Precision.DEFAULT`:
    TF32 or bfloat16 on accelerators, which hold all digits of rounded operands), whatever precision the
    step asks for. A CPU gains no time, and gives the same numbers up to the order of sums.

    Products of two float32 or two float64 arrays are rounded, convolutions too. Those inside a `lax.scan`,
    `lax.cond`, `jax.checkpoint` or custom derivative of the step itself stay as they are.

    Example
    -------
    >>> step = mixed_precision(lambda w, h, x: (jnp.dot(w, h) + x, h))
    >>> step(jnp.array([[1.001]]), jnp.array([1.0]), jnp.array([0.0]))[0]
    Array([1.], dtype=float32)
    """

    def rounded_step(params, h_tm1, x_t):
        closed, shapes = jax.make_jaxpr(step, return_shape=True)(params, h_tm1, x_t)
        leaves = jax.tree.leaves((params, h_tm1, x_t))
        outputs = results(closed.jaxpr, closed.consts, leaves, _of_equation)
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return rounded_step


def _of_equation(eqn, inputs):
    dtypes = {x.dtype.name for x in inputs} if eqn.primitive.name in PRODUCTS else None
    if dtypes not in ({"float32"}, {"float64"}):
        return bind(eqn, *inputs)
    (product,) = bind(eqn, *map(_rounded.bind, inputs), precision=lax.Precision.DEFAULT)
    return [_rounded_back.bind(product)]


def _round(x):
    return lax.reduce_precision(x, *_BITS)


def _leave(x):
    return x


def _primitive(name, call):
    primitive = core.Primitive(name)
    primitive.def_impl(call)
    primitive.def_abstract_eval(_leave)
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=False))
    batching.defvectorized(primitive)
    return primitive


# One rounds its operand and the other one the cotangent on the way back: each is the other's transpose. So
# the operands of a product are rounded in its derivatives, too, and the sums are not.
_rounded, _rounded_back = _primitive("rounded", _round), _primitive("rounded_back", _leave)
ad.deflinear2(_rounded, lambda ct, _: [_rounded_back.bind(ct)])
ad.deflinear2(_rounded_back, lambda ct, _: [_rounded.bind(ct)])
