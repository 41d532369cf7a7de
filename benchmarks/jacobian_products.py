"""∂h_T/∂h_k for every k: step Jacobians and their products against differentiating through the segments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

import jaxrnn as jr
from benchmarks.harness import Case, measure, table

TITLE = "∂h_T/∂h_k for every k"


def run() -> str:
    """Two tables for the GRU; one program a k is compiled for the first, so T is kept small there."""
    return f"{_compare(48, 64, with_each_k=True)}\n\n{_compare(400, 128, with_each_k=False)}"


def _compare(T, n, *, with_each_k):
    cell = jr.cells.gru(16, n)
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

    def by_products(params, trajectory):
        js = jr.jacobians.step_jacobians(cell.step, params, trajectory)
        _, products = lax.scan(lambda M, J: (M @ J, M @ J), jnp.eye(n), js, reverse=True)
        return products

    arguments = (params, trajectory)
    cases = [
        Case("plain JAX: one jacrev, perturbed states", by_perturbations, arguments),
        Case("step_jacobians and one product a step", by_products, arguments),
    ]
    if with_each_k:
        every_k = [one_k(k) for k in range(T)]
        cases.insert(0, Case("plain JAX: one jacrev per k", every_k, arguments))
    timings = measure(cases)
    some = range(0, T, T // 4)
    reference = jnp.concatenate([one_k(k)(*arguments) for k in some])
    assert jnp.allclose(by_products(*arguments)[jnp.array(some)], reference, atol=1e-5)
    assert jnp.allclose(by_perturbations(*arguments)[jnp.array(some)], reference, atol=1e-5)
    return f"gru, T = {T}, n = {n}\n\n{table(timings)}"
