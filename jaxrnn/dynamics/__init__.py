"""Where the dynamics rest: fixed points, slow points, and the Jacobian there."""

from jaxrnn.dynamics.branch import Bifurcation, Branch
from jaxrnn.dynamics.continuation import continuation
from jaxrnn.dynamics.fixed_points import FixedPoints, fixed_points
from jaxrnn.dynamics.linearization import LinearApproximation, linear_approximation
from jaxrnn.dynamics.sensitivity import Sensitivity, sensitivity
from jaxrnn.dynamics.stability import Stability, stability
from jaxrnn.dynamics.starts import states_along

__all__ = [
    "Bifurcation",
    "Branch",
    "FixedPoints",
    "LinearApproximation",
    "Sensitivity",
    "Stability",
    "continuation",
    "fixed_points",
    "linear_approximation",
    "sensitivity",
    "stability",
    "states_along",
]
