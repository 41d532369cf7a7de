"""Where the dynamics rest: fixed points, slow points, and the Jacobian there."""

from jaxrnn.dynamics.fixed_points import FixedPoints, fixed_points
from jaxrnn.dynamics.stability import Stability, stability
from jaxrnn.dynamics.starts import states_along

__all__ = ["FixedPoints", "Stability", "fixed_points", "stability", "states_along"]
