"""From one start downhill on ½‖F(h) - h‖²: with Jacobians, or with gradients only."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxrnn.dynamics._solve import damped_step, norm

__all__ = ["gradient_descent", "least_squares"]


def gradient_descent(displacement, tolerance, optimizer, iterations, start):
    """(end, ‖F(h) - h‖, iterations) from one start: the best of all states on the way."""
    optimizer = optax.with_extra_args_support(optimizer)

    def q(h):
        return jnp.sum(displacement(h) ** 2) / 2

    def unfinished(state):
        _, best, lowest, value, _, i = state
        done = jnp.sqrt(2 * lowest) <= tolerance * (1 + norm(best))
        return ~done & jnp.isfinite(value) & (i < iterations)

    def improve(state):
        h, best, lowest, _, memory, i = state
        value, gradient = jax.value_and_grad(q)(h)
        update, memory = optimizer.update(gradient, memory, h, value=value, grad=gradient, value_fn=q)
        h = h + update
        value = q(h)
        better = value < lowest
        return h, jnp.where(better, h, best), jnp.where(better, value, lowest), value, memory, i + 1

    first = q(start)
    state = (start, start, first, first, optimizer.init(start), jnp.zeros((), jnp.int32))
    _, best, lowest, _, _, used = lax.while_loop(unfinished, improve, state)
    return best, jnp.sqrt(2 * lowest), used


def least_squares(displacement, tolerance, iterations, start):
    """(end, ‖F(h) - h‖, iterations) from one start."""
    eps = jnp.finfo(start.dtype).eps

    def with_value(h):
        r = displacement(h)
        return r, r

    def unfinished(state):
        _, _, _, done, i = state
        return ~done & (i < iterations)

    def improve(state):
        h, residual, damping, _, i = state
        A, r = jax.jacfwd(with_value, has_aux=True)(h)
        square = jnp.sum(A**2)
        shift = (damping * jnp.minimum(residual, 1) + eps) * jnp.where(square > 0, square / len(h), 1)
        d = damped_step(A, r, shift)
        new = norm(displacement(h + d))
        predicted, actual = residual**2 - norm(r + A @ d) ** 2, residual**2 - new**2
        accept = new < residual  # not where it is NaN
        gain = jnp.where(accept, actual / predicted, 0)
        factor = jnp.where(gain > 0.75, 0.1, jnp.where(gain < 0.25, 5.0, 1.0)).astype(h.dtype)
        size = 1 + norm(h)
        there = (residual <= eps * size) | ((residual <= tolerance * size) & ~(new < residual / 2))
        stuck = norm(d) <= eps * norm(h)
        minimum = norm(r @ A) <= eps**0.75 * jnp.sqrt(square) * residual
        done = there | stuck | minimum | ~jnp.isfinite(residual)
        h, residual = jnp.where(accept, h + d, h), jnp.where(accept, new, residual)
        return h, residual, jnp.clip(damping * factor, 1e-6, 1e12), done, i + 1

    first = norm(displacement(start))
    state = (start, first, jnp.ones_like(first), ~jnp.isfinite(first), jnp.zeros((), jnp.int32))
    end, residual, _, _, used = lax.while_loop(unfinished, improve, state)
    return end, residual, used
