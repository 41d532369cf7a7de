"""How far the gradient of a network reaches, and how well it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn._pytree import after
from jaxrnn._result_type import result_type
from jaxrnn.diagnosis.diagnose import recurrent_profile
from jaxrnn.gradients import lag_profile, loss
from jaxrnn.jacobians import growth_rates, norms, step_jacobians
from jaxrnn.recurrence import unroll
from jaxrnn.remedies.setup import Setup
from jaxrnn.tasks import Task
from jaxrnn.types import Batch, Cell, Params

__all__ = ["Reach", "measure_reach"]


@result_type
class Reach(NamedTuple):
    """One network's; in a `Bench` with a leading axis [S] of seeds."""

    loss: Float[Array, "*S"]
    """The mean over the held-out batches."""
    growth_rate: Float[Array, "*S"]
    """The leading one, in nats per step: the median over the sequences (E15)."""
    log_norm: Float[Array, "*S L"]
    """``ln ‖∂h_T/∂h_{T-lag}‖₂`` at each lag: the median over the sequences."""
    certified: Float[Array, "*S"]
    """The share of these norms whose error bound is small enough."""
    lag_profile: Float[Array, "*S T"]
    """``‖Σ_t term(t, t-s)‖`` of E10 at lag s."""


def measure_reach(
    setup: Setup, cell: Cell, task: Task, batches: Batch, lags: Sequence[int], *, sequences: int = 2
) -> Callable[[Params], Reach]:
    """``params [S, ...] -> Reach`` of S networks on held-out batches [N, B, T, ...].

    Jacobians and the gradient by lag are those of the first sequences of the first batch. Two compiled
    programs: one of the network, and one that all networks with states of the same size share.
    """
    size, length = jax.tree.leaves(batches.xs)[0].shape[1:3]
    sequences = min(sequences, size)

    @jax.jit
    @jax.vmap
    def of_network(params):
        h_0 = cell.initial_states(params, size)

        def evaluated(batch):
            step, xs = setup.evaluated(cell.step, params, h_0, batch.xs)
            return step, batch._replace(xs=xs)

        def held_out_loss(batch):
            step, batch = evaluated(batch)
            return loss(step, task.step_loss, params, h_0, batch)[0]

        step, batch = evaluated(jax.tree.map(lambda leaf: leaf[0], batches))
        few, h_0_few = jax.tree.map(lambda leaf: leaf[:sequences], (batch, h_0))

        def jacobians(h_0, xs):
            return step_jacobians(step, params, unroll(step, params, h_0, xs, length=length))

        profile = recurrent_profile(lag_profile(step, task.step_loss, params, h_0_few, few))
        return jnp.mean(lax.map(held_out_loss, batches)), profile, jax.vmap(jacobians)(h_0_few, few.xs)

    def look(params):
        held_out, profile, js = of_network(params)
        return Reach(held_out, *_of_chains(js, tuple(lags)), profile)

    return look


@partial(jax.jit, static_argnames="lags")
def _of_chains(js, lags):
    """(growth rate [S], log norms [S, L], share certified [S]) of step Jacobians [S, sequences, T, n, n]."""

    def of_chain(js):
        row = norms(js, at=[len(js)], lags=lags)
        return growth_rates(after(js, row.log_norm), k=1).rates[0], row.log_norm[0], row.certified

    rates, log_norm, certified = jax.vmap(jax.vmap(of_chain))(js)
    # Not the mean of two, which is -inf where one of them is.
    log_norm = jnp.sort(log_norm, axis=1)[:, (js.shape[1] - 1) // 2]
    return jnp.median(rates, axis=1), log_norm, jnp.mean(certified, axis=(1, 2, 3))
