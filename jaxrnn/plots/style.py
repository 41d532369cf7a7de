"""What all pictures share: units, colours, one set of axes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine

__all__ = ["CYCLE", "axes", "finite", "to_log10"]

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind readers too."""


def axes(ax: Axes | None, width: float = 6.0, height: float = 4.0) -> Axes:
    """The given axes, or those of a new figure."""
    if ax is not None:
        return ax
    # matplotlib lays out before the ticks are final; labels that come out wider need room (in inches).
    _, ax = plt.subplots(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12))
    return ax


def to_log10(nats) -> np.ndarray | float:
    """A natural logarithm as a decimal one."""
    return np.asarray(nats, float) / np.log(10)


def finite(values) -> np.ndarray:
    """The values with NaN for everything that cannot be drawn."""
    values = np.asarray(values, float)
    return np.where(np.isfinite(values), values, np.nan)
