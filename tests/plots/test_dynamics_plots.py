"""What is drawn of fixed points and branches is what was found."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.dynamics import Branch, Sensitivity, Stability
from jaxrnn.plots import plot_bifurcations, plot_eigenvalues, plot_fixed_points

POINTS = {
    "a": np.array([[0.0], [1.0], [4.0], [2.0]]),
    "b": np.array([[0.0, 3.0], [1.0, 3.0], [0.0, 3.0], [0.5, 3.0]]),
}


def modes_of(moduli):
    values = np.asarray(moduli, complex)
    P, n = values.shape
    vectors = np.broadcast_to(np.eye(n, dtype=complex), (P, n, n))
    return Stability(
        jnp.asarray(values),
        jnp.asarray(vectors),
        jnp.asarray(vectors),
        jnp.where(jnp.isnan(values.real[:, 0]), jnp.nan, 0.0),
    )


MODES = modes_of([[0.5, 0.1, 0], [2, 0.5, 0], [3, 2, 0.1], [np.nan] * 3])


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def marks(ax):
    return [line for line in ax.lines if line.get_marker() == "o"]


def test_points_are_marked_by_how_many_directions_lead_away(ax):
    plane = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert plot_fixed_points(POINTS, MODES, plane=plane, ax=ax) is ax
    assert labels(ax) == ["unknown: 1", "stable: 1", "1 unstable direction: 1", "2 unstable directions: 1"]
    places = [line.get_xydata()[0].tolist() for line in marks(ax)]
    assert places == [[2, 0.5], [0, 0], [1, 1], [4, 0]]
    filled = [line.get_markerfacecolor() != "white" for line in marks(ax)]
    assert filled == [False, True, False, False]
    # The fastest direction of each saddle is the first entry.
    through = [line.get_xydata() for line in ax.lines if line.get_marker() == "None"]
    assert len(through) == 2
    np.testing.assert_allclose(np.mean(through, axis=1), [[1, 1], [4, 0]])
    assert all(np.ptp(line[:, 0]) > 0 and np.ptp(line[:, 1]) == 0 for line in through)


def test_the_principal_plane_is_that_of_the_trajectories(ax):
    turns = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    circle = np.stack([0 * turns, 2 * np.cos(turns), np.sin(turns)], axis=1)[None]
    hs = {"a": circle[..., :1], "b": circle[..., 1:]}
    plot_fixed_points(POINTS, MODES, hs, ax=ax)
    run = ax.lines[0].get_xydata()
    np.testing.assert_allclose(np.linalg.norm(run[0] - run[25]), 4, rtol=1e-2)
    assert "axis 1 (80% of the variance)" in ax.get_xlabel() and "axis 2 (20%" in ax.get_ylabel()
    np.testing.assert_allclose(np.abs(marks(ax)[1].get_xydata()[0]), [0, 3], atol=1e-9)


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_are_drawn_too(ax, count):
    plot_fixed_points(np.zeros((count, 1)), modes_of(np.zeros((count, 1))), ax=ax)
    assert len(marks(ax)) == count


def test_eigenvalues_of_points_outside_of_the_circle_are_told_apart(ax):
    plot_eigenvalues(MODES, ax=ax)
    _, inside, away = ax.lines
    assert set(away.get_xdata()) == {2, 3} and np.nanmax(inside.get_xdata()) == 0.5
    assert labels(ax) == ["unit circle", "leads away"] and "1 points are NaN" in ax.get_title()


def branch_of(kind):
    s = jnp.array([0.0, 1.0, 2.0, jnp.nan])
    h = jnp.stack([s, s**2], axis=1)
    values = jnp.array([[0.5, 0], [0.9, 0], [1.1, 0], [jnp.nan, jnp.nan]], complex)
    nothing = np.full(4, np.nan)
    crossing = np.array([np.nan, 1.5, np.nan, np.nan])
    states = np.stack([nothing, crossing**2], axis=1)
    numbers = np.array([0, kind, 0, 0])
    return Branch(s, h, values, nothing, ~jnp.isnan(s), np.True_, numbers, crossing, states, crossing + 0j)


def test_a_branch_is_full_where_it_is_stable_and_marked_where_it_bifurcates(ax):
    gradient = Sensitivity(np.array([0.0, 1.0, 2.0]), None, np.log([1.0, 10.0, 1000.0]))
    plot_bifurcations(branch_of(4), branch_of(1), sensitivity=gradient, entry=1, ax=ax)
    stable, unstable = ax.lines[:2]
    assert (stable.get_linestyle(), unstable.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(stable.get_ydata(), [0, 1, 4, np.nan])
    np.testing.assert_array_equal(unstable.get_ydata(), [np.nan, np.nan, 4, np.nan])
    assert labels(ax) == ["flip", "fold"]
    np.testing.assert_array_equal(ax.lines[-1].get_xydata(), [[1.5, 2.25]])
    (twin,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_allclose(twin.lines[0].get_ydata(), [0, 1, 3])
    assert "log" in twin.get_ylabel() and "parameter" in ax.get_xlabel() and "entry 1" in ax.get_ylabel()


def test_bad_arguments_are_named(ax):
    with pytest.raises(ValueError, match=r"modes are of right vectors \(4, 3, 3\); .* the 2"):
        plot_fixed_points(np.zeros((2, 3)), MODES, ax=ax)
    with pytest.raises(ValueError, match="hs are states of 2 entries; expected 3"):
        plot_fixed_points(POINTS, MODES, np.zeros((1, 5, 2)), ax=ax)
    with pytest.raises(ValueError, match=r"plane has shape \(2, 2\); expected \(2, 3\)"):
        plot_fixed_points(POINTS, MODES, plane=np.zeros((2, 2)), ax=ax)
    with pytest.raises(ValueError, match="plot_bifurcations: there is no branch"):
        plot_bifurcations(ax=ax)
    with pytest.raises(ValueError, match="entry is 2; expected one of the state's 2"):
        plot_bifurcations(branch_of(0), entry=2, ax=ax)
