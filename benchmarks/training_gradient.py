"""Loss and gradient of a batch: `gradients.full` and `.chunked` against `jax.grad` over `lax.scan`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

import jaxrnn as jr
from benchmarks.harness import Case, measure, table

TITLE = "Training gradient"
T, B, D, H, OUT, K = 100, 32, 28, 128, 10, 16


def run() -> str:
    """One table a cell, (T, B, d, H) = (100, 32, 28, 128), with a readout of 10 classes."""
    makers = {"elman": jr.cells.elman, "gru": jr.cells.gru, "lstm": jr.cells.lstm}
    return "\n\n".join(f"{name}, {_SIZES}\n\n{table(_of_cell(make))}" for name, make in makers.items())


_SIZES = f"T = {T}, B = {B}, d = {D}, H = {H}, {OUT} outputs"


def _of_cell(make):
    cell = jr.cells.stack(make(D, H), jr.cells.dense(H, OUT))
    key_params, key_x, key_y = jax.random.split(jax.random.key(0), 3)
    params = cell.init(key_params)
    xs = jax.random.normal(key_x, (B, T, D))
    batch = jr.Batch(xs, jax.random.randint(key_y, (B, T), 0, OUT))
    h_0 = cell.initial_states(params, B)

    def naive(params, h_0, batch):
        """What one writes without a library: the cell's step, vmapped over the batch, in one scan."""

        def loss(params):
            step = jax.vmap(cell.step, in_axes=(None, 0, 0))
            _, logits = lax.scan(lambda h, x: step(params, h, x), h_0, jnp.swapaxes(batch.xs, 0, 1))
            log_p = jax.nn.log_softmax(logits)
            targets = jnp.swapaxes(batch.targets, 0, 1)[..., None]
            return -jnp.mean(jnp.take_along_axis(log_p, targets, axis=-1))

        return jax.value_and_grad(loss)(params)

    def estimate(estimator):
        def loss_and_gradient(params, h_0, batch):
            carry = estimator.init(params, h_0)
            return tuple(estimator.estimate(params, carry, batch, jax.random.key(0))[0])

        return loss_and_gradient

    loss = jr.losses.softmax_cross_entropy
    full = estimate(jr.gradients.full(cell.step, loss))
    chunked = estimate(jr.gradients.chunked(cell.step, loss, window=K))
    arguments = (params, h_0, batch)
    timings = measure(
        [
            Case("plain JAX: grad over lax.scan", naive, arguments),
            Case("gradients.full", full, arguments),
            Case(f"gradients.chunked, K = {K} (truncated)", chunked, arguments),
        ],
        rounds=21,
    )
    for ours, plain in zip(*(jax.tree.leaves(jax.jit(f)(*arguments)) for f in (full, naive)), strict=True):
        assert jnp.allclose(ours, plain, atol=1e-5)
    return timings
