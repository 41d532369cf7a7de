"""Truncated BPTT in its two forms, which are two different estimators, E18."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn import _checks
from jaxrnn.gradients.lags import adjoints_by_lag, sum_of_lags
from jaxrnn.gradients.loss import segment_loss, time_major
from jaxrnn.gradients.sharded import by_sequence
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, StepFn, StepLoss

__all__ = ["chunked", "sliding"]


@_checks.signature("gradients.chunked")
def chunked(
    step: StepFn,
    step_loss: StepLoss,
    *,
    window: int,
    every: int | None = None,
    init_state: InitState | None = None,
) -> Estimator:
    """Truncated BPTT as practised: the gradient runs back from the end of each chunk, `window` steps (E18).

    Within a chunk the gradient is exact; nothing flows across the left border of its window. By default a
    window is its chunk: a loss at the start of a chunk reaches back one step and a loss at its end reaches
    back `window` steps. The last chunk may be short; ``window >= T`` equals `full`.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    window : K = k_2, how far back the gradient runs from a chunk's end, over a constant state there.
    every : k_1, the chunk's length: how many new losses each run back takes in; by default K. Each loss then
        reaches back between ``window - every + 1`` and `window` steps; ``every=1`` is `sliding`, and one lag
        more of a learned h_0.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`: steps of an earlier batch are not run through again.

    Raises
    ------
    ValueError
        If window or every is below 1, or every is larger than window.

    Notes
    -----
    Time K/k_1 times that of `full`; memory K steps, not T.

    Reference
    ---------
    Williams & Peng, An efficient gradient-based algorithm for on-line training, 1990 (BPTT(h; h'), with
    h = k_2 and h' = k_1).
    """
    window = _checks.at_least("gradients.chunked", "window", window, 1)
    every = _checks.at_least("gradients.chunked", "every", window if every is None else every, 1)
    if every > window:
        raise ValueError(f"gradients.chunked: every is {every}; expected at most the window, {window}.")
    starts = start("gradients.chunked", init_state)

    def estimate(params, carry, batch, key, noise):
        del key, noise
        h_0, add_h_0 = starts.begin(params, carry, batch)
        segment = time_major("gradients.chunked", h_0, batch)
        T = len(segment.weights)
        # How many steps a window begins before its chunk. Before the first step of all, it waits.
        lead = min(window - every, T - 1)
        run, rows = (_waiting(step), _wait(segment, lead)) if lead else (step, segment)

        def add_chunk(carry, first, size):
            """Add the gradient of the losses of steps ``first + 1, ..., first + size``."""
            h, _, total, total_h_0 = carry
            own = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, first, lead + size), rows)
            own = own._replace(weights=own.weights.at[:lead].set(0))

            (loss, (next_start, end)), (grads, from_h) = _window_gradients(
                run, step_loss, params, h, own, size
            )
            from_h_0 = jax.tree.map(lambda leaf: jnp.where(first <= lead, leaf, 0), from_h)
            return (next_start, end, *jax.tree.map(jnp.add, (total, total_h_0), (grads, from_h_0))), loss

        n_chunks, rest = divmod(T, every)
        carry = (h_0, h_0, *jax.tree.map(jnp.zeros_like, (params, h_0)))
        losses = []
        if n_chunks:
            carry, loss = lax.scan(
                lambda carry, first: add_chunk(carry, first, every), carry, every * jnp.arange(n_chunks)
            )
            losses.append(jnp.sum(loss))
        if rest:
            carry, loss = add_chunk(carry, n_chunks * every, rest)
            losses.append(loss)
        _, h_T, grads, h_0_cotangent = carry
        return GradientEstimate(jnp.sum(jnp.stack(losses)), add_h_0(grads, h_0_cotangent)), starts.end(h_T)

    return Estimator(starts.init, by_sequence(estimate, step, starts.states))


def _window_gradients(step, step_loss, params, h, rows, size):
    """((loss, (h after `size` steps, h at the end)), (∂loss/∂params, ∂loss/∂h)) over all rows."""
    first, rest = (jax.tree.map(lambda leaf, s=s: leaf[s], rows) for s in (slice(size), slice(size, None)))

    def objective(params, h):
        loss, h = segment_loss(step, step_loss, params, h, first)
        if not len(rest.weights):
            return loss, (h, h)
        more, end = segment_loss(step, step_loss, params, h, rest)
        return loss + more, (h, end)

    return jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(params, h)


def _waiting(step):
    """The step that leaves the state as it is where the second part of its input is False."""

    def step_or_wait(params, h_tm1, x_t_and_goes):
        x_t, goes = x_t_and_goes
        h_t, y_t = _checks.stepped("gradients.chunked", step(params, h_tm1, x_t))
        _checks.same_structure("gradients.chunked", h_tm1, h_t)
        return jax.tree.map(lambda new, old: jnp.where(goes, new, old), h_t, h_tm1), y_t

    return step_or_wait


def _wait(segment, lead):
    """The segment after `lead` rows to wait in, which repeat its first."""
    rows = jax.tree.map(
        lambda leaf: jnp.concatenate([jnp.broadcast_to(leaf[:1], (lead, *leaf.shape[1:])), leaf]), segment
    )
    goes = jnp.broadcast_to(jnp.arange(len(rows.weights))[:, None] >= lead, rows.weights.shape)
    return rows._replace(xs=(rows.xs, goes))


@_checks.signature("gradients.sliding")
def sliding(
    step: StepFn, step_loss: StepLoss, *, window: int, init_state: InitState | None = None
) -> Estimator:
    """Truncated BPTT as defined: exactly the terms of E10 with ``t - k < window`` (E18).

    Every loss ℓ_t reaches back the same `window` steps. ``window = 1`` keeps only the immediate term;
    ``window > T`` equals `full`, and so does ``window = T`` unless h_0 is learned.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    window : K, the number of lags kept, 0..K-1.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With the carry of `full`.

    Raises
    ------
    ValueError
        If window < 1.

    Notes
    -----
    Time about 2 + K vector-Jacobian products of a step for all T steps at once; memory T steps.

    Reference
    ---------
    Williams & Peng, An efficient gradient-based algorithm for on-line training, 1990 (BPTT(h)).
    """
    window = _checks.at_least("gradients.sliding", "window", window, 1)
    starts = start("gradients.sliding", init_state)

    def estimate(params, carry, batch, key, noise):
        del key, noise
        h_0, add_h_0 = starts.begin(params, carry, batch)
        segment = time_major("gradients.sliding", h_0, batch)
        adjoints = adjoints_by_lag(step, step_loss, params, h_0, segment)

        # Lags beyond T have no terms: h_0 is the earliest state.
        total = sum_of_lags(adjoints, min(window, len(segment.weights) + 1))
        grads = jax.tree.map(jnp.add, adjoints.lag_0, adjoints.pull(total))
        h_0_cotangent = jax.tree.map(lambda leaf: leaf[0], total)
        return GradientEstimate(adjoints.loss, add_h_0(grads, h_0_cotangent)), starts.end(adjoints.h_T)

    return Estimator(starts.init, by_sequence(estimate, step, starts.states))
