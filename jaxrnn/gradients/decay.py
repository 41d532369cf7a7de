"""Whether the gradient's terms decay geometrically with the lag, and what lies beyond the last one."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn import _checks
from jaxrnn._pytree import widest
from jaxrnn._result_type import result_type

__all__ = ["GeometricDecay", "geometric_decay"]

_FEWEST = 4
# Terms that end within this many lags have ended.


@result_type
class GeometricDecay(NamedTuple):
    """A straight line through ln (‖g_s‖ / reach_s) over the later half of the lags above rounding."""

    log_rate: Float[Array, ""]
    """Nats per step; negative where the terms decay, -inf where they end within a few lags."""
    standard_error: Float[Array, ""]
    """Of the rate, from the residuals and their correlation from lag to lag; nats per step. It is of this one
    profile: where the fit spans few nats, those of other batches may differ by more."""
    quality: Float[Array, ""]
    """R², the part of the variance that the line explains."""
    beyond: Float[Array, ""]
    """``Σ_{s >= L} ‖g_s‖`` as the line continues, relative to ``Σ_{s < L} ‖g_s‖``; or inf."""

    @property
    def geometric(self) -> Bool[Array, ""]:
        """Whether the line falls by more than twice its error and explains half of the variance."""
        return jnp.asarray((self.log_rate + 2 * self.standard_error < 0) & (self.quality > 0.5))

    @property
    def smallest_keep(self) -> Float[Array, ""]:
        """The π of `randomized` above which its variance stays bounded in T: ``e^(2·log_rate)`` (at most 1).

        The variance of a term grows as π^-(t-k), its square falls as e^(2·log_rate·(t-k)): for h ← a·h + x
        this is the condition a² < π.
        """
        return jnp.minimum(jnp.exp(2 * self.log_rate), 1)


@_checks.signature("gradients.geometric_decay")
def geometric_decay(norm: Float[Array, " L"], reach: Float[Array, " L"] | None = None) -> GeometricDecay:
    """Fit ``‖g_s‖ ≈ reach_s·C·e^(log_rate·s)`` to the later half of a lag profile.

    Parameters
    ----------
    norm : ‖g_s‖ of the lags 0..L-1, such as ``LagProfile.norm``. Lags behind the last one that is above
        100 eps of the largest are not read.
    reach : such as ``LagProfile.reach``: a sequence of T steps has only T - s terms of lag s, which is no
        decay. By default 1.

    Returns
    -------
    GeometricDecay
        NaN if the profile is not finite or has fewer than 5 lags. Under `jit` and `vmap` too.

    Raises
    ------
    ValueError
        If norm is not a vector of lags, or reach has another length.

    Example
    -------
    >>> found = geometric_decay(0.5 ** jnp.arange(20.0))
    >>> jnp.exp(found.log_rate), found.geometric
    (Array(0.5, dtype=float32), Array(True, dtype=bool))

    Reference
    ---------
    Aicher, Foti & Fox, Adaptively truncating backpropagation through time to control gradient bias, 2019.
    """
    norm = _profile("norm", norm)
    L = len(norm)
    if reach is not None:
        reach = _profile("reach", reach).astype(norm.dtype)
        _checks.shape("gradients.geometric_decay", "reach", reach, norm.shape, "Give one value a lag.")
    lag = jnp.arange(L).astype(norm.dtype)
    seen = norm > 100 * jnp.finfo(norm.dtype).eps * jnp.max(norm)
    last = jnp.max(jnp.where(seen, jnp.arange(L), 0))
    used = seen & (2 * jnp.arange(L) >= last) & (jnp.arange(L) <= last)
    count = jnp.sum(used).astype(norm.dtype)

    def mean(values):
        return jnp.sum(jnp.where(used, values, 0)) / count

    log_norm = jnp.log(jnp.where(used, norm if reach is None else norm / reach, 1))
    x, y = lag - mean(lag), log_norm - mean(log_norm)
    rate = mean(x * y) / mean(x * x)
    left = mean((y - rate * x) ** 2)
    residual = jnp.where(used, y - rate * x, 0)
    # Neighbouring lags of a profile are alike, so that there are fewer independent ones than lags.
    rho = jnp.clip(jnp.sum(residual[1:] * residual[:-1]) / jnp.sum(residual**2), 0, 0.99)
    rho = jnp.where(jnp.isfinite(rho), rho, 0)
    error = jnp.sqrt(left / mean(x * x) / (count - 2) * (1 + rho) / (1 - rho))
    at_end = jnp.exp(mean(log_norm) + rate * (L - mean(lag)))
    beyond = jnp.where(rate < 0, at_end / -jnp.expm1(rate), jnp.inf) / jnp.sum(norm)
    finite = jnp.all(jnp.isfinite(norm if reach is None else norm + reach))
    ends = finite & (last < _FEWEST) & (last < L - 1)
    spread = mean(y * y)
    quality = jnp.where(spread > 0, 1 - left / jnp.where(spread > 0, spread, 1), 0)
    found = GeometricDecay(rate, error, quality, beyond)
    at_once = GeometricDecay(*(jnp.asarray(value, norm.dtype) for value in (-jnp.inf, 0, 1, 0)))
    usable = finite & (count >= _FEWEST - 1)
    return GeometricDecay(
        *(jnp.where(ends, a, jnp.where(usable, b, jnp.nan)) for a, b in zip(at_once, found, strict=True))
    )


def _profile(name, values):
    """A vector in float32 or wider."""
    values = jnp.asarray(values)
    if values.ndim != 1 or not len(values) or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"gradients.geometric_decay: {name} is {values.dtype}{list(values.shape)}; expected the floating "
            "values of the lags 0..L-1, [L]."
        )
    return values.astype(widest(values.dtype))
