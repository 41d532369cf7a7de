"""One row of the ladder, and the ways in which a figure is held against its reference."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

DTYPES = {"float64": 1e-12, "float32": 2e-5}
"""dtype -> the relative error that a gradient or a product of a few dozen steps may have."""


class Row(NamedTuple):
    """A claim, what it is held against, and what was found."""

    claim: str
    reference: str
    expected: str
    measured: str
    held: bool


def rows_of(check: Callable[[], Iterator[Row]]) -> list[Row]:
    """All rows of a check; one that fails to run is a row that does not hold."""
    try:
        return list(check())
    except Exception as error:
        traceback.print_exc()
        what = str(error).partition("\n")[0].replace("|", "\\|")
        return [Row(check.__name__, "", "to run", f"{type(error).__name__}: {what}", False)]


def below(claim: str, reference: str, error: float, bar: float) -> Row:
    """`error` is at most `bar`; NaN is not."""
    return Row(claim, reference, f"≤ {bar:.0e}", f"{error:.1e}", bool(error <= bar))


def number(claim: str, reference: str, got: Any, truth: Any, bar: float, *, digits: int = 4) -> Row:
    """One published number, or several, each met to `bar`."""
    got, truth = np.atleast_1d(np.asarray(got, float)), np.atleast_1d(np.asarray(truth, float))
    said, found = (", ".join(f"{value:.{digits}f}" for value in values) for values in (truth, got))
    return Row(claim, reference, f"{said} ± {bar:g}", found, bool(np.all(np.abs(got - truth) <= bar)))


def equal(claim: str, reference: str, got: Any, truth: Any) -> Row:
    """All entries are the same in every bit."""
    pairs = list(zip(_leaves(got), _leaves(truth), strict=True))
    different = sum(int(np.sum(a != b)) for a, b in pairs)
    total = sum(a.size for a, _ in pairs)
    return Row(claim, reference, "the same bits", f"{different} of {total} differ", different == 0)


def unbiased(claim: str, reference: str, samples: Any, truth: Any) -> Row:
    """The mean of samples [N, ...] is off by at most four of its standard errors, in every entry."""
    zs = []
    for sample, expected in zip(_leaves(samples), _leaves(truth), strict=True):
        error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
        off = np.abs(sample.mean(axis=0) - expected)
        # Entries without noise are held to rounding.
        zs.append(np.max(off / np.maximum(error, 1e-13)))
    return Row(claim, reference, "≤ 4 standard errors", f"{np.max(zs):.1f}", bool(np.max(zs) <= 4))


def relative(got: Any, truth: Any) -> float:
    """The largest error of all leaves, each relative to the largest entry of its leaf."""
    errors = [
        np.max(np.abs(a - b)) / max(np.max(np.abs(b)), np.finfo(float).tiny)
        for a, b in zip(_leaves(got), _leaves(truth), strict=True)
    ]
    # Unlike max, which may lose a NaN.
    return float(np.max(errors))


def cast(tree: Any, dtype: str) -> Any:
    """Every leaf as an array of that dtype."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def _leaves(tree):
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]
