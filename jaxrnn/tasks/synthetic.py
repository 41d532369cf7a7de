"""Tasks drawn from random numbers, whose best possible loss is known."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy, squared_error
from jaxrnn.tasks.task import Task
from jaxrnn.types import Batch
from jaxrnn.weights import weights_from_lengths

__all__ = ["adding", "delayed_copy", "linear_process", "temporal_order"]


def adding(*, length: int = 100, batch_size: int = 32) -> Task:
    """Add the two marked numbers of a sequence, at its end (many-to-one).

    ``x_t = (value, marker)`` with values uniform in [0, 1) and two markers 1, all others 0:
    one at a uniform place in the first ⌊T/2⌋ steps, one at a uniform place in the rest. The target is
    the sum of the two marked values; it stands at every step, and only the last step weighs. (Where the
    markers stand differs between authors; one in each half is common.)

    Parameters
    ----------
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, 2] and targets [B, T, 1]. Its baseline is the answer 1, the mean: half the
        variance of a sum of two uniform numbers, ½·1/6. Its optimum is 0.

    Raises
    ------
    ValueError
        If length < 2 or batch_size < 1.

    Example
    -------
    >>> task = adding(length=6, batch_size=1)
    >>> batch = task.sample(jax.random.key(0))
    >>> batch.xs.shape, batch.weights
    ((1, 6, 2), Array([[0., 0., 0., 0., 0., 1.]], dtype=float32))

    Reference
    ---------
    Hochreiter & Schmidhuber, Long short-term memory, 1997 (experiment 4); in this form Le, Jaitly &
    Hinton, A simple way to initialize recurrent networks of rectified linear units, 2015.
    """
    length, batch_size = _sizes("tasks.adding", length, 2, batch_size)

    def sample(key):
        key_values, key_first, key_second = jax.random.split(key, 3)
        values = jax.random.uniform(key_values, (batch_size, length))
        first = jax.random.randint(key_first, (batch_size,), 0, length // 2)
        second = jax.random.randint(key_second, (batch_size,), length // 2, length)
        markers = jax.nn.one_hot(first, length) + jax.nn.one_hot(second, length)
        total = jnp.sum(values * markers, axis=1, keepdims=True)
        return _at_the_end(jnp.stack([values, markers], axis=-1), total)

    return _drawn(
        "adding",
        sample,
        input_size=2,
        baseline=1 / 12,
        baseline_name="the answer 1",
        reference="Hochreiter & Schmidhuber 1997, experiment 4; Le, Jaitly & Hinton 2015",
    )


def delayed_copy(*, delay: int = 10, symbols: int = 8, length: int = 100, batch_size: int = 32) -> Task:
    """Repeat every symbol `delay` steps later: a memory of known length.

    ``target_t = x_{t-delay}``, with x_t one-hot and uniform over the symbols. The first `delay` steps, whose
    targets stand for nothing, weigh 0 and the others 1/(T - delay).

    x_{t-delay} enters the state at h_{t-delay}, and the loss at t reads h_t. How to write the symbol is
    learned from the lag `delay`, how to keep it from the lags below. A sliding window holds the lags 0..K-1,
    so K = delay + 1 is the smallest that holds them all, whatever T.

    Parameters
    ----------
    delay : steps between a symbol and its copy; 0 needs no memory.
    symbols : how many there are, V.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, V] and targets [B, T]. Its baseline is the guess among V equally likely
        symbols, ln V. Its optimum is 0.

    Raises
    ------
    ValueError
        If delay < 0, symbols < 2, length <= delay or batch_size < 1.

    Example
    -------
    >>> batch = delayed_copy(delay=2, symbols=3, length=5, batch_size=1).sample(jax.random.key(0))
    >>> jnp.argmax(batch.xs, axis=-1), batch.targets
    (Array([[1, 0, 2, 1, 2]], dtype=int32), Array([[1, 2, 1, 0, 2]], dtype=int32))

    Reference
    ---------
    Jaeger, Short term memory in echo state networks, 2002.
    """
    delay = _checks.at_least("tasks.delayed_copy", "delay", delay, 0)
    symbols = _checks.at_least("tasks.delayed_copy", "symbols", symbols, 2)
    length, batch_size = _sizes("tasks.delayed_copy", length, delay + 1, batch_size)

    def sample(key):
        tokens = jax.random.randint(key, (batch_size, length), 0, symbols)
        weights = (jnp.arange(length) >= delay).astype(float) / (length - delay)
        return Batch(
            jax.nn.one_hot(tokens, symbols),
            jnp.roll(tokens, delay, axis=1),
            jnp.tile(weights, (batch_size, 1)),
        )

    return _drawn(
        "delayed_copy",
        sample,
        input_size=symbols,
        classes=symbols,
        baseline=math.log(symbols),
        baseline_name="a guess among all symbols",
        reference="Jaeger 2002",
    )


def temporal_order(*, length: int = 100, batch_size: int = 32) -> Task:
    """Say at the end which of X and Y came first and which came second (many-to-one).

    The six one-hot symbols are a, b, c, d, X, Y. All steps hold one of a, b, c, d at random, but for two
    that hold X or Y, at uniform rows ``T//10 <= i < 2T//10`` and ``5T//10 <= j < 6T//10``. The target
    is the class XX, XY, YX, YY = 0, 1, 2, 3; it stands at every step, and only the last step weighs.

    Parameters
    ----------
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, 6] and targets [B, T]. Its baseline is the guess among the four equally
        likely classes, ln 4. Its optimum is 0.

    Raises
    ------
    ValueError
        If length < 10 or batch_size < 1.

    Notes
    -----
    The original has sequences of 100 to 110 steps between two more symbols, one for the start and one for
    the end.

    Example
    -------
    >>> batch = temporal_order(length=10, batch_size=1).sample(jax.random.key(0))
    >>> "".join("abcdXY"[i] for i in jnp.argmax(batch.xs[0], axis=-1)), int(batch.targets[0, -1])
    ('dXdbcXbbba', 0)

    Reference
    ---------
    Hochreiter & Schmidhuber, Long short-term memory, 1997 (experiment 6a).
    """
    length, batch_size = _sizes("tasks.temporal_order", length, 10, batch_size)

    def sample(key):
        key_distractors, key_relevant, *keys_row = jax.random.split(key, 4)
        tokens = jax.random.randint(key_distractors, (batch_size, length), 0, 4)
        relevant = jax.random.randint(key_relevant, (batch_size, 2), 0, 2)
        for i, (key_row, tenth) in enumerate(zip(keys_row, (1, 5), strict=True)):
            low, high = tenth * length // 10, (tenth + 1) * length // 10
            row = jax.random.randint(key_row, (batch_size, 1), low, high)
            tokens = jnp.where(jnp.arange(length)[None] == row, 4 + relevant[:, i, None], tokens)
        return _at_the_end(jax.nn.one_hot(tokens, 6), 2 * relevant[:, 0] + relevant[:, 1])

    return _drawn(
        "temporal_order",
        sample,
        input_size=6,
        classes=4,
        baseline=math.log(4),
        baseline_name="a guess among the four orders",
        reference="Hochreiter & Schmidhuber 1997, experiment 6a",
    )


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
    length, batch_size = _sizes("tasks.linear_process", length, 1, batch_size)
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
    return _drawn(
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


def _sizes(function, length, shortest, batch_size):
    length = _checks.at_least(function, "length", length, shortest)
    return length, _checks.at_least(function, "batch_size", batch_size, 1)


def _at_the_end(xs, target):
    """A Batch whose target [B, ...] weighs at the last step only."""
    size, length = xs.shape[:2]
    weights = weights_from_lengths(jnp.full(size, length), length, form="last")
    targets = jnp.broadcast_to(target[:, None], (size, length, *target.shape[1:]))
    return Batch(xs, targets, weights)


def _drawn(name, sample, *, classes=None, optimum=0.0, **options):
    """A Task of random numbers: the choice of one class, or of one number."""
    return Task(
        name=name,
        output_size=classes or 1,
        sample=sample,
        held_out=sample,
        step_loss=softmax_cross_entropy if classes else squared_error,
        loss_unit="nats" if classes else "½ squared error",
        source=None,
        optimum=optimum,
        **options,
    )
