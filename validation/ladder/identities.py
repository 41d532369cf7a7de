"""Tier 2: two ways to the same number, which hold for any network and any seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as jr
from validation.ladder.problems import CELLS, chain_of, estimate, growth_rates, norms, problem, product_of
from validation.ladder.problems import spectrum as spectrum_of
from validation.ladder.row import DTYPES, Row, below, cast, equal, relative, unbiased

DRAWS = 4000


def products() -> Iterator[Row]:
    """E12: the product of the step Jacobians is the Jacobian of the segment."""
    for name, cell in CELLS.items():
        params, trajectory, js = chain_of(cell, 20)
        for dtype, bar in DTYPES.items():
            truth = product_of(cell, *cast((params, trajectory), dtype), 17, 4)
            got = np.linalg.multi_dot(list(np.asarray(js, dtype)[4:17][::-1]))
            claim = f"J_17 ··· J_5, {name}, {dtype}"
            yield below(claim, "`jax.jacrev` through the segment (E12)", relative(got, truth), bar)


def determinants() -> Iterator[Row]:
    """Volumes: growth rates and singular values add up to determinants."""
    js = jnp.asarray(np.random.default_rng(1).normal(size=(500, 5, 5)))
    truth = np.sum(np.linalg.slogdet(np.asarray(js))[1])
    for dtype, bar in (("float64", 1e-12), ("float32", 1e-5)):
        got = np.sum(np.asarray(growth_rates(js.astype(dtype)).rates, float))
        error = abs(got / (truth / 500) - 1)
        yield below(f"Σ λ_i, 500 random steps, {dtype}", "mean ln \\|det J_t\\|, NumPy", error, bar)
    got = np.sum(spectrum_of(js).log_sigma)
    yield below("Σ ln σ_i of their product", "Σ ln \\|det J_t\\|, NumPy", abs(got / truth - 1), 1e-12)


def all_pairs() -> Iterator[Row]:
    """What norms of products must satisfy: E14, the triangle of splits, and the transposed chain."""
    T = 40
    params, _, js = chain_of(CELLS["tanh"], T)
    table, error = (np.asarray(part) for part in norms(js)[:2])
    lags = np.arange(T + 1)[:, None] - np.arange(T + 1)
    worst, total = -np.inf, 0
    for s in range(T + 1):
        late, early = (slice(s, None), slice(s, s + 1)), (slice(s, s + 1), slice(0, s + 1))
        both = (slice(s, None), slice(0, s + 1))
        excess = table[both] - table[late[0], early[0]] - table[early]
        allowed = error[both] + error[late[0], early[0]] + error[early]
        worst, total = np.maximum(worst, np.max(excess - allowed)), total + excess.size
    claim = f"‖P(t, k)‖ ≤ ‖P(t, s)‖ ‖P(s, k)‖, {total} triples"
    yield below(claim, "largest excess over the error bounds, nats", np.maximum(worst, 0), 0.0)
    bound = np.asarray(jr.jacobians.norm_bound(params[0]["W_hh"], np.maximum(lags, 0)))
    excess = np.max(np.where(lags >= 0, table - error - bound, -np.inf))
    yield below("‖P(t, k)‖ ≤ (γλ)^(t-k), all pairs", "E14; largest excess, nats", np.maximum(excess, 0), 0.0)
    mirrored = np.asarray(norms(jnp.swapaxes(js[::-1], 1, 2)).log_norm)[::-1, ::-1].T
    finite = lags >= 0
    error = np.max(np.abs(mirrored[finite] - table[finite]))
    yield below("ln norms of all pairs", "those of the transposed chain, from its end", error, 1e-12)


def sums_of_terms() -> Iterator[Row]:
    """Sums of terms, and estimators that leave none out, are the full gradient."""
    for name, cell in CELLS.items():
        args = problem(cell)
        truth = estimate(jr.gradients.full, cell, args).grads
        terms = jax.jit(partial(jr.gradients.decompose, cell.step, jr.losses.squared_error))(*args)
        total = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), terms.by_lag)
        claim = f"all terms of the double sum, {name}"
        yield below(claim, "`full` (E10)", relative(total, truth), DTYPES["float64"])
    cell = CELLS["LSTM"]
    args = problem(cell)
    truth = estimate(jr.gradients.full, cell, args).grads
    for name, make in {
        "rtrl": jr.gradients.rtrl,
        "sliding, window ≥ T": partial(jr.gradients.sliding, window=12),
        "chunked, window ≥ T": partial(jr.gradients.chunked, window=50),
        "randomized, keep = 1": partial(jr.gradients.randomized, keep=1.0),
        "adaptive, max_window ≥ T, tolerance 10⁻¹⁵": partial(
            jr.gradients.adaptive, tolerance=1e-15, max_window=12
        ),
    }.items():
        error = relative(estimate(make, cell, args).grads, truth)
        yield below(f"{name}, LSTM", "`full`", error, DTYPES["float64"])


def central_differences() -> Iterator[Row]:
    """Every entry of the gradient, from losses at w ± 1e-5."""
    for name, cell in CELLS.items():
        params, h_0, batch = problem(cell)
        flat, unravel = jax.flatten_util.ravel_pytree(params)

        def loss(flat, cell=cell, unravel=unravel, h_0=h_0, batch=batch):
            return jr.gradients.loss(cell.step, jr.losses.squared_error, unravel(flat), h_0, batch)[0]

        moves = 1e-5 * jnp.eye(flat.size)
        many = jax.jit(jax.vmap(loss))
        truth = (many(flat + moves) - many(flat - moves)) / 2e-5
        got = jax.flatten_util.ravel_pytree(estimate(jr.gradients.full, cell, (params, h_0, batch)).grads)[0]
        yield below(f"`full`, {name}", "central differences of the loss", relative(got, truth), 1e-8)


def means() -> Iterator[Row]:
    """Estimators that are right on average."""
    cell = CELLS["GRU"]
    params, h_0, batch = problem(cell, 1, 5)
    truth = estimate(jr.gradients.full, cell, (params, h_0, batch)).grads
    for name, make in {
        "randomized, keep = 0.7": partial(jr.gradients.randomized, keep=0.7),
        "artbp, mean length 3": partial(jr.gradients.artbp, mean_length=3.0),
        "uoro": jr.gradients.uoro,
        "forward, 1 direction": jr.gradients.forward,
    }.items():
        estimator = make(cell.step, jr.losses.squared_error)

        def one(key, estimator=estimator):
            return estimator.estimate(params, estimator.init(params, h_0), batch, key)[0].grads

        samples = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), DRAWS))
        yield unbiased(f"mean of {DRAWS} draws, {name}", "`full`, largest of all entries", samples, truth)


def padding() -> Iterator[Row]:
    """Steps that weigh nothing, whatever stands in them."""
    for name, cell in CELLS.items():
        params, h_0, batch = problem(cell, 2, 9)
        weights = jr.weights_from_lengths(jnp.array([9, 9]), 9)
        short = estimate(jr.gradients.full, cell, (params, h_0, batch._replace(weights=weights)))
        padded = jax.tree.map(
            lambda leaf: jnp.pad(leaf, ((0, 0), (0, 4), (0, 0)), constant_values=7.0), batch
        )
        weights = jr.weights_from_lengths(jnp.array([9, 9]), 13)
        args = (params, h_0, padded._replace(weights=weights))
        other = jax.tree.map(lambda leaf: leaf.at[:, 9:].set(-1e3), padded)
        got = estimate(jr.gradients.full, cell, args)
        yield below(f"4 padded steps, {name}", "the sequences without", relative(got, short), 1e-14)
        args = (params, h_0, other._replace(weights=weights))
        yield equal(
            f"other padding, {name}", "the first padding", estimate(jr.gradients.full, cell, args), got
        )


def seeds() -> Iterator[Row]:
    """Three seeds trained at once, against a plain loop for each."""
    cell, optimizer, key, steps = CELLS["tanh"], optax.adam(1e-2), jax.random.key(3), 40
    _, _, batch = problem(cell)
    estimator = jr.gradients.full(cell.step, jr.losses.squared_error)
    got = jr.training.train(
        cell, estimator, optimizer, [batch] * steps, steps=steps, key=key, seeds=3, progress=False
    )

    def loss(params):
        def one(xs):
            return jax.lax.scan(partial(cell.step, params), cell.init_state(params), xs)[1]

        return 0.5 * jnp.mean(jnp.sum((jax.vmap(one)(batch.xs) - batch.targets) ** 2, axis=-1))

    @jax.jit
    def update(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    errors = []
    for s, own in enumerate(jax.random.split(key, 3)):
        params = cell.init(jax.random.fold_in(own, 0))
        state = optimizer.init(params)
        for _ in range(steps):
            params, state = update(params, state)
        errors.append(relative(got.seed(s), params))
    claim = f"parameters after {steps} steps of Adam, 3 seeds at once"
    yield below(claim, "one by one, in a plain loop with `jax.grad`", np.max(errors), 1e-10)


CHECKS = (products, determinants, all_pairs, sums_of_terms, central_differences, means, padding, seeds)
