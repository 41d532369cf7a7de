"""Tier 4: numbers that others have published."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import digamma, polygamma

import jaxrnn as jr
from validation import mean_field
from validation.ladder.problems import growth_rates, rates_of_map
from validation.ladder.row import Row, number


def henon() -> Iterator[Row]:
    """The Hénon map at a = 1.4, b = 0.3."""

    def step(_, h, x):
        return jnp.stack([1 - 1.4 * h[0] ** 2 + h[1], 0.3 * h[0]]), x

    found = rates_of_map(step, [0.1, 0.1], 200_000, 1000)
    source = "Hénon, 1976; digits of Sprott, Chaos and Time-Series Analysis, 2003"
    yield number("exponents of the Hénon map", source, found.rates, [0.4192, -1.6232], 5e-3)
    dimension = found.kaplan_yorke_dimension
    yield number("its Kaplan-Yorke dimension", source, dimension, 1.2583, 2e-3)


def lorenz() -> Iterator[Row]:
    """The Lorenz flow at σ = 10, ρ = 28, β = 8/3, by Runge-Kutta steps of 0.01."""
    dt = 0.01

    def flow(u):
        return jnp.stack([10 * (u[1] - u[0]), u[0] * (28 - u[2]) - u[1], u[0] * u[1] - 8 / 3 * u[2]])

    def step(_, h, x):
        a = flow(h)
        b = flow(h + dt / 2 * a)
        c = flow(h + dt / 2 * b)
        return h + dt / 6 * (a + 2 * b + 2 * c + flow(h + dt * c)), x

    found = rates_of_map(step, [1.0, 1.0, 20.0], 102_000, 2000)
    source = "Lorenz, 1963; digits of Sprott, Chaos and Time-Series Analysis, 2003"
    yield number("exponents of the Lorenz flow, 1000 time units", source, found.rates / dt,
                 [0.906, 0, -14.572], 0.03, digits=3)  # fmt: skip
    yield number("its Kaplan-Yorke dimension", source, found.kaplan_yorke_dimension, 2.062, 2e-3, digits=3)


def ginibre() -> Iterator[Row]:
    """Products of Gaussian matrices: exponents, and the spread that they have after T steps."""
    n, T = 6, 4000
    halves = (n - np.arange(n)) / 2
    exact = 0.5 * (np.log(2) + digamma(halves))
    spread = np.sqrt(polygamma(1, halves) / 4 / T)
    source = "Newman, The distribution of Lyapunov exponents, 1986"
    for dtype in ("float64", "float32"):
        js = jnp.asarray(np.random.default_rng(0).normal(size=(T, n, n)), dtype)
        z = np.max(np.abs(np.asarray(growth_rates(js).rates, float) - exact) / spread)
        claim = f"exponents of Gaussian products, n = {n}, {dtype}"
        yield Row(claim, source, "\\|z\\| < 4", f"{z:.1f}", bool(z < 4))


def mean_field_exponents() -> Iterator[Row]:
    """One network of 1000 units a gain, where the theory is within its fluctuations."""
    source = "mean field: Sompolinsky, Crisanti & Sommers, 1988; Engelken, Wolf & Abbott, 2023"
    for g in (2.0, 3.0, 5.0):
        got = float(mean_field.leading_rate(*mean_field.network(g, 1000, 0)))
        truth = mean_field.exponent(g)
        yield number(f"λ₁ of h = W tanh(h), g = {g:g}, n = 1000", source, got, truth, round(0.02 * truth, 4))


def influence_balancing() -> Iterator[Row]:
    """A gradient that truncation turns around, up to a window of 40 steps."""
    cell, T = jr.tasks.influence_balancing().cell, 120
    last = jnp.zeros((1, T)).at[0, -1].set(1.0)
    batch = jr.Batch(jnp.zeros((1, T, 1)), jnp.zeros((1, T)), last)

    def derivative(make):
        estimator = make(cell.step, lambda theta, y, target: y[0] + 0 * (theta + target))
        theta, s_0 = jnp.asarray(0.5), jnp.ones((1, 23))
        run = jax.jit(lambda theta: estimator.estimate(theta, estimator.init(theta, s_0), batch, None)[0])
        return float(run(theta).grads)

    source = "the chain of Tallec & Ollivier, 2017"
    full = derivative(jr.gradients.full)
    yield number("influence balancing: the derivative in the long run", source, full, -6, 1e-4)
    got = [derivative(partial(jr.gradients.sliding, window=K)) for K in (1, 10, 40)]
    claim = "the same, truncated to windows of 1, 10 and 40"
    yield number(claim, source, got, [1, 10, 0.566], 5e-4, digits=3)


def curse_of_memory() -> Iterator[Row]:
    """E(dh/dλ)² = (1 + λ²)/(1 - λ²)³ for h ← λh + x with white x."""
    T, forget = 400_000, 200
    xs = jax.random.normal(jax.random.key(0), (T, 1))
    source = "Zucchet & Orvieto, 2024"
    for decay in (0.5, 0.9):
        params = {"W_hx": jnp.ones((1, 1)), "W_hh": jnp.full((1, 1), decay), "b_h": jnp.zeros(1)}
        run = jax.jit(partial(jr.gradients.by_hand.forward_recursion, activation="linear"))
        found = run(params, jnp.zeros(1), xs)
        got = float(jnp.mean(found.a[forget:, 0, 1] ** 2))
        truth = (1 + decay**2) / (1 - decay**2) ** 3
        claim = f"E(dh/dλ)² of h ← λh + x, λ = {decay:g}"
        yield number(claim, source, got, truth, float(f"{0.03 * truth:.1g}"), digits=2)


def baselines() -> Iterator[Row]:
    """What the constant answers to the classic tasks cost."""
    batch = jr.tasks.adding(length=20, batch_size=100_000).sample(jax.random.key(0))
    got = float(jnp.mean((batch.targets[:, -1, 0] - 1) ** 2))
    source = "Arjovsky, Shah & Bengio, 2016"
    yield number("adding: squared error of the answer 1", source, got, 0.167, 2e-3, digits=3)
    task = jr.tasks.copying(length=120)
    batch = task.sample(jax.random.key(0))
    # A memoryless network knows the blanks and guesses among 8 symbols in the last 10 steps.
    logits = jnp.where(
        jnp.arange(120)[:, None] < 110, -1e3 * (jnp.arange(9) != 8), -1e3 * (jnp.arange(9) == 8)
    )
    step_loss = partial(jr.losses.softmax_cross_entropy, None)
    got = float(jnp.mean(jax.vmap(jax.vmap(step_loss), (None, 0))(logits, batch.targets)))
    source = "Arjovsky, Shah & Bengio, 2016: 10 ln 8/(T + 20), T = 100"
    yield number("copying: cross entropy without memory", source, got, 10 * np.log(8) / 120, 1e-5, digits=5)


CHECKS = (henon, lorenz, ginibre, mean_field_exponents, influence_balancing, curse_of_memory, baselines)
