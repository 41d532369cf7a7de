"""What to look at while a network trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn.jacobians import NormByLag, norm_by_lag, norms, step_jacobians
from jaxrnn.recurrence import unroll
from jaxrnn.types import Batch, Cell, Params

__all__ = ["MonitoredNorms", "norm_monitor"]

_TIMES = 8


class MonitoredNorms(NamedTuple):
    """ln ‖∂h_t/∂h_{t-lag}‖₂ at some lags, as the network stood when it was looked at."""

    by_lag: NormByLag
    certified: Float[Array, "*B"]
    """The share of the norms whose error bound is small enough."""


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
    xs = jax.tree.map(lambda leaf: leaf[:count], batch.xs)
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
