"""What an estimate of the gradient costs: every estimator against full BPTT."""

from __future__ import annotations

import jax

import jaxrnn as jr
from benchmarks import harness
from benchmarks.harness import Case, Report, measure

TITLE = "Gradient estimators"
T, B, D, K = 50, 2, 8, 10


def run() -> Report:
    """One table for each n = 32, 64 and 128 units of an Elman network."""
    sizes = (32,) if harness.QUICK else (32, 64, 128)
    return Report([(f"Elman, n = {n}, T = {T}, B = {B}, d = {D}", _of_size(n)) for n in sizes])


def _of_size(n):
    cell = jr.cells.stack(jr.cells.elman(D, n), jr.cells.dense(n, D))
    key_params, key_x, key_y = jax.random.split(jax.random.key(0), 3)
    params = cell.init(key_params)
    batch = jr.Batch(jax.random.normal(key_x, (B, T, D)), jax.random.normal(key_y, (B, T, D)))
    arguments = (params, cell.initial_states(params, B), batch)
    gradients, loss = jr.gradients, jr.losses.squared_error
    trajectory = jr.unroll(cell.step, params, cell.init_state(params), batch.xs[0, :4])
    pattern = gradients.influence_pattern(cell.step, params, trajectory)
    estimators = {
        "full": gradients.full(cell.step, loss),
        f"chunked, K = {K}": gradients.chunked(cell.step, loss, window=K),
        f"chunked, K = {K}, every 2": gradients.chunked(cell.step, loss, window=K, every=2),
        f"sliding, K = {K}": gradients.sliding(cell.step, loss, window=K),
        "randomized, π = 0.9": gradients.randomized(cell.step, loss, keep=0.9),
        "adaptive, 10 %, at most 25": gradients.adaptive(cell.step, loss, tolerance=0.1, max_window=25),
        "rtrl": gradients.rtrl(cell.step, loss),
        "snap 1": gradients.snap(cell.step, loss, pattern=pattern),
        "uoro": gradients.uoro(cell.step, loss),
        "forward, 1 direction": gradients.forward(cell.step, loss),
    }

    def case(name, estimator):
        def gradient(params, h_0, batch):
            carry = estimator.init(params, h_0)
            return estimator.estimate(params, carry, batch, jax.random.key(0))[0].grads

        return Case(f"gradients.{name}", gradient, arguments)

    return measure([case(*item) for item in estimators.items()], rounds=7)
