"""A step as a function of its state and of one number that its parameters, or its input, depend on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrnn import _checks
from jaxrnn._pytree import ravel

__all__ = ["step_along"]


def step_along(function, step, at, h, s):
    """Flat h, how it is unraveled, (flat h, s) -> flat F(h, s); an error of `function` if h is no state."""
    _checks.floating_leaves(function, "state", h, "Let tokens, keys and counters travel in the input.")
    flat, unravel = ravel_pytree(h)
    if not flat.size:
        raise ValueError(f"{function}: the state is empty (n = 0); a network without memory never rests.")
    given = jax.eval_shape(at, jnp.asarray(s, flat.dtype))
    if not (isinstance(given, tuple) and len(given) == 2):
        raise TypeError(f"{function}: at returned {type(given).__name__}; expected the pair (params, x).")
    _checks.step_keeps_state(function, step, given[0], h, given[1])

    def displaced(flat, s):
        params, x = at(s.astype(flat.dtype))
        return ravel(step(params, unravel(flat), x)[0])

    return flat, unravel, displaced
