"""jaxrnn: where does the gradient of a recurrent network go?"""

from jaxrnn import cells, gradients, jacobians, losses
from jaxrnn._checks import NumericalError
from jaxrnn.recurrence import unroll
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
    "cells",
    "gradients",
    "jacobians",
    "losses",
    "unroll",
    "weights_from_lengths",
]
