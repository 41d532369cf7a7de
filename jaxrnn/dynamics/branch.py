"""A branch of fixed points along a parameter, and the bifurcations on it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from jaxrnn._result_type import result_type
from jaxrnn.dynamics.stability import unstable_directions
from jaxrnn.types import State

__all__ = ["KINDS", "Bifurcation", "Branch"]

KINDS = ("none", "fold", "transcritical", "pitchfork", "flip", "neimark_sacker")
"""What may happen between two points of a branch, by its number in `Branch.kind`."""


class Bifurcation(NamedTuple):
    """Where an eigenvalue crosses the unit circle."""

    kind: str
    """One of `KINDS`."""
    value: float
    """The parameter s there."""
    state: State
    """The fixed point there."""
    eigenvalue: complex
    """The one that crosses: 1 at a fold, a transcritical bifurcation or a pitchfork, -1 at a flip."""


@result_type
class Branch(NamedTuple):
    """N fixed points in the order in which they were reached; NaN after the last of them."""

    values: Float[Array, "*B N"]
    """The parameter s at each point."""
    states: State
    """Leaves [N, ...]."""
    eigenvalues: Complex[Array, "*B N n"]
    """Of J = ∂F/∂h at each point, by falling modulus."""
    residual: Float[Array, "*B N"]
    """‖F(h) - h‖₂."""
    reached: Bool[Array, "*B N"]
    """Whether there is such a point."""
    complete: Bool[Array, "*B"]
    """Whether the branch was followed to an end of the range; else the points were used up, if all are
    `reached`, or the branch was lost."""
    kind: Int[Array, "*B N"]
    """What happens between a point and the next: 0 nothing, 1 fold, 2 transcritical, 3 pitchfork,
    4 flip, 5 Neimark-Sacker; `bifurcations` has the names."""
    crossing_values: Float[Array, "*B N"]
    """s where it happens; NaN for nothing."""
    crossing_states: State
    """The state where it happens, leaves [N, ...]."""
    crossing_eigenvalues: Complex[Array, "*B N"]
    """The eigenvalue on the unit circle there, of a pair the one above the real axis."""

    @property
    def unstable(self) -> Int[Array, "*B N"]:
        """How many |λ_i| > 1 at each point; 0 for an attractor, -1 where there is no point."""
        return unstable_directions(self.eigenvalues)

    @property
    def bifurcations(self) -> list[Bifurcation]:
        """Those of one branch in their order; outside of jit."""
        if self.kind.ndim != 1:
            raise ValueError(
                f"Branch.bifurcations: kind has shape {self.kind.shape}; expected [N]. Take one branch "
                "of the batch first: jax.tree.map(lambda leaf: leaf[i], branch)."
            )
        return [
            Bifurcation(
                KINDS[int(self.kind[i])],
                float(self.crossing_values[i]),
                jax.tree.map(lambda leaf, i=i: leaf[i], self.crossing_states),
                complex(self.crossing_eigenvalues[i]),
            )
            for i in np.flatnonzero(np.asarray(self.kind))
        ]
