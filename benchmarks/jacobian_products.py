"""∂h_T/∂h_k for every k: `last_products` against differentiating through segments, and its bare parts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

import jaxrnn as jr
from benchmarks import harness
from benchmarks.harness import Case, Report, measure

TITLE = "∂h_T/∂h_k for every k"
EACH = 8
"""How many k stand for all in the slowest case: its times are those of evenly spaced ones, scaled up."""


def run() -> Report:
    """Tables for the Elman cell and the GRU."""
    T, n = (64, 32) if harness.QUICK else (1000, 128)
    return Report([_compare(name, T, n) for name in ("elman", "gru")])


def _compare(name, T, n):
    cell = getattr(jr.cells, name)(16, n)
    key_params, key_x = jax.random.split(jax.random.key(0))
    params = cell.init(key_params)
    xs = jax.random.normal(key_x, (T, 16))
    trajectory = jr.unroll(cell.step, params, cell.init_state(params), xs)

    def one_k(k):
        """[1, n, n]: ∂h_T/∂h_k by reverse mode through T - k steps, the segment's exact length."""

        def jacobian(params, trajectory):
            def last(h_k):
                return lax.scan(lambda h, x: (cell.step(params, h, x)[0], None), h_k, trajectory.xs[k:])[0]

            return jax.jacrev(last)(trajectory.h_tm1s[k])[None]

        return jacobian

    def by_perturbations(params, trajectory):
        """One reverse pass: add ε_k to h_k, and differentiate h_T with respect to all ε."""

        def last(eps):
            def body(h, inputs):
                x, e = inputs
                return cell.step(params, h + e, x)[0], None

            return lax.scan(body, trajectory.h_0, (trajectory.xs, eps))[0]

        return jnp.swapaxes(jax.jacrev(last)(jnp.zeros((T, n))), 0, 1)

    def ours(params, trajectory):
        return jr.jacobians.last_products(cell.step, params, trajectory)

    def bare_products(W):
        return lax.scan(lambda M, _: (M @ W, M), jnp.eye(n), length=T)[1]

    def bare_result(W):
        return jnp.broadcast_to(W, (T, n, n))

    arguments, W = (params, trajectory), jax.random.orthogonal(key_x, n)
    sampled = range(T // (2 * EACH), T, T // EACH)
    each_k, *others = measure(
        [
            Case(
                f"plain JAX: one jacrev per k ({EACH} of {T} timed)", [one_k(k) for k in sampled], arguments
            ),
            Case("plain JAX: one jacrev, perturbed states", by_perturbations, arguments),
            Case("jacobians.last_products", ours, arguments),
            Case("plain JAX: T products of n x n matrices", bare_products, (W,)),
            Case("plain JAX: T copies of one matrix", bare_result, (W,)),
        ],
        rounds=9,
    )
    products = [every_k(*arguments) for every_k in (ours, by_perturbations)]
    for k in (T - 1, T - 8, T - 60):  # of longer lags, single precision loses entries to underflow
        reference = one_k(k)(*arguments)[0]
        for found in products:
            assert jnp.max(jnp.abs(found[k] - reference)) < 1e-5 * jnp.max(jnp.abs(reference))
    return f"{name}, T = {T}, n = {n}", [each_k.times(T / EACH), *others]
