"""Influence balancing: one parameter whose truncated gradient has the wrong sign."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import squared_error
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch, Cell

__all__ = ["influence_balancing"]

_START = 0.5


@_checks.signature("tasks.influence_balancing")
def influence_balancing(*, units: int = 23, positive: int = 10, length: int = 100) -> Task:
    """Hold the first unit of a linear chain at 1 by one parameter θ, which pushes in both directions.

    ``s_t = A s_{t-1} + θ·signs``, ``y_t = s_t[0]``, with A = ½I + ½ superdiagonal and signs +1 for the
    first `positive` units and -1 for the others. The near units answer first, but the far ones outnumber
    them: the short-term effect of θ has one sign and its long-term effect the other.

    In the long run s = (I - A)⁻¹ signs·θ, and (I - A)⁻¹ is 2 on and above the diagonal. So
    ``s[0] = 2·(2·positive - units)·θ``, -6θ by default, and the best θ is 1/(2·(2·positive - units)), -1/6.
    By default a sliding window up to 40 gives the gradient of the long run with the wrong sign, and θ runs
    away, though the spectral radius of A is ½.

    Parameters
    ----------
    units, positive : the length of the chain, and how many of its units θ pushes up.
    length : T of a batch; a batch is one sequence.

    Returns
    -------
    Task
        Its ``cell`` is the chain: params is the scalar θ, ½ at first whatever the key; the state [units]
        starts at ones. The inputs [1, T, 1] are zeros and the targets [1, T, 1] ones. Train it with
        ``train(task.cell, ..., stream=True)``, so that every batch continues the one before. Baseline and
        optimum are those of the long run, at θ = ½ and at the best θ.

    Raises
    ------
    ValueError
        If units or length is below 1, or positive lies outside 0..units or is half of the units, where θ
        has no effect in the long run.

    Example
    -------
    >>> import jax
    >>> task = influence_balancing()
    >>> theta = task.cell.init(jax.random.key(0))
    >>> s_1, y_1 = task.cell.step(theta, task.cell.init_state(theta), jnp.zeros(1))
    >>> y_1, task.baseline
    (Array([1.5], dtype=float32), 8.0)

    Reference
    ---------
    Tallec & Ollivier, Unbiasing truncated backpropagation through time, 2017.
    """
    units = _checks.at_least("tasks.influence_balancing", "units", units, 1)
    positive = _checks.at_least("tasks.influence_balancing", "positive", positive, 0)
    length = _checks.at_least("tasks.influence_balancing", "length", length, 1)
    gain = 2 * (2 * positive - units)
    if positive > units or gain == 0:
        raise ValueError(
            f"tasks.influence_balancing: positive is {positive} of {units} units; expected 0..{units}, and "
            "not half of them."
        )

    def sample(key):
        del key
        return Batch(jnp.zeros((1, length, 1)), jnp.ones((1, length, 1)))

    return Task(
        name="influence_balancing",
        input_size=1,
        output_size=1,
        sample=sample,
        held_out=sample,
        step_loss=squared_error,
        baseline=0.5 * (gain * _START - 1) ** 2,
        baseline_name="θ = ½ in the long run",
        loss_unit="½ squared error",
        source=None,
        optimum=0.0,
        reference="Tallec & Ollivier 2017",
        cell=_chain(units, positive),
    )


def _chain(units, positive):
    signs = np.where(np.arange(units) < positive, 1.0, -1.0)

    def init(key):
        del key
        return jnp.asarray(_START, float)

    def init_state(params):
        return jnp.ones(units, params.dtype)

    def step(params, h_tm1, x_t):
        del x_t
        further = jnp.pad(h_tm1[1:], (0, 1))  # the next unit; the last one has none
        h_t = 0.5 * (h_tm1 + further) + params * jnp.asarray(signs, params.dtype)
        return h_t, h_t[:1]

    return Cell(init, init_state, step)
