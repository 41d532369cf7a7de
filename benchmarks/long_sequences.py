"""The exact gradient of long sequences: segments against one scan, `jax.checkpoint`, and truncation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxrnn as jr
from benchmarks import harness
from benchmarks.harness import Case, Report, measure
from jaxrnn.recurrence import scan

TITLE = "Long sequences"
B, D, H = 8, 8, 128


def run() -> Report:
    """One table for T = 10^4 and one for T = 10^5."""
    lengths = ((10_000, 7),) if harness.QUICK else ((10_000, 7), (100_000, 3))
    return Report([_of_length(T, rounds) for T, rounds in lengths])


def _of_length(T, rounds):
    cell = jr.cells.elman(D, H)
    params = cell.init(jax.random.key(0))
    h_0, xs = cell.initial_states(params, B), jax.random.normal(jax.random.key(1), (T, B, D))

    def energy_of_sequence(params, h, x):
        h, y = cell.step(params, h, x)
        return h, 0.5 * jnp.sum(y**2) / (T * B * H)

    energy = jax.vmap(energy_of_sequence, in_axes=(None, 0, 0))

    def plain(params, h_0, xs):
        h, losses = lax.scan(lambda h, x: energy(params, h, x), h_0, xs)
        return jnp.sum(losses), h

    def in_segments(of_segment, size):
        def total(params, h_0, xs):
            def segment(h, xs):
                loss, h = of_segment(params, h, xs)
                return h, loss

            return jnp.sum(lax.scan(segment, h_0, xs.reshape(-1, size, B, D))[1]), ()

        return total

    def truncated(size):
        def gradient(params, h_0, xs):
            def chunk(carry, xs):
                h, grads = carry
                (loss, h), more = jax.value_and_grad(plain, has_aux=True)(params, h, xs)
                return (h, jax.tree.map(jnp.add, grads, more)), loss

            start = h_0, jax.tree.map(jnp.zeros_like, params)
            (_, grads), losses = lax.scan(chunk, start, xs.reshape(-1, size, B, D))
            return jnp.sum(losses), grads

        return gradient

    def ours(segment):
        def total(params, h_0, xs):
            return jnp.sum(scan(energy, params, h_0, xs, segment=segment)[1]), ()

        return total

    def gradient(total):
        def of(params, h_0, xs):
            (loss, _), grads = jax.value_and_grad(total, has_aux=True)(params, h_0, xs)
            return loss, grads

        return of

    functions = {
        "plain JAX: grad over lax.scan": gradient(plain),
        "plain JAX: jax.checkpoint, segments of 100": gradient(in_segments(jax.checkpoint(plain), 100)),
        "plain JAX: truncated, chunks of 100": truncated(100),
        "plain JAX: truncated, chunks of 400": truncated(400),
        "jaxrnn: exact, segment chosen": gradient(ours(None)),
        "jaxrnn: exact, segment=100": gradient(ours(100)),
        "jaxrnn: exact, segment=250": gradient(ours(250)),
    }
    arguments = params, h_0, xs
    timings = measure(
        [Case(name, function, arguments) for name, function in functions.items()], rounds=rounds
    )
    exact = jax.tree.leaves(jax.jit(functions["plain JAX: grad over lax.scan"])(*arguments))
    for name in functions:
        if name.startswith("jaxrnn"):
            for got, expected in zip(
                jax.tree.leaves(jax.jit(functions[name])(*arguments)), exact, strict=True
            ):
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.max(np.abs(expected)))
    return f"elman, T = {T}, B = {B}, d = {D}, H = {H}", timings
