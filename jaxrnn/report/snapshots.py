"""What the page can show at the pointer: every pair's spectrum, at several moments of the training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, PyTree

from jaxrnn._result_type import result_type
from jaxrnn.jacobians import Spectrum, spectra, step_jacobians
from jaxrnn.recurrence import unroll
from jaxrnn.types import Params, State, StepFn

__all__ = ["Snapshots", "snapshots"]

_TIMES = 51
_RANKS = 12
_ALL_PAIRS_UP_TO = 100
# Steps; the bounds of all pairs are narrower than those of some, and longer tables take too long.


@result_type
class Snapshots(NamedTuple):
    """Singular values of ∂h_t/∂h_k of one held-out sequence, while the network is trained."""

    steps: Int[np.ndarray, " M"]
    """Training steps done."""
    times: Int[np.ndarray, " G"]
    """The t and the k that are shown: all, or evenly spaced ones that end at T."""
    ranks: Int[np.ndarray, " R"]
    """Which σ_i, from 1 to n, evenly spaced in their logarithm."""
    spectra: Spectrum
    """[M, G, G, R], at [moment, t, k, i]."""


def snapshots(step: StepFn, history: Sequence[tuple[int, Params]], h_0: State, xs: PyTree) -> Snapshots:
    """The tables of one sequence at (training steps, parameters) of a history."""
    T = len(jax.tree.leaves(xs)[0])
    n = sum(np.size(leaf) for leaf in jax.tree.leaves(h_0))
    stride = -(-T // (_TIMES - 1))
    times = np.arange(T % stride, T + 1, stride)
    ranks = np.unique(np.geomspace(1, n, min(_RANKS, n)).round().astype(int))
    tables = [
        _table(step, params, h_0, xs, tuple(times.tolist()), tuple(ranks.tolist())) for _, params in history
    ]
    steps = np.array([number for number, _ in history])
    return Snapshots(steps, times, ranks, jax.tree.map(lambda *leaves: np.stack(leaves), *tables))


@partial(jax.jit, static_argnames=("step", "times", "ranks"))
def _table(step, params, h_0, xs, times, ranks):
    js = step_jacobians(step, params, unroll(step, params, h_0, xs))
    at, chosen = np.array(times), np.array(ranks) - 1
    if len(js) <= _ALL_PAIRS_UP_TO:
        found, columns = (
            jax.tree.map(lambda table: table[at], spectra(js)),
            np.broadcast_to(at, (len(at),) * 2),
        )
    else:
        lags = at - at[0]
        found = spectra(js, at=times, lags=lags.tolist())
        # Columns are lags; where k > t there is none, and those of t < lag hold what stands there.
        row, column = np.indices((len(at),) * 2)
        columns = np.where(column <= row, row - column, len(at) - 1)
    rows = np.arange(len(at))[:, None]
    return jax.tree.map(lambda table: table[rows, columns][..., chosen], found)
