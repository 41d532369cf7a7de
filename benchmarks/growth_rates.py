"""The leading 10 growth rates of n = 128: their cost over bare propagation, and against lyapax."""

from __future__ import annotations

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxrnn as jr
from benchmarks.harness import Case, Report, measure

TITLE = "Leading growth rates"
T, N, K = 1000, 128, 10


def run() -> Report:
    """Tables for T = 1000 random step Jacobians, and for a chaotic network."""
    return Report([_of_jacobians(), _of_network()])


def _of_jacobians():
    js = jax.random.normal(jax.random.key(0), (T, N, N)) / jnp.sqrt(N)
    timings = measure(
        [
            Case("plain JAX: products with 10 directions, nothing else", _propagate, (js,)),
            Case("plain JAX: a QR every step", _qr_every_step, (js,)),
            Case("jacobians.growth_rates", lambda js: jr.jacobians.growth_rates(js, k=K), (js,)),
        ],
        rounds=15,
    )
    return f"random J_t, T = {T}, n = {N}, k = {K}", timings


def _of_network():
    """h = W tanh(h) with gain 2, from the step function to the rates; float64, as lyapax asks for."""

    def step(W, h, x):
        del x
        return jnp.tanh(W @ h), ()

    def ours(W, h_0):
        trajectory = jr.unroll(step, W, h_0, None, length=T)
        return jr.jacobians.leading_growth_rates(step, W, trajectory, k=K).rates

    def of_lyapax(every):
        from lyapax import lyapunov_spectrum

        def rates(W, h_0):
            return lyapunov_spectrum(
                lambda h: jnp.tanh(W @ h), h_0, 1.0, T, k=K, renorm_every=every
            ).exponents

        return rates

    with jax.enable_x64(True):
        W = 2 / np.sqrt(N) * jax.random.normal(jax.random.key(0), (N, N), jnp.float64)
        arguments = W, jax.random.normal(jax.random.key(1), (N,), jnp.float64)
        cases = [Case("jacobians.leading_growth_rates, with the trajectory", ours, arguments)]
        if importlib.util.find_spec("lyapax"):
            cases += [
                Case(f"lyapax: lyapunov_spectrum, QR every {every}", of_lyapax(every), arguments)
                for every in (1, 5)
            ]
        timings = measure(cases, rounds=15)
        found = np.array([jax.jit(case.functions)(*arguments) for case in cases])
    # They begin with other directions, and so differ by what it takes these to turn.
    np.testing.assert_allclose(found, found[:1].repeat(len(found), 0), atol=0.02)
    return f"h = W tanh(h), T = {T}, n = {N}, k = {K}, float64", timings


def _propagate(js):
    # Random J of gain 1 keep the directions in range.
    return lax.scan(lambda Q, J: (jnp.matmul(J, Q, precision="highest"), None), jnp.eye(N, K), js)[0]


def _qr_every_step(js):
    def step(carry, J):
        Q, total = carry
        Q, R = jnp.linalg.qr(jnp.matmul(J, Q, precision="highest"))
        return (Q, total + jnp.log(jnp.abs(jnp.diagonal(R)))), None

    return lax.scan(step, (jnp.eye(N, K), jnp.zeros(K)), js)[0][1] / T
