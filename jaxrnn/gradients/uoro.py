"""RTRL with an unbiased estimate of dh_t/dw of rank one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn.gradients.online import Rule, online
from jaxrnn.gradients.start import InitState
from jaxrnn.types import Estimator, StepFn, StepLoss

__all__ = ["uoro"]


@_checks.signature("gradients.uoro", random=True)
def uoro(step: StepFn, step_loss: StepLoss, *, init_state: InitState | None = None) -> Estimator:
    """Unbiased online recurrent optimization: RTRL with a random a_t of rank one (E9).

    ``ã_t = h̃_t w̃_tᵀ`` with E ã_t = a_t: of signs ν, ``h̃_t = ρ₀ c_t h̃_{t-1} + ρ₁ ν`` and
    ``w̃_t = w̃_{t-1}/ρ₀ + νᵀ b_t/ρ₁``, where ρ₀ and ρ₁ balance the norms and so keep the variance small.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With a carry as for `rtrl`, and unbiased across borders between batches as that is exact.

    Notes
    -----
    Time a few passes over B·P numbers a step, where `full` reads the P parameters once for the whole batch;
    memory B·(n + P), however long the sequence. The variance grows with n and with the length that a_t
    remembers.

    Reference
    ---------
    Tallec & Ollivier, Unbiased online recurrent optimization, 2018.
    """
    return online("gradients.uoro", step, step_loss, _RULE, init_state)


def _zero(params, h):
    return jnp.zeros_like(h), jax.tree.map(jnp.zeros_like, params)


def _advance(F, params, h, influence, signs):
    h_tilde, w_tilde = influence
    _, forward = jax.jvp(lambda h: F(params, h), (h,), (h_tilde,))
    _, pull = jax.vjp(lambda params: F(params, h), params)
    (immediate,) = pull(signs)
    keep_h, keep_w = _balance(forward, w_tilde)
    add_h, add_w = _balance(signs, immediate)
    h_tilde = keep_h * forward + add_h * signs
    w_tilde = jax.tree.map(lambda w, i: keep_w * w + add_w * i, w_tilde, immediate)
    return h_tilde, w_tilde


def _balance(h, w):
    """(ρ, 1/ρ) with ρ = √(‖w‖/‖h‖). If one of them is zero, so is h wᵀ, and both may go: (0, 0)."""
    sizes = tree_norm(w), tree_norm(h)
    some = (sizes[0] > 0) & (sizes[1] > 0)
    size_w, size_h = (jnp.where(some, size, 1) for size in sizes)
    return jnp.where(some, jnp.sqrt(size_w / size_h), 0), jnp.where(some, jnp.sqrt(size_h / size_w), 0)


def _pull(params, influence, from_h):
    del params
    h_tilde, w_tilde = influence
    return jax.tree.map(lambda w: jnp.dot(from_h, h_tilde) * w, w_tilde)


_RULE = Rule(zero=_zero, draw=jax.random.rademacher, advance=_advance, pull=_pull)
