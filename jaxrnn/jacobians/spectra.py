"""The leading singular values of ∂h_t/∂h_k for all pairs at once (E15)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._compiled import compiled
from jaxrnn.jacobians.norms import CERTIFIED_BELOW, singular_values_of_views
from jaxrnn.jacobians.spectrum import Spectrum

__all__ = ["spectra"]


@_checks.signature("jacobians.spectra")
@compiled
def spectra(
    js: Float[Array, "T n n"],
    *,
    at: Sequence[int] | None = None,
    lags: Sequence[int] | None = None,
    top: int | None = None,
) -> Spectrum:
    """``ln σ_i(∂h_t/∂h_k)`` of all or some pairs, as far below the norm as the arithmetic reaches (E15).

    Parameters
    ----------
    js, at, lags : as for `norms`, and the pairs stand at the same places.
    top : how many values, at most n; by default all n.

    Returns
    -------
    Spectrum
        ``log_sigma``, ``log_error`` and ``certified`` as the tables of `norms`, with a last axis [top],
        descending.

    Raises
    ------
    ValueError
        If js is not [T, n, n], or top is not within 1..n.
    IndexError
        If a time or a lag lies outside 0..T.

    Notes
    -----
    Products and bounds are those of `norms`. By Weyl's inequality no singular value moves by more than its
    matrix, so ``|Δ ln σ_i|`` is at most about that of the norm times σ_1/σ_i: certified is what lies above
    ``log_error[..., 0] / 0.23`` of the norm, which is less of the spectrum the longer the lag, and the rest
    is flagged. `spectrum` finds that too, one pair at a time.

    Time: as for `norms`, with an SVD of n×n for every pair. Memory: [T+1, T+1, top].

    Example
    -------
    >>> import jax.numpy as jnp
    >>> js = jnp.broadcast_to(jnp.diag(jnp.array([1.0, 0.5])), (3, 2, 2))
    >>> spectra(js).log_sigma[3, 1]  # ln 1 and ln 1/4
    Array([ 0.       , -1.3862944], dtype=float32)

    Reference
    ---------
    Weyl's inequality: Horn & Johnson, Topics in Matrix Analysis, Theorem 3.3.16.
    """
    _, n = _checks.jacobian_chain("jacobians.spectra", js)
    if _checks.at_least("jacobians.spectra", "top", n if top is None else top, 1) > n:
        raise ValueError(f"jacobians.spectra: top is {top}; the state has n = {n} directions.")
    ((log_sigma, log_error),) = singular_values_of_views("jacobians.spectra", js, (), at, lags, top or n)
    return Spectrum(log_sigma, log_error, log_error < CERTIFIED_BELOW)
