"""Eigenvalues of the step Jacobians, and how far they mislead."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn._result_type import result_type
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians import _scaled

__all__ = ["Eigenvalues", "eigenvalues"]


@result_type
class Eigenvalues(NamedTuple):
    """The eigenvalues of every J_t, and how far each J_t is from having orthogonal eigenvectors."""

    values: Complex[Array, "*B T n"]
    """By falling modulus; NaN where J_t is not finite."""
    departure_from_normality: Float[Array, "*B T"]
    """Henrici's ``sqrt(‖J‖_F² - Σ|λ_i|²) / ‖J‖_F``: 0 for a normal J, 1 for a nilpotent one."""

    @property
    def spectral_radius(self) -> Float[Array, "*B T"]:
        """max |λ_i| of every J_t."""
        return jnp.abs(self.values[..., 0])


@_checks.signature("jacobians.eigenvalues")
@compiled
@where_it_lies
def eigenvalues(js: Float[Array, "T n n"]) -> Eigenvalues:
    """Eigenvalues λ_i of every J_t (E11), with the departure from normality that says how far to trust them.

    For a normal J the moduli of the eigenvalues are the gains of its directions. For a non-normal one they
    mislead: all may be 0 while ‖J‖₂ is large, so that a gradient grows for many steps before it decays, and
    a product of different J_t may grow though every spectral radius is below 1. What a gradient does is said
    by `norms`, `spectrum` and `growth_rates`.

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`; float16 and bfloat16 are computed in float32.

    Returns
    -------
    Eigenvalues
        ``values [T, n]``, ``departure_from_normality [T]`` in 0..1, ``spectral_radius [T]``.

    Raises
    ------
    ValueError
        If js is not [T, n, n].

    Notes
    -----
    Time: about 10 n³ a step, by LAPACK's QR algorithm. An eigenvalue of a strongly non-normal matrix moves
    by far more than eps; the departure is zero up to about sqrt(eps).

    Example
    -------
    >>> shear = jnp.array([[[0.0, 8.0], [0.0, 0.0]]])
    >>> found = eigenvalues(shear)
    >>> found.spectral_radius, found.departure_from_normality  # though its norm is 8
    (Array([0.], dtype=float32), Array([1.], dtype=float32))

    Reference
    ---------
    Trefethen & Embree, Spectra and Pseudospectra, 2005; Henrici 1962.
    """
    _checks.jacobian_chain("jacobians.eigenvalues", js)
    factors = _scaled.chain(js)
    values = jnp.linalg.eigvals(factors.mantissas)
    order = jnp.argsort(-jnp.abs(values), axis=1)
    values = jnp.take_along_axis(values, order, axis=1)
    frobenius = jnp.sum(factors.mantissas**2, axis=(1, 2))
    rest = jnp.maximum(frobenius - jnp.sum(jnp.abs(values) ** 2, axis=1), 0)
    departure = jnp.sqrt(rest / jnp.where(frobenius > 0, frobenius, 1))
    scale = jnp.ldexp(jnp.ones((), departure.dtype), factors.exponents)[:, None]
    return Eigenvalues(
        jnp.where(factors.finite[:, None], values * scale.astype(values.dtype), jnp.nan),
        jnp.where(factors.finite, departure, jnp.nan),
    )
