"""jaxrnn: where does the gradient of a recurrent network go?"""

from importlib import import_module

from jaxrnn import (
    adapters,
    cells,
    diagnosis,
    dynamics,
    gradients,
    jacobians,
    losses,
    remedies,
    tasks,
    training,
)
from jaxrnn._checks import NumericalError
from jaxrnn.diagnosis import compare, diagnose, suggest_window
from jaxrnn.precision import mixed_precision
from jaxrnn.recurrence import unroll
from jaxrnn.results import load, save
from jaxrnn.training import monitor
from jaxrnn.types import Batch, Cell, Estimator, GradientEstimate, Trajectory
from jaxrnn.weights import weights_from_lengths

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Cell",
    "Estimator",
    "GradientEstimate",
    "NumericalError",
    "Trajectory",
    "adapters",
    "cells",
    "compare",
    "diagnose",
    "diagnosis",
    "dynamics",
    "gradients",
    "jacobians",
    "load",
    "losses",
    "mixed_precision",
    "monitor",
    "plots",
    "remedies",
    "save",
    "suggest_window",
    "tasks",
    "training",
    "unroll",
    "weights_from_lengths",
]


def __getattr__(name: str):
    """Import `plots` on first use: matplotlib costs seconds that a training job need not pay."""
    if name == "plots":
        return import_module("jaxrnn.plots")
    raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")
