"""Growth rates of a trajectory without end, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree
from tqdm.auto import tqdm

from jaxrnn import _checks
from jaxrnn._pytree import ravel
from jaxrnn._result_type import result_type
from jaxrnn.jacobians._matrix_free import push_forward
from jaxrnn.jacobians._orthonormal import random_directions
from jaxrnn.types import Params, State, StepFn

__all__ = ["StreamCarry", "StreamGrowthRates", "stream_growth_rates"]


class StreamCarry(NamedTuple):
    """Where a stream stopped, and what was added up until there."""

    h: State
    directions: Float[Array, "n k"]
    steps: int
    chunks: int
    log_growth: Float[np.ndarray, " k"]
    """Σ ln |R_t[i, i]| of all steps."""
    squares: Float[np.ndarray, " k"]
    """Σ over chunks of steps · (rate of the chunk)²."""


@result_type
class StreamGrowthRates(NamedTuple):
    """The k leading Lyapunov exponents of all steps until here, in nats per step."""

    rates: Float[np.ndarray, " k"]
    standard_error: Float[np.ndarray, " k"]
    """From the spread of the chunks' own rates; inf for fewer than 4 chunks."""
    certified: Bool[np.ndarray, " k"]
    """False everywhere once a state or a Jacobian was not finite."""
    steps: int
    carry: StreamCarry

    def raise_if_bad(self) -> StreamGrowthRates:
        """The rates themselves; NumericalError if they are not certified."""
        if not self.certified.all():
            raise _checks.NumericalError(
                f"stream_growth_rates: a state or Jacobian within {self.steps} steps is not finite."
            )
        return self


@_checks.signature("diagnosis.stream_growth_rates")
def stream_growth_rates(
    step: StepFn,
    params: Params,
    h_0: State,
    chunks: Iterable[PyTree],
    *,
    k: int,
    carry: StreamCarry | None = None,
    progress: bool = False,
) -> StreamGrowthRates:
    """The growth rates ``λ_i = (1/T) Σ_t ln |R_t[i, i]|``, ``Q_t R_t = J_t Q_{t-1}``, of a stream (E15).

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    h_0 : the state before the first chunk; unused with `carry`.
    chunks : inputs of consecutive steps, each with leaves [T, ...]; chunks of one length share one
        compilation. It may be a generator, and of any length: nothing of it is kept.
    k : how many rates; directions start at random, so that the first chunks turn them.
    carry : of an earlier call, to go on where it stopped, with the chunks that follow.
    progress : whether to show a bar with the rate of chunks.

    Returns
    -------
    StreamGrowthRates
        NumPy arrays in float64, and the `carry` to go on with; it can be saved.

    Raises
    ------
    ValueError
        If k is outside 1..n, or there is no chunk.

    Notes
    -----
    A QR a step, and k + 1 tangents. Within a chunk logarithms are summed in the dtype of the state, over
    chunks in float64. Memory: one chunk and a few n×k, whatever the length of the stream. It is compiled
    here, once for each length of a chunk.

    Example
    -------
    >>> halve = lambda params, h, x: (params * h + x, h)
    >>> chunks = (jnp.ones((10, 2)) for _ in range(100))
    >>> stream_growth_rates(halve, jnp.array([0.5, 0.25]), jnp.zeros(2), chunks, k=1).rates.round(2)
    array([-0.69])
    """
    h_0 = h_0 if carry is None else carry.h
    _checks.floating_leaves("diagnosis.stream_growth_rates", "h_0", h_0, "It is a state of one sequence.")
    n = ravel(h_0).size
    if _checks.at_least("diagnosis.stream_growth_rates", "k", k, 1) > n:
        raise ValueError(f"diagnosis.stream_growth_rates: k is {k}; the state has n = {n} directions.")
    if carry is None:
        Q, nothing = random_directions(n, k, ravel(h_0).dtype), np.zeros(k)
        carry = StreamCarry(h_0, Q, 0, 0, nothing, nothing)
    advance = jax.jit(lambda at, xs: _advance(step, params, at, xs))
    chunks = _checks.iterated("diagnosis.stream_growth_rates", "chunks", chunks, "inputs [T, ...] each")
    for xs in tqdm(chunks, disable=not progress, unit="chunk"):
        size = _checks.leading_axis("diagnosis.stream_growth_rates", "a chunk", xs)
        if not size:
            raise ValueError(
                "diagnosis.stream_growth_rates: a chunk is empty; expected leaves [T, ...], T >= 1."
            )
        (h, Q), logs = advance((carry.h, carry.directions), xs)
        logs = np.asarray(logs, np.float64)
        with np.errstate(invalid="ignore"):
            carry = StreamCarry(
                h,
                Q,
                carry.steps + size,
                carry.chunks + 1,
                carry.log_growth + logs,
                carry.squares + logs**2 / size,
            )
    return _result(carry)


def _advance(step, params, at, xs):
    """((h, Q) after the chunk, Σ ln |R_ii| over its steps)."""
    push = push_forward(step, params, at[0])

    def one_step(at, x_t):
        h_tm1, Q = at
        Q, R = jnp.linalg.qr(push((h_tm1, x_t), Q))
        return (step(params, h_tm1, x_t)[0], Q), jnp.log(jnp.abs(jnp.diagonal(R)))

    at, logs = lax.scan(one_step, at, xs)
    return at, jnp.sum(logs, axis=0)


def _result(carry):
    if not carry.chunks:
        raise ValueError("diagnosis.stream_growth_rates: there is no chunk; expected inputs [T, ...].")
    rates = carry.log_growth / carry.steps
    with np.errstate(invalid="ignore"):
        variance = np.maximum(carry.squares / carry.steps - rates**2, 0) / max(carry.chunks - 1, 1)
    enough = carry.chunks >= 4
    finite = not np.isnan(rates).any()
    error = np.sqrt(variance) if enough else np.full_like(rates, np.inf)
    error = np.where(np.isnan(error), np.inf, error)
    return StreamGrowthRates(rates, error, np.full(len(rates), finite), carry.steps, carry)
