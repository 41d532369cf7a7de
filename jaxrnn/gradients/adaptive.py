"""Truncated BPTT that chooses its window, so that the bias stays below a given part of the gradient."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Bool, Int

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._sharding import axes_of, explicit_mesh, on_auto_axes
from jaxrnn.gradients.decay import geometric_decay
from jaxrnn.gradients.lags import Adjoints, adjoints_by_lag, sum_of_lags
from jaxrnn.gradients.loss import time_major
from jaxrnn.gradients.start import InitState, start
from jaxrnn.types import Estimator, GradientEstimate, State, StepFn, StepLoss

__all__ = ["AdaptiveCarry", "adaptive"]


class AdaptiveCarry(NamedTuple):
    """Where a stream is, and the window found for it."""

    h: State
    """The states [B, ...]; () where the estimator has its own start."""
    window: Int[Array, ""]
    """K, the window used last; 0 before the first batch and where `refused`."""
    refused: Bool[Array, ""]
    """Whether no window could be vouched for; the full gradient was used."""
    age: Int[Array, ""]
    """How many batches have used this window."""

    def raise_if_bad(self) -> AdaptiveCarry:
        """The carry itself; NumericalError if a window was refused. Not under jit."""
        if bool(self.refused):
            raise _checks.NumericalError(
                "gradients.adaptive: no window within max_window keeps the bias below the tolerance, or "
                "the terms do not decay geometrically there; the full gradient was used. Give a larger "
                "max_window, or do not truncate."
            )
        return self


@_checks.signature("gradients.adaptive")
def adaptive(
    step: StepFn,
    step_loss: StepLoss,
    *,
    tolerance: float,
    max_window: int,
    every: int = 1,
    init_state: InitState | None = None,
) -> Estimator:
    """The sliding window of the smallest K whose relative bias is at most δ (E18).

    ``‖g - ĝ_K‖ / ‖g‖`` is measured for every K up to R = `max_window`, as by `lag_profile`, and the smallest
    K is used from which on it is at most δ. If there is none, or the terms do not decay geometrically within
    R lags, no window is vouched for: the full gradient is used, and the carry says so.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    tolerance : δ, of the relative bias, between 0 and 1.
    max_window : R, how many lags are measured, and the largest window.
    every : in a stream, measure one batch of so many and keep the window for the others. Time is saved there
        only: measuring a batch costs more than its full gradient.
    init_state : where sequences start, as for `full`. Then every batch is measured.

    Returns
    -------
    Estimator
        Its carry is an `AdaptiveCarry`; no gradient flows into it.

    Raises
    ------
    ValueError
        If tolerance is not between 0 and 1, or max_window or every is below 1.

    Notes
    -----
    Time about 2 + K vector-Jacobian products of a step for all T steps at once, and 4R more and a full
    gradient where it is measured; under `vmap` always all of it. Memory T steps. The bias is at most δ on the
    batches that were measured, and on others as far as they are alike.

    Reference
    ---------
    Aicher, Foti & Fox, Adaptively truncating backpropagation through time to control gradient bias, 2019.
    (There a bound from the norms of ∂ℓ_t/∂h_k and their decay; here the bias itself.)
    """
    function = "gradients.adaptive"
    if not 0 < tolerance < 1:
        raise ValueError(f"{function}: tolerance is {tolerance}; expected 0 < tolerance < 1.")
    _checks.at_least(function, "max_window", max_window, 1)
    _checks.at_least(function, "every", every, 1)
    starts = start(function, init_state)

    def init(params, h_0=None):
        return AdaptiveCarry(starts.init(params, h_0), jnp.int32(0), jnp.bool_(False), jnp.int32(0))

    def estimate(params, carry, batch, key):
        del key
        _checks.instance(function, "carry", carry, AdaptiveCarry)
        h_0, add_h_0 = starts.begin(params, carry.h, batch)
        segment = time_major(function, h_0, batch)
        R = min(max_window, len(segment.weights))
        adjoints = adjoints_by_lag(step, step_loss, params, h_0, segment)

        def gradient_of(adjoint):
            return add_h_0(adjoints.pull(adjoint), jax.tree.map(lambda leaf: leaf[0], adjoint))

        due = (carry.age == 0) | (carry.age >= every) | (init_state is not None)
        window, refused = lax.cond(
            due,
            lambda: _choose(adjoints, gradient_of, R, R == len(segment.weights), tolerance),
            lambda: (carry.window, carry.refused),
        )
        total = lax.cond(refused, adjoints.every_lag, lambda: sum_of_lags(adjoints, window))
        grads = jax.tree.map(jnp.add, adjoints.lag_0, gradient_of(total))
        age = jnp.where(due, 1, carry.age + 1)
        return GradientEstimate(adjoints.loss, grads), AdaptiveCarry(
            starts.end(adjoints.h_T), window, refused, age
        )

    def estimate_where_it_lies(params, carry, batch, key):
        # All sequences choose one window.
        mesh, axes = explicit_mesh((params, carry, batch, key)), axes_of(batch, 0)
        of_carry = jax.tree.map(lambda leaf: Spec(axes) if jnp.ndim(leaf) else Spec(), carry)
        return on_auto_axes(mesh, estimate, params, carry, batch, key, spec=(Spec(), of_carry))

    return Estimator(init, estimate_where_it_lies)


def _choose(adjoints: Adjoints, gradient_of, R: int, all_lags: bool, tolerance: float):
    """(K, refused) from what the windows 1..R lose."""

    def push_back(carry, _):
        of_lag, of_later = carry
        row = tree_norm(gradient_of(of_lag)), tree_norm(gradient_of(of_later))
        return (adjoints.earlier(of_lag), adjoints.earlier(of_later)), row

    beyond_0 = adjoints.every_lag()
    size = tree_norm(jax.tree.map(jnp.add, adjoints.lag_0, gradient_of(beyond_0)))
    _, (later, lost) = lax.scan(push_back, (adjoints.lag_1, beyond_0), length=R)
    norm = jnp.concatenate([tree_norm(adjoints.lag_0)[None], later[:-1]])
    good = lost <= tolerance * size
    # A window counts only if all larger ones are good too.
    good = lax.cumsum((~good).astype(jnp.int32), reverse=True) == 0
    vouched = jnp.any(good) & (all_lags | geometric_decay(norm, adjoints.reach[:R]).geometric)
    window = jnp.where(vouched, jnp.argmax(good) + 1, 0).astype(jnp.int32)
    return window, ~vouched
