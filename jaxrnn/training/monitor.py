"""What to look at while a network trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._result_type import result_type
from jaxrnn.jacobians import NormByLag, norm_by_lag, norms, step_jacobians
from jaxrnn.recurrence import unroll
from jaxrnn.training.batches import first_sequences
from jaxrnn.training.callbacks import Callback
from jaxrnn.training.optimizers import Optimizer
from jaxrnn.types import Batch, Cell, Params

__all__ = ["MonitorState", "MonitoredNorms", "monitor", "norm_monitor"]

_TIMES = 8


@result_type
class MonitoredNorms(NamedTuple):
    """ln ‖∂h_t/∂h_{t-lag}‖₂ at some lags, as the network stood when it was looked at."""

    by_lag: NormByLag
    certified: Float[Array, "*B"]
    """The share of the norms whose error bound is small enough."""


@_checks.signature("training.norm_monitor")
def norm_monitor(
    cell: Cell, batch: Batch, *, lags: Sequence[int], sequences: int = 1
) -> Callable[[Params], MonitoredNorms]:
    """A monitor for `train`: how much gradient passes each lag, on sequences that stay the same (E15).

    Parameters
    ----------
    cell : the network.
    batch : where to measure; its first sequences are used.
    lags : in steps, each at most T.
    sequences : how many sequences to look at.

    Returns
    -------
    Callable
        ``params -> MonitoredNorms``, with curves [L] over the lags: median and quantiles over the sequences
        and up to 8 times t spread over each.

    Raises
    ------
    ValueError, IndexError
        If the batch is empty or ill-shaped, sequences < 1, or a lag lies outside 0..T.

    Notes
    -----
    Time: for each sequence one unroll, its step Jacobians, 8·max(lags) products and a few for each step.

    Example
    -------
    >>> from jaxrnn import cells, tasks
    >>> cell = cells.stack(cells.elman(4, 4), cells.dense(4, 1))
    >>> look = norm_monitor(cell, tasks.series(length=12).sample(jax.random.key(0)), lags=[1, 4, 8])
    >>> look(cell.init(jax.random.key(1))).by_lag.median.shape
    (3,)
    """
    size, length = _checks.batch_shape("training.norm_monitor", batch)
    checked = _checks.indices("training.norm_monitor", "lags", lags, length)
    count = min(_checks.at_least("training.norm_monitor", "sequences", sequences, 1), size)
    xs = first_sequences("training.norm_monitor", batch, count)
    at = np.unique(np.linspace(checked.max(initial=0), length, _TIMES).round().astype(int))
    pairs = {"at": at.tolist(), "lags": checked.tolist()}

    def look(params):
        h_0 = cell.init_state(params)

        def of_sequence(xs):
            trajectory = unroll(cell.step, params, h_0, xs, length=length)
            return norms(step_jacobians(cell.step, params, trajectory), **pairs)

        found = jax.vmap(of_sequence)(xs)
        return MonitoredNorms(norm_by_lag(found, **pairs), jnp.mean(found.certified))

    return look


class MonitorState(NamedTuple):
    """The optimizer's own state, and how many updates it has made."""

    inner: Any
    count: Int[Array, ""]


@_checks.signature("training.monitor")
def monitor(
    optimizer: Optimizer,
    callback: Callback,
    *,
    look: Callable[[Params], PyTree] | None = None,
    every: int = 100,
) -> Optimizer:
    """An optimizer that tells where the gradient goes, in a training loop of anybody's.

    It makes the same updates. Every so many of them, the first included, it calls
    ``callback(step, metrics)`` with ``grad_norm`` (of the gradient as it comes in), ``update_norm`` (of what
    goes out), and ``monitored``, what `look` gives. It works inside jit and scan. Under vmap it calls once
    for every member and looks at every update, which ``train(callbacks=, monitor=)`` does better.

    Parameters
    ----------
    optimizer : any of optax's.
    callback : a writer of `training.callbacks`, or your own function of NumPy arrays. It must not compute
        with JAX: under jit it is a part of the program, which can then wait for itself.
    look : a pure function of the parameters as they stand before the update, such as `norm_monitor`, or
        ``lambda params: look(params["rnn"])`` where the network is a part of a larger model.
    every : how many updates lie between two calls.

    Raises
    ------
    ValueError
        If every < 1; from update, if there is a look and no params are given.

    Notes
    -----
    Time: one more norm of gradient and update, and the look, in the updates that are told only.

    Example
    -------
    >>> seen = []
    >>> optimizer = monitor(optax.sgd(0.5), lambda step, metrics: seen.append((step, metrics)), every=2)
    >>> params, state = jnp.array(1.0), optimizer.init(jnp.array(1.0))
    >>> for _ in range(3):
    ...     updates, state = optimizer.update(params, state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> jax.effects_barrier()
    >>> [(step, float(metrics["grad_norm"])) for step, metrics in seen]
    [(0, 1.0), (2, 0.25)]
    """
    every = _checks.at_least("training.monitor", "every", every, 1)
    inner = optax.with_extra_args_support(optimizer)

    def init(params):
        return MonitorState(inner.init(params), jnp.zeros((), jnp.int32))

    def told(*values):
        # NumPy before anything else: computing with JAX in here can wait for the program that waits for this.
        step, metrics = jax.tree.map(np.asarray, values)
        # Again, since vmap runs both branches of a condition that differs between its members.
        if step % every == 0:
            callback(int(step), metrics)

    def update(updates, state, params=None, **extra):
        if look is not None and params is None:
            raise ValueError("training.monitor: look needs params; call update(grads, state, params).")
        made, inner_state = inner.update(updates, state.inner, params, **extra)

        def tell():
            metrics = {"grad_norm": tree_norm(updates), "update_norm": tree_norm(made)}
            if look is not None:
                metrics["monitored"] = look(params)
            jax.debug.callback(told, state.count, metrics)

        lax.cond(state.count % every == 0, tell, lambda: None)
        return made, MonitorState(inner_state, state.count + 1)

    return optax.GradientTransformationExtraArgs(init, update)
