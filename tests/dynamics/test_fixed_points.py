"""Fixed points against root finders and closed forms; what is none is never reported as one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from cases import assert_close

from jaxrnn import cells
from jaxrnn.dynamics import fixed_points, states_along

GRID = jnp.linspace(-2.0, 2.0, 9)


def scalar(w, h, x):
    """h = tanh(wh + x)."""
    h = jnp.tanh(w * h + x)
    return h, h


def linear(params, h, _):
    A, b = params
    h = A @ h + b
    return h, h


@pytest.mark.parametrize(
    ("w", "b", "count"),
    [(0.5, 0.0, 1), (0.99, 0.3, 1), (1.01, 0.0, 3), (2.0, 0.0, 3), (2.0, 0.2, 3), (2.0, 0.9, 1)],
)
def test_positions_of_one_tanh_unit_are_those_of_a_bracketing_root_finder(w, b, count):
    found = np.sort(fixed_points(scalar, w, b, GRID).of_kind("fixed"))
    fine = np.linspace(-1.5, 1.5, 3002)
    signs = np.sign(np.tanh(w * fine + b) - fine)
    known = [
        scipy.optimize.brentq(lambda h: np.tanh(w * h + b) - h, *fine[i : i + 2], xtol=1e-15)
        for i in np.flatnonzero(signs[1:] != signs[:-1])
    ]
    assert len(known) == count
    np.testing.assert_allclose(found, known, rtol=0, atol=1e-12)


def test_all_points_of_a_random_network_are_those_of_scipy():
    W = jax.random.normal(jax.random.key(3), (6, 6))
    W = W + W.T
    starts = jax.random.uniform(jax.random.key(4), (500, 6), minval=-1.0)
    found = np.asarray(fixed_points(lambda W, h, x: (jnp.tanh(W @ h + x), h), W, 0.1, starts).of_kind())

    def displacement(h):
        return np.tanh(np.asarray(W) @ h + 0.1) - h

    roots = [scipy.optimize.root(displacement, start, tol=1e-13) for start in np.asarray(starts)]
    known = np.unique(np.round([root.x for root in roots if root.success], 6), axis=0)
    assert len(found) == len(known) == 19
    distance = np.linalg.norm(found[:, None] - known[None], axis=-1)
    assert distance.min(axis=0).max() < 1e-5  # every root of scipy is found
    assert max(np.abs(displacement(h)).max() for h in found) < 1e-13


def test_a_linear_map_has_one_point():
    A = 0.9 * jax.random.normal(jax.random.key(0), (4, 4))
    b = jnp.arange(4.0)
    found = fixed_points(linear, (A, b), None, jax.random.normal(jax.random.key(1), (7, 4)), outlier=1e6)
    assert found.converged.all()
    assert_close(found.of_kind(), jnp.linalg.solve(jnp.eye(4) - A, b)[None], 1e4)


def test_eigenvalue_one_makes_a_line_of_points_each_start_finds_its_own():
    A, b = jnp.diag(jnp.array([1.0, 0.5])), jnp.array([0.0, 1.0])
    starts = jnp.stack([jnp.linspace(-1.0, 1.0, 5), jnp.full(5, 3.0)], axis=1)
    found = fixed_points(linear, (A, b), None, starts)
    assert found.distinct.all()
    assert_close(found.of_kind(), jnp.stack([starts[:, 0], jnp.full(5, 2.0)], axis=1), 1e4)


def test_where_there_is_no_point_there_are_slow_ones_if_asked_for():
    A, b = jnp.diag(jnp.array([1.0, 0.5])), jnp.array([0.1, 1.0])
    none = fixed_points(linear, (A, b), None, jnp.zeros((3, 2)))
    assert not (none.converged | none.slow).any() and (none.point == -1).all()
    assert none.of_kind("fixed").shape == none.of_kind("slow").shape == (0, 2)
    some = fixed_points(linear, (A, b), None, jnp.zeros((3, 2)), slow=0.006)
    assert_close(some.q, jnp.full(3, 0.005), 100)  # ½ 0.1²
    assert some.of_kind("slow").shape == (1, 2) and some.of_kind("fixed").shape == (0, 2)


def test_a_slow_point_beside_a_fixed_one_stays_apart():
    # F(h) - h is 0.001 at a minimum of q beside 0, and 0 between there and -1/20.
    def step(_params, h, _):
        return h + 1e-3 + h**2 * (h - 3) ** 2 * (h - 1), h

    found = fixed_points(step, (), None, jnp.linspace(-0.2, 0.2, 5), slow=1e-5)
    assert found.slow.any() and not (found.slow & found.converged).any()


def test_nan_starts_are_reported_and_change_no_other():
    starts = jnp.array([0.5, jnp.nan, -0.5, jnp.inf])
    found = fixed_points(scalar, 2.0, 0.0, starts)
    assert found.finite.tolist() == [True, False, True, False]
    assert found.point.tolist() == [0, -1, 2, -1]
    assert_close(found.states[::2], fixed_points(scalar, 2.0, 0.0, starts[::2]).states)


def test_a_start_that_is_given_no_time_is_no_point():
    found = fixed_points(scalar, 2.0, 0.0, jnp.array([0.5, 0.9575]), iterations=1)
    assert not found.converged[0] and found.point[0] == -1 and found.iterations[0] == 1


def test_ends_far_from_all_starts_are_discarded_and_said():
    args = (linear, (0.5 * jnp.eye(1), jnp.array([500.0])), None, jnp.zeros((2, 1)))
    far = fixed_points(*args)
    assert far.converged.all() and far.outlier.all() and (far.point == -1).all()
    assert_close(fixed_points(*args, outlier=1001.0).of_kind(), jnp.array([[1000.0]]), 100)


def test_duplicates_are_one_point_represented_by_the_smallest_residual():
    found = fixed_points(scalar, 0.5, 0.3, GRID)
    best = int(jnp.argmin(found.residual))
    assert (found.point == best).all()
    apart = fixed_points(scalar, 2.0, 0.0, GRID, merge=3.0)
    assert apart.distinct.sum() == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_any_state_keeps_its_structure_and_dtype(dtype):
    network = cells.stack(cells.lstm(2, 3), cells.gru(3, 2))
    params, x, start = jax.tree.map(
        lambda leaf: leaf.astype(dtype),
        (
            network.init(jax.random.key(0)),
            jnp.array([0.3, -0.2]),
            network.initial_states(network.init(jax.random.key(0)), 4),
        ),
    )
    found = fixed_points(network.step, params, x, start)
    assert found.converged.all()
    point = jax.tree.map(lambda leaf: leaf[0], found.of_kind())
    assert jax.tree.structure(point) == jax.tree.structure(network.init_state(params))
    assert_close(network.step(params, point, x)[0], point, 1000)
    assert {leaf.dtype for leaf in jax.tree.leaves((found.states, found.residual))} == {jnp.dtype(dtype)}


def test_vmap_over_parameters_and_jit_equal_one_by_one():
    ws = jnp.array([0.5, 1.5, 2.0])
    searches = jax.jit(jax.vmap(lambda w: fixed_points(scalar, w, 0.0, GRID)))(ws)
    for i, w in enumerate(ws):
        one = fixed_points(scalar, w, 0.0, GRID)
        assert_close(searches.states[i], one.states, 1000)
        assert searches.distinct[i].sum() == one.distinct.sum() == (1 if w < 1 else 3)
    with pytest.raises(ValueError, match=r"of_kind: point has shape \(3, 9\); expected \[S\]"):
        searches.of_kind()


def test_more_starts_than_fit_at_once_change_nothing():
    starts = jnp.linspace(-2.0, 2.0, 600)
    found = fixed_points(scalar, 2.0, 0.0, starts)
    assert found.distinct.sum() == 3
    assert_close(found.states[:5], fixed_points(scalar, 2.0, 0.0, starts[:5]).states, 1000)


@pytest.mark.parametrize("optimizer", [optax.adam(0.05), optax.lbfgs()], ids=["adam", "lbfgs"])
def test_an_optimizer_of_optax_finds_the_same_points(optimizer):
    options = {"iterations": 2000, "tolerance": 1e-9, "optimizer": optimizer}
    with jax.numpy_dtype_promotion("standard"):  # for optax's own lbfgs
        found = fixed_points(scalar, 2.0, 0.2, GRID[:, None], **options)
    known = fixed_points(scalar, 2.0, 0.2, GRID[:, None]).of_kind()
    assert found.converged.all() and found.distinct.sum() == 3
    np.testing.assert_allclose(np.sort(found.of_kind(), axis=0), np.sort(known, axis=0), atol=1e-8)
    assert (found.iterations > 0).all() and found.iterations.max() < 2000


def test_starts_are_visited_states_with_noise():
    hs = {"h": jnp.stack([jnp.zeros(500), jnp.linspace(0.0, 1.0, 500)], axis=1)}
    exact = states_along(hs, count=7, noise=0.0, key=jax.random.key(0))["h"]
    assert exact.shape == (7, 2) and np.isin(np.asarray(exact[:, 1]), np.asarray(hs["h"][:, 1])).all()
    noisy = states_along(hs, count=4000, noise=0.5, key=jax.random.key(0))["h"]
    assert (noisy[:, 0] == 0).all()  # an entry that never changes gets no noise
    variance = 1 / 12 * (1 + 0.5**2)
    np.testing.assert_allclose(noisy[:, 1].var(), variance, rtol=0.1)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"iterations": 0}, ValueError, "iterations is 0; expected at least 1"),
        ({"merge": -1.0}, ValueError, "merge is -1.0; expected a number that is not negative"),
        ({"slow": jnp.nan}, ValueError, "slow is nan"),
        ({"starts": jnp.zeros(0)}, ValueError, "starts holds no state"),
        ({"starts": jnp.zeros(3, int)}, TypeError, "state leaf .* has dtype int"),
        ({"step": lambda _w, h, _: (jnp.zeros(2), h)}, ValueError, "state leaf .* has shape"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    arguments = {"step": scalar, "params": 2.0, "x": 0.0, "starts": GRID} | options
    with pytest.raises(error, match=rf"dynamics\.fixed_points: {message}"):
        fixed_points(**arguments)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_starts_are_named():
    for options, message in (({"count": 0}, "count is 0"), ({"noise": -1.0}, "noise is -1.0")):
        with pytest.raises(ValueError, match=rf"dynamics\.states_along: {message}"):
            states_along(**({"hs": GRID, "count": 2, "noise": 0.1, "key": jax.random.key(0)} | options))
    with pytest.raises(ValueError, match="hs holds no state"):
        states_along(jnp.zeros((0, 2)), count=2, noise=0.1, key=jax.random.key(0))
