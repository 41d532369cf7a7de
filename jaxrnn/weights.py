"""Weights per step: the mask that turns one loss into many task shapes (E2)."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxrnn import _checks

__all__ = ["weights_from_lengths"]

_FORMS = ("last", "mean", "sum")


@_checks.signature("weights_from_lengths")
def weights_from_lengths(
    lengths: Int[Array, " B"], length: int, *, form: str = "mean"
) -> Float[Array, "B T"]:
    """Weights [B, T] of sequences padded to T steps; padding weighs exactly 0 (E2).

    Parameters
    ----------
    lengths : [B], the number of real steps of each sequence, 1..T.
    length : T, the padded length.
    form : ``"mean"`` gives 1/length on every real step, ``"sum"`` gives 1, and ``"last"`` gives 1 on
        the last real step only (many-to-one).

    Raises
    ------
    ValueError
        If a (concrete) length lies outside 1..T, lengths is not [B], or the form is unknown.
    TypeError
        If the lengths are not integers.

    Example
    -------
    >>> weights_from_lengths(jnp.array([1, 2]), 2, form="last")
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    _checks.choice("weights_from_lengths", "form", form, _FORMS)
    length = _checks.at_least("weights_from_lengths", "length", length, 1)
    if jnp.ndim(lengths) != 1:
        raise ValueError(f"weights_from_lengths: lengths has shape {jnp.shape(lengths)}; expected [B].")
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"weights_from_lengths: lengths has dtype {lengths.dtype}; expected integers.")
    if not isinstance(lengths, jax.core.Tracer):
        known = np.asarray(lengths)
        low, high = np.min(known, initial=1), np.max(known, initial=1)
        if low < 1 or high > length:
            raise ValueError(
                f"weights_from_lengths: lengths span {low}..{high}; expected 1..T = 1..{length}."
            )
    dtype = jax.dtypes.canonicalize_dtype(float)
    lengths = jnp.asarray(lengths)[:, None]
    t = jnp.arange(1, length + 1, dtype=lengths.dtype)[None, :]
    real = (t <= lengths).astype(dtype)
    return {"last": (t == lengths).astype(dtype), "mean": real / lengths.astype(dtype), "sum": real}[form]
