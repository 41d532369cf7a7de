"""How far a parameter moves the state that a network reaches: the gradient that explodes at a bifurcation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.dynamics._along import step_along
from jaxrnn.types import Params, State, StepFn

__all__ = ["Sensitivity", "sensitivity"]


@result_type
class Sensitivity(NamedTuple):
    """Where T steps lead at each of V values of a parameter, and how fast that moves with it."""

    values: Float[Array, "*B V"]
    """The parameter s."""
    states: State
    """h_T, leaves [V, ...]."""
    log_gradient: Float[Array, "*B V"]
    """``ln ‖dh_T/ds‖₂``; also of gradients that would overflow."""


@_checks.signature("dynamics.sensitivity")
@where_it_lies
def sensitivity(
    step: StepFn,
    at: Callable[..., tuple[Params, PyTree]],
    values: Float[Array, " V"],
    h_0: State,
    *,
    steps: int,
) -> Sensitivity:
    """The state after so many steps from h_0, and the norm of its gradient by a parameter s, at each s.

    ``dh_t/ds = J_t dh_{t-1}/ds + ∂F/∂s``: where the fixed point that attracts h_0 is stable, this ends at
    ``(I - J)⁻¹ ∂F/∂s``; where an eigenvalue of J comes near 1 it is large; and where s changes to which
    attractor h_0 is led, it grows exponentially with T. The gradient of any loss of h_T by s is a product
    with it.

    Parameters
    ----------
    step, at : as for `continuation`, such as ``lambda w: ({**params, "W_hh": w * W}, x)``.
    values : s, [V].
    h_0 : where to start, a state, the same for all.
    steps : T.

    Returns
    -------
    Sensitivity

    Raises
    ------
    TypeError, ValueError
        If h_0 is no state of that step, or steps < 1.

    Notes
    -----
    Time: T steps and their tangents for each value, forward; memory one state each. The tangent is kept at a
    norm of at most 1 with its logarithm beside it, so that it cannot overflow.

    Example
    -------
    >>> step = lambda w, h, x: (jnp.tanh(w * h), h)
    >>> ws = jnp.array([0.5, 1.0, 2.0])
    >>> found = sensitivity(step, lambda w: (w, None), ws, jnp.array([0.5]), steps=100)
    >>> [round(float(nats), 1) for nats in found.log_gradient]
    [-64.7, 1.8, -2.3]

    Reference
    ---------
    Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, 2013.
    """
    name = "dynamics.sensitivity"
    steps = _checks.at_least(name, "steps", steps, 1)
    flat, unravel, displaced = step_along(name, step, at, h_0, 0.0)

    def of_value(s):
        def advance(carry, _):
            h, v, log_size = carry
            h, v = jax.jvp(displaced, (h, s), (v, jnp.exp(-log_size)))
            size = jnp.maximum(tree_norm(v), 1)
            return (h, v / size, log_size + jnp.log(size)), None

        zero = jnp.zeros((), flat.dtype)
        (h, v, log_size), _ = lax.scan(advance, (flat, jnp.zeros_like(flat), zero), length=steps)
        return unravel(h), jnp.log(tree_norm(v)) + log_size

    values = values.astype(flat.dtype)
    return Sensitivity(values, *jax.vmap(of_value)(values))
