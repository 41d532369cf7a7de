"""The curve of fixed points in (state, parameter): along it by its arclength, and to what happens on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn._pytree import after
from jaxrnn.dynamics._solve import damped_step, norm
from jaxrnn.dynamics.branch import KINDS
from jaxrnn.jacobians import eigenvalues

__all__ = ["Curve"]

_CORRECTIONS = 12
_SHORTEST = 1e-4
# Of the longest step: where a correction of this length fails, too, the curve is lost.
_STRAIGHT = 0.9
# The cosine between the tangents of two points; where it is less, the step may have led to another curve.
_SECANTS = 60
_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


class Curve(NamedTuple):
    """Zeros of `displacement(y)`, [n], for y = (state, u) with n + 1 entries, while 0 <= u <= 1."""

    displacement: Callable[[Array], Array]
    tolerance: float
    """Of ‖displacement‖ relative to 1 + ‖y‖."""

    def slopes(self, y: Float[Array, " m"]):
        """∂displacement/∂y [n, m] with m = n + 1, and the displacement."""

        def with_value(y):
            r = self.displacement(y)
            return r, r

        return jax.jacfwd(with_value, has_aux=True)(y)

    def eigenvalues(self, A):
        """λ_i of the map itself, whose Jacobian less I is the state's part of A; by falling modulus."""
        return eigenvalues((A[:, :-1] + jnp.eye(len(A), dtype=A.dtype))[None]).values[0]

    def is_on(self, y, r):
        """Whether the displacement is rounding."""
        return norm(r) <= self.tolerance * (1 + norm(y))

    def corrected(self, y, row):
        """(y, A, r, corrections) of the point on the curve at the same row·y, by Newton's method."""

        def unfinished(state):
            y, _, r, i = state
            return ~self.is_on(y, r) & (i < _CORRECTIONS)

        def improve(state):
            y, A, r, i = state
            bordered = jnp.concatenate([A, row[None]])
            y = y + damped_step(bordered, jnp.append(r, 0), _shift(bordered))
            return y, *self.slopes(y), i + 1

        return lax.while_loop(unfinished, improve, (y, *self.slopes(y), jnp.zeros((), jnp.int32)))

    def follow(self, y, points: int, longest: float):
        """(ys, tangents, reached) of so many points from u = 0 on, and whether an end of u was reached."""
        upwards = jnp.zeros_like(y).at[-1].set(1)
        y, A, r, _ = self.corrected(y, upwards)
        first = y, _tangent(A, upwards), jnp.asarray(longest / 4, y.dtype), self.is_on(y, r)

        def attempt(trial):
            y, t, length, *_ = trial
            edge = jnp.where(t[-1] > 0, 1, 0).astype(y.dtype)
            ahead = y + length * t
            beyond = (ahead[-1] < 0) | (ahead[-1] > 1)
            length = jnp.where(beyond, (edge - y[-1]) / t[-1], length)
            ahead = jnp.where(beyond, (y + length * t).at[-1].set(edge), ahead)
            new, A, r, used = self.corrected(ahead, jnp.where(beyond, upwards, t))
            tangent = _tangent(A, t)
            inside = beyond | ((new[-1] >= 0) & (new[-1] <= 1))
            near = (norm(new - y) <= 2 * length) & (tangent @ t >= _STRAIGHT)
            good = self.is_on(new, r) & inside & near
            factor = jnp.where(good, jnp.where(used <= 3, 1.5, 1.0), 0.5).astype(y.dtype)
            length = jnp.minimum(factor * length, longest * (1 + norm(y)))
            return y, t, length, new, tangent, good, good & beyond

        def advance(carry, _):
            y, t, length, going = carry
            trial = y, t, length, y, t, ~going, jnp.zeros((), bool)
            trial = lax.while_loop(lambda trial: ~trial[5] & (trial[2] > _SHORTEST * longest), attempt, trial)
            *_, length, new, tangent, good, ended = trial
            going &= good
            return (new, tangent, length, going & ~ended), (new, tangent, going, ended)

        _, (ys, tangents, reached, ended) = lax.scan(advance, first, length=points - 1)
        with_first = [
            jnp.concatenate([one[None], others])
            for one, others in zip((first[0], first[1], first[3]), (ys, tangents, reached), strict=True)
        ]
        return *with_first, jnp.any(ended)

    def crossing(self, start, end):
        """(kind, y, λ) of what happens between two points (y, tangent, λ) of the curve."""
        (y_a, t_a, values_a), (y_b, t_b, values_b) = start, end
        eps = jnp.finfo(y_a.dtype).eps
        moduli_a, moduli_b = jnp.abs(values_a), jnp.abs(values_b)
        outside_a, outside_b = jnp.sum(moduli_a > 1), jnp.sum(moduli_b > 1)
        rank = jnp.maximum(jnp.maximum(outside_a, outside_b) - 1, 0)
        crosses = (outside_a != outside_b) & (jnp.abs(moduli_a - moduli_b)[rank] > jnp.sqrt(eps))
        turns = t_a[-1] * t_b[-1] < 0
        chord = (y_b - y_a) / norm(y_b - y_a)

        def height(values, tangent):
            """What changes its sign where it happens."""
            return jnp.where(crosses, jnp.abs(values[rank]) - 1, tangent[-1])

        def unfinished(state):
            (a, _), (b, f), _, i = state
            return (crosses | turns) & (jnp.abs(b - a) > 2 * eps) & (jnp.abs(f) > 4 * eps) & (i < _SECANTS)

        def narrow(state):
            """A secant between the ends of the bracket, the newer one second (the Illinois rule)."""
            (a, f_a), (b, f_b), _, i = state
            m = (a * f_b - b * f_a) / (f_b - f_a)
            y, A, _, _ = self.corrected(y_a + m * (y_b - y_a), chord)
            tangent = _tangent(A, t_a)
            f = height(self.eigenvalues(after(A, tangent)), tangent)
            other = jnp.where(f * f_b < 0, jnp.stack([b, f_b]), jnp.stack([a, f_a / 2]))
            return (other[0], other[1]), (m, f), y, i + 1

        zero, one = jnp.zeros_like(y_a[0]), jnp.ones_like(y_a[0])
        bracket = (zero, height(values_a, t_a)), (one, height(values_b, t_b)), y_b, jnp.zeros((), jnp.int32)
        y = lax.while_loop(unfinished, narrow, bracket)[2]

        def classified():
            A, _ = self.slopes(y)
            values = self.eigenvalues(A)
            value = jnp.where(crosses, values[rank], values[jnp.argmin(jnp.abs(values - 1))])
            value = jnp.where(value.imag < 0, value.conj(), value)
            turning = jnp.where(crosses, _NUMBER["fold"], _NUMBER["pitchfork"])
            at_one = jnp.where(turns, turning, self._without_turn(y, after(A, values.real)))
            real = jnp.where(value.real < 0, _NUMBER["flip"], at_one)
            return jnp.where(value.imag > eps**0.25, _NUMBER["neimark_sacker"], real), y, value

        def nothing():
            return jnp.zeros((), int), y * jnp.nan, values_a[0] * jnp.nan

        return lax.cond(crosses | turns, classified, nothing)

    def _without_turn(self, y, A):
        """Where branches cross: transcritical, or a pitchfork if the quadratic term is zero."""
        left, _, right = jnp.linalg.svd(A[:, :-1])
        direction = jnp.append(right[-1], 0)

        def derivative(f):
            return lambda y: jax.jvp(f, (y,), (direction,))[1]

        second = derivative(derivative(self.displacement))
        quadratic = jnp.abs(left[:, -1] @ second(y)) / 2
        cubic = jnp.abs(left[:, -1] @ derivative(second)(y)) / 6
        symmetric = quadratic <= jnp.finfo(y.dtype).eps ** 0.25 * (quadratic + cubic)
        return jnp.where(symmetric, _NUMBER["pitchfork"], _NUMBER["transcritical"])


def _shift(A):
    return jnp.finfo(A.dtype).eps * jnp.sum(A**2) / A.shape[1]


def _tangent(A, before):
    """The unit vector with A t = 0 that goes on where `before` pointed."""
    bordered = jnp.concatenate([A, before[None]])
    t = before + damped_step(bordered, jnp.append(A @ before, 0), _shift(bordered))
    return t / norm(t)
