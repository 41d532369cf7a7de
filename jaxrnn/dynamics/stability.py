"""What a network does near a fixed point: the modes of its linear approximation there."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int, PyTree

from jaxrnn import _checks
from jaxrnn._pytree import after, ravel, state_step
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians import eigenvalues
from jaxrnn.types import Params, State, StepFn

__all__ = ["Stability", "stability", "unstable_directions"]


def unstable_directions(eigenvalues: Complex[Array, "*P n"]) -> Int[Array, "*P"]:
    """How many |λ_i| > 1; -1 where they are NaN."""
    moduli = jnp.abs(eigenvalues)
    return jnp.where(jnp.any(jnp.isnan(moduli), axis=-1), -1, jnp.sum(moduli > 1, axis=-1))


@result_type
class Stability(NamedTuple):
    """Eigenvalues and eigenvectors of J = ∂F/∂h at each of P points; NaN where J is not finite."""

    eigenvalues: Complex[Array, "*B P n"]
    """λ_i by falling modulus."""
    right: Complex[Array, "*B P n n"]
    """Column i is the mode v_i of unit length, J v_i = λ_i v_i: a displacement that keeps its shape."""
    left: Complex[Array, "*B P n n"]
    """Column i is w_i with w_iᴴ J = λ_i w_iᴴ and w_iᴴ v_i = 1: what of a displacement, or of an input, the
    mode integrates is w_iᴴ δh."""
    departure_from_normality: Float[Array, "*B P"]
    """As in `jacobians.eigenvalues`: 0 where modes are orthogonal."""

    @property
    def time_constants(self) -> Float[Array, "*B P n"]:
        """-1/ln|λ_i|, in how many steps a mode decays by e; negative where it grows, inf where |λ_i| = 1."""
        return -1 / jnp.log(jnp.abs(self.eigenvalues))

    @property
    def frequencies(self) -> Float[Array, "*B P n"]:
        """|arg λ_i|/2π, cycles per step: 0 for a mode that does not turn, ½ for one that alternates."""
        return jnp.abs(jnp.angle(self.eigenvalues)) / (2 * jnp.pi)

    @property
    def unstable(self) -> Int[Array, "*B P"]:
        """How many |λ_i| > 1: 0 for an attractor, n for a repeller, between them a saddle; -1 for NaN."""
        return unstable_directions(self.eigenvalues)

    @property
    def stable(self) -> Bool[Array, "*B P"]:
        """Whether all |λ_i| < 1; False where they are NaN."""
        return jnp.all(jnp.abs(self.eigenvalues) < 1, axis=-1)

    @property
    def conditions(self) -> Float[Array, "*B P n"]:
        """‖w_i‖‖v_i‖ >= 1: by how much a change of J may move λ_i, 1 for a normal J."""
        return jnp.sqrt(jnp.sum(jnp.abs(self.left) ** 2, axis=-2))


@_checks.signature("dynamics.stability")
@where_it_lies
def stability(step: StepFn, params: Params, x: PyTree, points: State) -> Stability:
    """Eigenvalues, modes and their time constants at fixed points: δh_t = J δh_{t-1} to first order.

    Parameters
    ----------
    step, params, x : as for `fixed_points`.
    points : states, leaves [P, ...], such as ``fixed_points(...).of_kind("fixed")``.

    Returns
    -------
    Stability
        With `time_constants`, `frequencies`, `unstable`, `stable` and `conditions` derived.

    Raises
    ------
    TypeError, ValueError
        If the points are no states of that step.

    Notes
    -----
    Time: n tangents of a step and about 25 n³ a point, by LAPACK's QR algorithm. No vectors of a defective J
    are independent; its `left` ones are inf or NaN then. `jax.vmap` over parameters and inputs.

    Example
    -------
    >>> step = lambda w, h, x: (jnp.tanh(w * h + x), h)
    >>> found = stability(step, 2.0, 0.0, jnp.array([0.0, 0.9575041]))
    >>> found.unstable, bool(abs(found.time_constants[1, 0] - 0.5576) < 1e-3)
    (Array([1, 0], dtype=int32), True)

    Reference
    ---------
    Sussillo & Barak, Opening the black box, Neural Computation 2013; Trefethen & Embree 2005.
    """
    name = "dynamics.stability"
    if not _checks.leading_axis(name, "points", points):
        raise ValueError(f"{name}: points holds no state; expected leaves [P, ...] with P >= 1.")
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], points)
    _checks.step_keeps_state(name, step, params, one, x)
    flat_step = state_step(step, params, one)
    js = jax.vmap(jax.jacfwd(lambda h: flat_step(h, x)))(jax.vmap(ravel)(points))
    finite = jnp.all(jnp.isfinite(js), axis=(1, 2))
    values, left, right = lax.linalg.eig(jnp.where(finite[:, None, None], js, 0))
    order = jnp.argsort(-jnp.abs(values), axis=-1)
    values = jnp.take_along_axis(values, order, axis=-1)
    left, right = (jnp.take_along_axis(vectors, order[:, None, :], axis=-1) for vectors in (left, right))
    overlap = jnp.sum(left.conj() * right, axis=-2, keepdims=True)
    left = left / overlap.conj()
    departure = eigenvalues(after(js, values.real)).departure_from_normality

    def known(vectors):
        return jnp.where(finite.reshape(-1, *[1] * (vectors.ndim - 1)), vectors, jnp.nan)

    return Stability(known(values), known(right), known(left), departure)
