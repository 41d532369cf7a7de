"""Pictures of where the dynamics rest: fixed points in a plane, and branches with their bifurcations."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from jaxrnn import _checks
from jaxrnn.dynamics import Branch, Sensitivity, Stability
from jaxrnn.plots.style import CYCLE, axes, finite, to_log10
from jaxrnn.types import State

__all__ = ["plot_bifurcations", "plot_fixed_points"]

_MARKS = {"fold": ">", "transcritical": "X", "pitchfork": "P", "flip": "D", "neimark_sacker": "o"}


@_checks.signature("plots.plot_fixed_points")
def plot_fixed_points(
    points: State,
    modes: Stability,
    hs: State | None = None,
    *,
    plane: Float[np.ndarray, "2 n"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Fixed points and trajectories in their principal plane: attractors full, saddles and repellers open.

    A line through a saddle is its direction that leads away fastest, as long as it is seen in the plane.

    Parameters
    ----------
    points : P states, leaves [P, ...], such as ``fixed_points(...).of_kind("fixed")``.
    modes : `dynamics.stability` of these points.
    hs : trajectories, leaves [B, T, ...], drawn as thin lines; the plane is that of their largest variance,
        and of the points without them.
    plane : two directions of the raveled state instead, such as two rows of a readout.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        If modes are not of these points, or trajectories or plane not of this state.
    """
    name = "plots.plot_fixed_points"
    rest = _flat(name, "points", points, 1)
    unstable, n = np.asarray(modes.unstable), rest.shape[-1]
    if np.shape(modes.right) != (len(rest), n, n):
        raise ValueError(
            f"{name}: modes are of right vectors {np.shape(modes.right)}; expected those of the {len(rest)} "
            f"points, {(len(rest), n, n)}."
        )
    runs = None if hs is None else _flat(name, "hs", hs, 2)
    if runs is not None and runs.shape[-1] != n:
        raise ValueError(f"{name}: hs are states of {runs.shape[-1]} entries; expected {n}, as of points.")
    center, rows, labels = _plane(name, plane, rest if runs is None else runs.reshape(-1, n))
    ax = axes(ax, 5.4, 4.8)
    if runs is not None:
        for run in (runs - center) @ rows.T:
            ax.plot(*run.T, "-", color="0.6", linewidth=0.5, alpha=0.6, zorder=1)
    seen = (rest - center) @ rows.T
    reach = 0.12 * (np.ptp(seen, axis=0).max() if len(seen) else 0.0)
    for i in np.flatnonzero(unstable > 0):
        mode = np.asarray(modes.right)[i, :, 0].real
        d = reach * rows @ mode / max(np.linalg.norm(mode), 1e-12)
        ax.plot(*np.stack([seen[i] - d, seen[i] + d], axis=1), "-", color=_color(unstable[i]), linewidth=1.2)
    for count in np.unique(unstable):
        chosen, stable = unstable == count, count == 0
        label = {0: "stable", -1: "unknown"}.get(int(count), f"{count} unstable directions")
        ax.plot(
            *seen[chosen].T,
            "o",
            color=_color(count),
            markerfacecolor=_color(count) if stable else "white",
            markersize=8 if stable else 6,
            label=f"{label.removesuffix('s') if count == 1 else label}: {chosen.sum()}",
            zorder=3,
        )
    ax.set(xlabel=labels[0], ylabel=labels[1])
    if len(rest):
        ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _color(unstable):
    """By how many directions lead away; black for a point whose eigenvalues are NaN."""
    return CYCLE[-1] if unstable < 0 else CYCLE[min(int(unstable), len(CYCLE) - 2)]


def _flat(name, argument, states, leading):
    """Leaves [*leading, ...] as one array [*leading, n]."""
    _checks.floating_leaves(name, argument, states, "They are states of a network.")
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(states)]
    _checks.leading_axis(name, argument, states, axis=leading - 1)
    if not leaves:
        raise ValueError(f"{name}: {argument} holds no states; expected arrays.")
    sizes = [int(np.prod(leaf.shape[leading:])) for leaf in leaves]
    rows = [leaf.reshape(*leaf.shape[:leading], size) for leaf, size in zip(leaves, sizes, strict=True)]
    return np.concatenate(rows, axis=-1)


def _plane(name, plane, states):
    """(center, rows [2, n], labels) of the plane to look at."""
    n = states.shape[1]
    if plane is not None:
        _checks.shape(name, "plane", plane, (2, n), "Its rows are two directions of the raveled state.")
        return np.zeros(n), np.asarray(plane, float), ("first direction", "second direction")
    known = states[np.isfinite(states).all(axis=1)]
    center = known.mean(axis=0) if len(known) else np.zeros(n)
    # Padded with zeros, so that there are always two axes.
    padded = np.pad(known - center, ((0, 2), (0, 2)))
    _, sizes, rows = np.linalg.svd(padded, full_matrices=False)
    shares = sizes[:2] ** 2 / max(np.sum(sizes**2), np.finfo(float).tiny)
    labels = [f"principal axis {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
    return center, rows[:2, :n], labels


@_checks.signature("plots.plot_bifurcations")
def plot_bifurcations(
    *branches: Branch,
    sensitivity: Sensitivity | None = None,
    entry: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Branches of fixed points against the parameter, with the gradient norm on the same axis.

    Stable parts are full lines, unstable ones dashed; marks are the bifurcations between them. On the right
    axis is log10 ‖dh_T/ds‖: a gradient step near its peak is thrown far.

    Parameters
    ----------
    branches : of `dynamics.continuation`, one or several.
    sensitivity : of `dynamics.sensitivity`, at sorted values.
    entry : which entry of the raveled state is drawn.
    ax : axes to draw into; the gradient's are a twin of it.

    Raises
    ------
    ValueError
        If there is no branch, a branch is a batch of them, or the state has no such entry.
    """
    name = "plots.plot_bifurcations"
    if not branches:
        raise ValueError(f"{name}: there is no branch; expected at least one, of dynamics.continuation.")
    entry = _checks.at_least(name, "entry", entry, 0)
    ax = axes(ax, 6.4, 4.4)
    marks = {}
    for branch in branches:
        found = branch.bifurcations  # an error for a batch of branches
        states = _flat(name, "states", branch.states, 1)
        if entry >= states.shape[1]:
            raise ValueError(f"{name}: entry is {entry}; expected one of the state's {states.shape[1]}.")
        values, height = finite(branch.values), states[:, entry]
        stable = np.asarray(branch.unstable) == 0
        # The line to the next point is drawn as the point before it is.
        for part, style in ((stable, "-"), (~stable, "--")):
            shown = part | np.append(False, part[:-1])
            ax.plot(values, np.where(shown, height, np.nan), style, color=CYCLE[0], linewidth=1.4, zorder=2)
        there = _flat(name, "crossing_states", branch.crossing_states, 1)[np.asarray(branch.kind) > 0, entry]
        for one, place in zip(found, there, strict=True):
            marks.setdefault(one.kind, []).append((one.value, place))
    for kind, places in marks.items():
        label = kind.replace("neimark_sacker", "Neimark–Sacker")
        ax.plot(*np.array(places).T, _MARKS[kind], color=CYCLE[6], markersize=7, label=label, zorder=4)
    ax.set(xlabel="parameter s", ylabel=f"entry {entry} of the fixed point")
    if marks:
        ax.legend(fontsize="small")
    if sensitivity is not None:
        right = ax.twinx()
        values, size = finite(sensitivity.values), finite(to_log10(sensitivity.log_gradient))
        right.plot(values, size, "-", color=CYCLE[1], linewidth=1, zorder=1)
        right.set_ylabel(r"$\log_{10}\,\|dh_T/ds\|_2$", color=CYCLE[1])
        right.tick_params(axis="y", colors=CYCLE[1])
    return ax
