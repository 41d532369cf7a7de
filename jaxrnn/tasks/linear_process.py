"""A linear process in noise, whose best forecast is known."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn import _checks
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._drawn import drawn
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch

__all__ = ["linear_process"]


@_checks.signature("tasks.linear_process")
def linear_process(
    *, decay: float = 0.95, noise: float = 1.0, length: int = 100, batch_size: int = 32
) -> Task:
    """Forecast a noisy linear process one step ahead; the Kalman filter says how well that can be done.

    A hidden ``s_t = a s_{t-1} + w_t``, stationary from the start, is seen as ``x_t = s_t + noise·v_t``, with
    w_t and v_t standard normal and a = `decay`. The target is x_{t+1}.

    With r = noise², the forecast of s_t from x_1 ... x_{t-1} has a variance p_t, and x_t the gain K_t:
    ``p_1 = 1/(1 - a²)``, ``K_t = p_t/(p_t + r)``, ``p_{t+1} = a² r K_t + 1``. The best forecast of x_{t+1}
    errs by p_{t+1} + r in the mean square.

    In the long run K_t = K is constant, and a linear network of one unit reaches the best loss:
    ``h_t = a(1 - K) h_{t-1} + aK x_t`` is the forecast itself. Its gradient decays at a known rate,
    ∂h_t/∂h_k = (a(1 - K))^(t-k). More noise means a smaller K and a longer memory.

    Parameters
    ----------
    decay : a, the hidden state's own memory.
    noise : the deviation of what is seen from what is hidden.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs and targets [B, T, 1]. Its baseline is the best linear forecast from x_t alone,
        ½·(p_2 + r). Its optimum is ½·(p_{t+1} + r), averaged over the T steps.

    Raises
    ------
    ValueError
        If decay is not in 0 < |decay| < 1, noise is not positive and finite, or length or batch_size is
        below 1.

    Example
    -------
    >>> task = linear_process(decay=0.95, noise=3.0)
    >>> print(f"{task.baseline:.2f}, at best {task.optimum:.2f}")
    7.16, at best 6.05

    Reference
    ---------
    Kalman, A new approach to linear filtering and prediction problems, 1960.
    """
    length, batch_size = sizes("tasks.linear_process", length, 1, batch_size)
    decay, noise = float(decay), float(noise)
    if not 0 < abs(decay) < 1:
        raise ValueError(f"tasks.linear_process: decay is {decay}; expected 0 < |decay| < 1.")
    if not 0 < noise < math.inf:
        raise ValueError(f"tasks.linear_process: noise is {noise}; expected a positive, finite number.")

    def sample(key):
        key_s, key_w, key_v = jax.random.split(key, 3)
        s_1 = jax.random.normal(key_s, (batch_size,)) / math.sqrt(1 - decay**2)
        w = jax.random.normal(key_w, (length, batch_size))
        s_last, before = lax.scan(lambda s, w_t: (decay * s + w_t, s), s_1, w)
        s = jnp.concatenate([before, s_last[None]]).T
        x = s + noise * jax.random.normal(key_v, s.shape)
        return Batch(x[:, :-1, None], x[:, 1:, None])

    errors = _forecast_errors(decay, noise**2, length)
    return drawn(
        "linear_process",
        sample,
        input_size=1,
        # x_1 is all that the filter's first forecast has seen, and the process is stationary.
        baseline=0.5 * errors[0],
        baseline_name="the best forecast from one value",
        optimum=0.5 * float(np.mean(errors)),
        reference="Kalman 1960",
    )


def _forecast_errors(decay, r, length):
    """The mean squared error of the Kalman filter's forecasts of x_2 ... x_{T+1}."""
    errors, p = [], 1 / (1 - decay**2)
    for _ in range(length):
        p = decay**2 * r * p / (p + r) + 1
        errors.append(p + r)
    return errors
