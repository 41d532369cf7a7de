"""Bifurcations whose place and kind are known, along a gain, a bias and an input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close

import jaxrnn as jr
from jaxrnn import cells
from jaxrnn.dynamics import continuation, fixed_points


def tanh_unit(params, h, x):
    w, b = params
    h = jnp.tanh(w * h + b + x)
    return h, h


def logistic(r, h, _):
    h = r * h * (1 - h)
    return h, h


def network(W, h, _):
    h = jnp.tanh(W @ h)
    return h, h


def gain(w):
    return (w, 0.0), 0.0


TURN = jnp.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])


@pytest.mark.parametrize(
    ("step", "at", "start", "along", "kind", "value", "eigenvalue"),
    [
        (tanh_unit, gain, [0.0], (0.5, 1.5), "pitchfork", 1.0, 1),
        (tanh_unit, gain, [0.0], (-0.5, -1.6), "flip", -1.0, -1),
        (logistic, lambda r: (r, None), [0.6], (2.5, 3.4), "flip", 3.0, -1),
        (logistic, lambda r: (r, None), [0.0], (0.5, 1.5), "transcritical", 1.0, 1),
        (network, lambda a: (a * TURN, None), [0.0, 0.0], (0.5, 1.6), "neimark_sacker", 1.0, np.exp(0.7j)),
        # Both eigenvalues cross at once.
        (network, lambda a: (a * jnp.eye(2), None), [0.0, 0.0], (0.5, 1.6), "pitchfork", 1.0, 1),
    ],
)
def test_bifurcations_that_are_known(step, at, start, along, kind, value, eigenvalue):
    branch = continuation(step, at, jnp.array(start), along=along)
    (found,) = branch.bifurcations
    assert found.kind == kind
    assert abs(found.value - value) < 1e-6
    np.testing.assert_allclose(found.eigenvalue, eigenvalue, atol=1e-8)
    assert branch.complete
    np.testing.assert_allclose(found.state, 2 / 3 if start == [0.6] else 0, atol=1e-8)
    assert_close(branch.values[branch.reached][jnp.array([0, -1])], jnp.array(along))


def test_the_branch_of_a_hysteresis_turns_at_both_folds():
    # h = tanh(2h + x) folds where 2(1 - h²) = 1.
    branch = continuation(tanh_unit, lambda x: ((2.0, 0.0), x), jnp.array([-0.99]), along=(-1.0, 1.0))
    h = np.sqrt(1 / 2)
    exact = 2 * h - np.arctanh(h)
    assert [found.kind for found in branch.bifurcations] == ["fold", "fold"]
    np.testing.assert_allclose([found.value for found in branch.bifurcations], [exact, -exact], atol=1e-12)
    np.testing.assert_allclose([found.state[0] for found in branch.bifurcations], [-h, h], atol=1e-6)
    assert branch.complete and (branch.residual[branch.reached] < 1e-13).all()
    between = branch.unstable[branch.reached]
    assert np.flatnonzero(np.diff(np.asarray(between))).size == 2 and between[0] == between[-1] == 0
    states, values = branch.states[branch.reached, 0], branch.values[branch.reached]
    np.testing.assert_allclose(values, np.arctanh(states) - 2 * states, atol=1e-10)
    assert jnp.isnan(branch.values[~branch.reached]).all()


def test_the_arms_of_a_pitchfork_are_one_branch_that_turns_there():
    top = fixed_points(tanh_unit, (1.5, 0.0), 0.0, jnp.array([[1.0]])).of_kind()[0]
    branch = continuation(tanh_unit, gain, top, along=(1.5, 0.5))
    (found,) = branch.bifurcations
    assert found.kind == "pitchfork" and abs(found.value - 1) < 1e-6 and abs(found.eigenvalue - 1) < 1e-6
    ends = branch.states[branch.reached, 0][jnp.array([0, -1])]
    assert_close(ends[1], -ends[0], 1e4)


def test_a_network_of_two_units_starts_to_oscillate_where_its_determinant_is_one():
    # Where λ = a ± ib, |λ|² = det J; the input moves the fixed point, so that nothing is at zero.
    W, x = jnp.array([[0.8, -1.0], [1.1, 0.7]]), jnp.array([0.2, -0.1])

    def at(g):
        return {"W": g * W, "b": x}, None

    def step(params, h, _):
        h = jnp.tanh(params["W"] @ h + params["b"])
        return h, h

    (found,) = continuation(step, at, x, along=(0.2, 1.5)).bifurcations
    assert found.kind == "neimark_sacker"
    J = (1 - found.state**2)[:, None] * found.value * W
    np.testing.assert_allclose(jnp.linalg.det(J), 1, atol=1e-9)
    np.testing.assert_allclose(step(at(found.value)[0], found.state, None)[0], found.state, atol=1e-13)
    assert found.eigenvalue.imag > 0


def test_vmap_and_jit_equal_one_by_one_and_a_tuple_is_a_state():
    cell = cells.lstm(1, 2)
    params = jax.tree.map(lambda leaf: 3 * leaf, cell.init(jax.random.key(0)))

    def branch(scale):
        grown = jax.tree.map(lambda leaf: leaf * scale, params)
        hs = jr.unroll(cell.step, grown, cell.init_state(params), -jnp.ones((100, 1))).hs
        rest = jax.tree.map(lambda leaf: leaf[-1], hs)
        return continuation(cell.step, lambda x: (grown, x[None]), rest, along=(-1.0, 1.0), longest=0.1)

    scales = jnp.array([0.5, 1.0])
    together = jax.jit(jax.vmap(branch))(scales)
    one_by_one = jax.jit(branch)
    for i, scale in enumerate(scales):
        one = one_by_one(scale)
        assert one.complete and jax.tree.structure(one.states) == jax.tree.structure(cell.init_state(params))
        same = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        np.testing.assert_allclose(same.values, one.values, atol=1e-6)
        np.testing.assert_allclose(same.crossing_values, one.crossing_values, atol=1e-9)
        assert (same.kind == one.kind).all()
    assert [found.kind for found in one.bifurcations] == ["fold"]
    with pytest.raises(ValueError, match=r"bifurcations: kind has shape \(2, 400\); expected \[N\]"):
        _ = together.bifurcations


def test_what_is_not_followed_says_so():
    nowhere = continuation(
        lambda s, h, _: (h + 1 + s**2, h), lambda s: (s, None), jnp.zeros(1), along=(0.0, 1.0)
    )
    assert not nowhere.reached.any() and not nowhere.complete and nowhere.bifurcations == []
    spoilt = continuation(tanh_unit, gain, jnp.array([jnp.nan]), along=(0.5, 1.5))
    assert not spoilt.reached.any() and jnp.isnan(spoilt.values).all()
    short = continuation(tanh_unit, gain, jnp.zeros(1), along=(0.5, 1.5), points=5)
    assert short.reached.all() and not short.complete

    def torn(w, h, _):
        h = jnp.where(w < 1, 0.5 * h, jnp.nan)
        return h, h

    lost = continuation(torn, lambda w: (w, None), jnp.zeros(1), along=(0.5, 1.5))
    assert not lost.complete and 0 < lost.reached.sum() < 400
    assert lost.values[lost.reached].max() > 0.99


def test_float32_finds_them_to_its_precision():
    branch = continuation(tanh_unit, gain, jnp.zeros(1, jnp.float32), along=(0.5, 1.5))
    assert branch.values.dtype == branch.states.dtype == jnp.float32
    assert abs(branch.bifurcations[0].value - 1) < 1e-5


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"along": (1.0, 1.0)}, ValueError, r"along is \(1.0, 1.0\); expected two different, finite numbers"),
        ({"along": (0.0, jnp.nan)}, ValueError, "along is"),
        ({"along": 1.0}, TypeError, "along is 1.0; expected two numbers"),
        ({"points": 1}, ValueError, "points is 1; expected at least 2"),
        ({"longest": 0.0}, ValueError, "longest is 0.0; expected a positive number"),
        ({"state": jnp.zeros(0)}, ValueError, "the state is empty"),
        ({"state": jnp.zeros(2, int)}, TypeError, "state leaf .* has dtype int"),
        ({"at": lambda w: w}, TypeError, "at returned ShapeDtypeStruct; expected the pair"),
        ({"step": lambda _w, h, _: (jnp.zeros(2), h)}, ValueError, "state leaf .* has shape"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    arguments = {"step": tanh_unit, "at": gain, "state": jnp.zeros(1), "along": (0.5, 1.5)} | options
    with pytest.raises(error, match=rf"dynamics\.continuation: {message}"):
        continuation(**arguments)
