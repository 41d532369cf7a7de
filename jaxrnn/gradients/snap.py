"""RTRL that keeps only the entries of dh_t/dw within a few steps' reach: SnAp."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Int

from jaxrnn import _checks
from jaxrnn._pytree import ravel, widest
from jaxrnn.gradients.online import Rule, online
from jaxrnn.gradients.start import InitState
from jaxrnn.types import Estimator, Params, StepFn, StepLoss, Trajectory

__all__ = ["InfluencePattern", "influence_pattern", "snap"]

_LOOKS = 32


class InfluencePattern(NamedTuple):
    """Which entries of dh_t/dw [n, P] are kept: for each parameter up to m units, all others being zero."""

    units: Int[np.ndarray, "m P"]
    """The units that a parameter is kept for; a number without meaning where `kept` is False."""
    kept: Bool[np.ndarray, "m P"]
    immediate: Bool[np.ndarray, "m P"]
    """Where the parameter reaches the unit within the step itself, ∂⁺h_t/∂w ≠ 0."""
    with_start: bool
    """Whether it was built with init_state, so that a learned h_0 has its units."""
    group: Int[np.ndarray, " n"]
    """Units of one group share no immediate parameter: one vector-Jacobian product serves them all."""


@_checks.signature("gradients.influence_pattern", gradient=True)
def influence_pattern(
    step: StepFn,
    params: Params,
    trajectory: Trajectory,
    *,
    steps: int = 1,
    init_state: InitState | None = None,
) -> InfluencePattern:
    """The units that each parameter can reach within some steps, from where Jacobians are not zero.

    ``∂⁺h_t/∂w`` and ``∂h_t/∂h_{t-1}`` are looked at 32 times or more along a trajectory, with noise on
    parameters and states: what is zero there every time is so by structure, and not because a weight is zero,
    a relu off or a tanh saturated.

    Parameters
    ----------
    step, params : the recurrence of one sequence.
    trajectory : of `unroll`, one sequence. It must hold every token that parameters belong to.
    steps : within how many steps. 1 is SnAp-1: only what a parameter reaches at once.
    init_state : as for `snap`; a learned h_0 reaches its own units.

    Returns
    -------
    InfluencePattern
        NumPy arrays, since shapes of compiled code depend on it.

    Raises
    ------
    ValueError
        If steps < 1, the trajectory is a batch, or the state has no entries.

    Notes
    -----
    Time max(T, 32)·n vector-Jacobian products of a step; memory n·P.
    """
    steps = _checks.at_least("gradients.influence_pattern", "steps", steps, 1)
    _checks.trajectory("gradients.influence_pattern", trajectory)
    flat_params, unravel = ravel_pytree(params)
    flat_h, unravel_h = ravel_pytree(trajectory.h_0)
    n, P = len(flat_h), len(flat_params)

    def F(flat_params, flat_h, x):
        return ravel(step(unravel(flat_params), unravel_h(flat_h), x)[0])

    def look(seen, row):
        key_w, key_h, h, x = row
        w = flat_params + scale * jax.random.normal(key_w, (P,), flat_params.dtype)
        h = ravel(h) + jax.random.normal(key_h, (n,), flat_h.dtype)
        found = jax.jacrev(F)(w, h, x) != 0, jax.jacfwd(F, argnums=1)(w, h, x) != 0
        return jax.tree.map(jnp.logical_or, seen, found), None

    # Noise that leaves a unit's input of the order of 1.
    scale = ravel(jax.tree.map(lambda w: jnp.full_like(w, max(*jnp.shape(w), 1, 1) ** -0.5), params))
    length = len(jax.tree.leaves(trajectory.hs)[0])
    seen = jnp.zeros((n, P), bool), jnp.zeros((n, n), bool)
    for key in jax.random.split(jax.random.key(0), -(-_LOOKS // length)):
        keys = jax.random.split(key, (2, length))
        seen, _ = lax.scan(look, seen, (*keys, trajectory.h_tm1s, trajectory.xs))
    immediate, passed = (np.array(found) for found in seen)
    if init_state is not None:
        immediate |= np.asarray(jax.jacrev(lambda w: ravel(init_state(unravel(w))))(flat_params) != 0)
    reached = immediate
    for _ in range(steps - 1):
        reached = reached | (passed.astype(np.float32) @ reached.astype(np.float32) > 0)
    m = max(int(reached.sum(axis=0).max()), 1)
    units = np.argsort(~reached, axis=0, kind="stable")[:m]
    return InfluencePattern(
        units=units,
        kept=np.take_along_axis(reached, units, axis=0),
        immediate=np.take_along_axis(immediate, units, axis=0),
        with_start=init_state is not None,
        group=_groups(immediate),
    )


@_checks.signature("gradients.snap")
def snap(
    step: StepFn, step_loss: StepLoss, *, pattern: InfluencePattern, init_state: InitState | None = None
) -> Estimator:
    """Sparse n-step approximation of RTRL: ``a_t = M ⊙ (b_t + c_t a_{t-1})`` with a pattern M (E9).

    With M = 1 this is `rtrl`. SnAp-n keeps the entries that are reached within n steps, and SnAp-1 of a dense
    network a few numbers a parameter: for an Elman cell or GRU its own unit, for an LSTM h and c of its unit.
    Biased, but without noise, and over any number of steps, as a truncated gradient is not.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    pattern : of `influence_pattern`, with the same parameters and states.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        With a carry as for `rtrl`; its ``influence`` holds [B, m, P], the kept entries.

    Raises
    ------
    ValueError
        If the pattern is of another network, or was built without the init_state given here.

    Notes
    -----
    Time B·T·(n + m²)·P, since ∂h_t/∂h_{t-1} is computed whole; memory B·m·P, however long the sequence. Where
    a dense layer reaches all units within 2 steps, SnAp-2 is `rtrl`, which is faster at it.

    Example
    -------
    >>> from jaxrnn import cells, losses, unroll
    >>> cell = cells.elman(2, 3)
    >>> params = cell.init(jax.random.key(0))
    >>> run = unroll(cell.step, params, cell.init_state(params), jnp.ones((4, 2)))
    >>> pattern = influence_pattern(cell.step, params, run)
    >>> pattern.units.shape  # 3·2 + 3·3 + 3 parameters, each with its own unit
    (1, 18)
    >>> estimator = snap(cell.step, losses.squared_error, pattern=pattern)

    Reference
    ---------
    Menick, Elsen, Evci, Osindero, Simonyan & Graves, Practical real time recurrent learning with a sparse
    approximation, 2021.
    """
    if not isinstance(pattern, InfluencePattern):
        raise TypeError(f"gradients.snap: pattern is {pattern!r}; expected that of influence_pattern.")
    if init_state is not None and not pattern.with_start:
        raise ValueError(
            "gradients.snap: the pattern does not know init_state, and a learned h_0 would get no gradient; "
            "build it by influence_pattern(..., init_state=init_state) too."
        )
    return online("gradients.snap", step, step_loss, _rule(pattern), init_state)


def _rule(pattern):
    units, kept, immediate, _, group = (jnp.asarray(part) for part in pattern)
    members = group[None, :] == jnp.arange(np.max(pattern.group) + 1)[:, None]

    def check(params, h):
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        if (len(group), units.shape[1]) != (len(h), size):
            raise ValueError(
                f"gradients.snap: the pattern is of n = {len(group)} and {units.shape[1]} parameters; the "
                f"network has n = {len(h)} and {size}. Build it by influence_pattern from this network."
            )

    def zero(params, h):
        check(params, h)
        return jnp.zeros(units.shape, widest(ravel(params).dtype, h.dtype))

    def advance(F, params, h, a, noise):
        del noise
        _, pull = jax.vjp(lambda params: F(params, h), params)
        of_group = jax.vmap(lambda cotangent: ravel(pull(cotangent)[0]))(members.astype(h.dtype))
        b = jnp.where(immediate, of_group[group[units], jnp.arange(units.shape[1])[None, :]], 0).astype(
            a.dtype
        )
        c = jax.jacfwd(F, argnums=1)(params, h).astype(a.dtype)

        def add_from(total, source):
            unit, a_of_unit = source
            return total + c[units, unit[None, :]] * a_of_unit[None, :], None

        total, _ = lax.scan(add_from, b, (units, a))
        return jnp.where(kept, total, 0)

    def pull(params, a, from_h):
        flat, unravel = ravel_pytree(params)
        return unravel(jnp.sum(from_h.astype(a.dtype)[units] * a, axis=0).astype(flat.dtype))

    return Rule(zero=zero, draw=lambda *_: (), advance=advance, pull=pull)


def _groups(immediate):
    """Greedy colouring: a unit joins the first group that shares no parameter with it."""
    taken, group = [], np.zeros(len(immediate), int)
    for unit, its in enumerate(immediate):
        free = [i for i, of_group in enumerate(taken) if not np.any(of_group & its)]
        group[unit] = free[0] if free else len(taken)
        if free:
            taken[free[0]] = taken[free[0]] | its
        else:
            taken.append(its.copy())
    return group
