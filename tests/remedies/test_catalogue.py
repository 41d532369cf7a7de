"""Every remedy is a switch that trains, and changes what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close

from jaxrnn import cells, tasks, unroll
from jaxrnn.jacobians import step_jacobians
from jaxrnn.remedies import MAX_NORM, REMEDIES, Remedy, Setup, Sizes, layer_of, remedy
from jaxrnn.training import spectral_norm_penalty, train

TASK = tasks.adding(length=6, batch_size=2)
SIZES = Sizes(2, 4, 6)


def setup_of(name):
    return remedy(name).change(Setup())


def network(name, hidden_size=4):
    """(cell, params) of a remedy."""
    cell = setup_of(name).cell(TASK, Sizes(2, hidden_size, 6))
    return cell, cell.init(jax.random.key(0))


@pytest.mark.parametrize("name", REMEDIES)
def test_every_remedy_trains(name):
    with jax.numpy_dtype_promotion("standard"):
        setup = setup_of(name)
        cell = setup.cell(TASK, SIZES)
        result = train(
            cell,
            setup.estimator(cell, TASK, SIZES),
            setup.chain(0.01, 2),
            setup.sampler(TASK),
            steps=2,
            key=jax.random.key(0),
            progress=False,
        )
    result.history.raise_if_bad()
    start = cell.init(jax.random.fold_in(jax.random.split(jax.random.key(0), 1)[0], 0))
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), start, result.seed())
    assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize("name", REMEDIES)
def test_every_remedy_changes_the_setup_except_the_control(name):
    changed = [a is not b for a, b in zip(setup_of(name), Setup(), strict=True)]
    assert any(changed) == (name != "none")
    assert REMEDIES[name].name == name
    assert REMEDIES[name].reference


def recurrent_weights(name):
    return np.asarray(network(name, 64)[1][0]["W_hh"])


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("glorot", lambda W: abs(W.var() * 64 - 1) < 0.1),
        ("none", lambda W: abs(W.var() * 64 - 1) < 0.1),
        ("he", lambda W: abs(W.var() * 64 - 2) < 0.2),
        ("relu", lambda W: abs(W.var() * 64 - 2) < 0.2),
        ("orthogonal", lambda W: np.allclose(W @ W.T, np.eye(64), atol=1e-6)),
        ("identity", lambda W: np.array_equal(W, np.eye(64))),
        ("irnn", lambda W: np.array_equal(W, np.eye(64))),
        ("spectral_radius", lambda W: abs(np.abs(np.linalg.eigvals(W)).max() - 1) < 1e-6),
    ],
)
def test_initialisations_have_their_property_in_the_network(name, holds):
    assert holds(recurrent_weights(name))


def chain_norm(name, params=None, T=20):
    cell, start = network(name)
    params = start if params is None else params(start)
    xs = jnp.ones((T, 2))
    js = step_jacobians(cell.step, params, unroll(cell.step, params, cell.init_state(params), xs))
    return np.linalg.norm(np.linalg.multi_dot(np.asarray(js)[::-1]), 2)


def test_an_irnn_has_norm_1_while_its_units_are_on():
    def positive(params):
        return ({**params[0], "W_hx": jnp.abs(params[0]["W_hx"])}, *params[1:])

    assert_close(chain_norm("irnn", positive), np.float64(1))


def test_an_lstm_with_open_gates_passes_the_gradient_unchanged():
    def opened(params):
        layer = params[0]
        return ({**layer, "W_h": 0 * layer["W_h"], "b": layer["b"].at[4:8].set(1e3)}, *params[1:])

    cell, start = network("lstm")
    params = opened(start)
    traj = unroll(cell.step, params, cell.init_state(params), jnp.ones((20, 2)))
    js = np.asarray(step_jacobians(cell.step, params, traj))
    assert_close(np.linalg.multi_dot(js[::-1])[4:, 4:], np.eye(4))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("clip_norm", lambda g: optax.tree.norm(g) / MAX_NORM),
        ("clip_value", lambda g: max(jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(g)) / 0.1),
        ("clip_block", lambda g: max(jnp.sqrt(jnp.mean(leaf**2)) for leaf in jax.tree.leaves(g)) / 0.1),
        ("clip_adaptive", lambda g: jnp.linalg.norm(g["W"][1]) / (0.1 * 10)),
    ],
)
def test_clipping_bounds_what_the_optimizer_sees(name, size):
    (transformation,) = setup_of(name).before
    params = {"W": jnp.ones((2, 100)), "b": jnp.ones(3)}
    grads = jax.tree.map(lambda leaf: 50 * leaf, params)
    clipped, _ = transformation.update(grads, transformation.init(params), params)
    np.testing.assert_allclose(size(clipped), 1, rtol=1e-6)
    small = jax.tree.map(lambda leaf: 1e-4 * leaf, params)
    assert_close(transformation.update(small, transformation.init(params), params)[0], small)


def first_update(name, steps=10):
    with jax.numpy_dtype_promotion("standard"):
        optimizer = setup_of(name).chain(0.1, steps)
        params = jnp.full(3, 2.0)
        state = optimizer.init(params)
        updates = []
        for _ in range(steps):
            update, state = optimizer.update(jnp.full(3, 0.5), state, params)
            updates.append(float(update[0]))
    return updates


def test_schedules_decay_and_optimizers_of_the_steps_they_take():
    adam = first_update("none")
    np.testing.assert_allclose(adam, -0.1, rtol=1e-5)
    np.testing.assert_allclose(first_update("small_rate"), -0.01, rtol=1e-5)
    cosine = -0.05 * (1 + np.cos(np.pi * np.arange(10) / 10))
    np.testing.assert_allclose(first_update("cosine"), cosine, rtol=1e-5)
    np.testing.assert_allclose(first_update("sgd"), -0.05, rtol=1e-6)
    np.testing.assert_allclose(first_update("momentum")[:2], [-0.05, -0.095], rtol=1e-6)
    # Decoupled from the gradient: rate · 0.01 · θ.
    np.testing.assert_allclose(first_update("weight_decay"), -0.1 - 0.1 * 0.01 * 2, rtol=1e-5)


def test_l2_adds_the_parameters_to_the_gradient():
    with jax.numpy_dtype_promotion("standard"):
        optimizer, params = setup_of("l2").chain(0.1, 1), jnp.full(3, 2.0)
        update, _ = optimizer.update(jnp.full(3, -2e-4), optimizer.init(params), params)
    np.testing.assert_allclose(update, 0, atol=1e-9)  # -2e-4 + 1e-4 · 2


def test_a_sum_makes_both_changes_in_order():
    both = remedy("irnn + clip_norm + sgd")
    setup = both.change(Setup())
    assert both.name == "irnn + clip_norm + sgd"
    assert setup.options["activation"] == "relu"
    assert len(setup.before) == 1
    assert setup.optimizer is optax.sgd
    assert both.reference.count(";") >= 2


def test_a_remedy_of_ones_own_is_a_function_of_a_setup():
    mine = Remedy(
        "wide", lambda setup: setup._replace(layer=layer_of(cells.gru), options={}, initializers={}), "me"
    )
    cell = mine.change(Setup()).cell(TASK, Sizes(2, 5, 6))
    assert cell.init(jax.random.key(0))[0]["W_h"].shape == (15, 5)
    assert Setup().layer(Sizes(2, 5, 6)).init(jax.random.key(0))["W_hh"].shape == (5, 5)


@pytest.mark.parametrize(
    "name", ["batch_norm + zoneout + dropout + flossing", "dropout + batch_norm + pascanu"]
)
def test_noise_statistics_and_penalties_go_together(name):
    setup = setup_of(name)
    cell = setup.cell(TASK, SIZES)
    estimator = setup.estimator(cell, TASK, SIZES)
    params, batch = cell.init(jax.random.key(0)), setup.sampler(TASK)(jax.random.key(1))
    carry = estimator.init(params, cell.initial_states(params, 2))
    grads = jax.jit(estimator.estimate)(params, carry, batch, jax.random.key(2))[0].grads
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(grads))


def held_out_outputs(name):
    """y_t of two held-out sequences as the bench evaluates them."""
    setup = setup_of(name)
    cell, params = network(name)
    h_0, xs = cell.initial_states(params, 2), TASK.held_out(jax.random.key(3)).xs
    step, xs = setup.evaluated(cell.step, params, h_0, xs)
    return jax.vmap(lambda h, x: unroll(step, params, h, x, length=6).ys)(h_0, xs)


def test_dropout_is_gone_in_evaluation_beside_other_noise_and_batch_statistics():
    assert_close(held_out_outputs("batch_norm + dropout"), held_out_outputs("batch_norm"))
    zoneout = held_out_outputs("zoneout + batch_norm")
    for order in ("dropout + zoneout + batch_norm", "batch_norm + zoneout + dropout"):
        assert_close(held_out_outputs(order), zoneout)
    assert not np.allclose(zoneout, held_out_outputs("batch_norm"))


def test_a_penalty_beside_batch_norm_is_that_of_the_network_with_fixed_statistics():
    name = "batch_norm + spectral_norm"
    setup, (cell, params) = setup_of(name), network(name)
    batch, h_0 = TASK.sample(jax.random.key(1)), cell.initial_states(params, 2)

    def gradient(estimator):
        return estimator.estimate(params, estimator.init(params, h_0), batch, jax.random.key(2))[0].grads

    added = jax.tree.map(
        jnp.subtract,
        gradient(setup.estimator(cell, TASK, SIZES)),
        gradient(setup_of("batch_norm").estimator(cell, TASK, SIZES)),
    )
    seen = cells.batch_statistics(cell.step, params, h_0, batch.xs)
    fixed = batch._replace(xs=(batch.xs, jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), seen)))
    penalty = spectral_norm_penalty(cell._replace(step=cells.with_statistics(cell.step)), lag=6)
    expected = jax.tree.map(lambda leaf: 1e-2 * leaf, jax.grad(penalty)(params, fixed))
    assert optax.tree.norm(expected) > 1e-6
    assert_close(added, expected, 1e6)  # a small difference of larger numbers


def test_noise_has_keys_of_its_own_and_the_same_data_as_the_control():
    data, noisy = (setup_of(name).sampler(TASK)(jax.random.key(1)) for name in ("none", "zoneout + dropout"))
    (xs, first), second = noisy.xs
    assert_close((xs, noisy.targets), (data.xs, data.targets))
    words = jax.random.key_data(jnp.stack([first, second])).reshape(-1, 2)
    assert len(np.unique(words, axis=0)) == len(words) == 2 * 2 * 6


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="name is 'lstmm'"):
        remedy("lstmm")
    with pytest.raises(ValueError, match="name is 'clip'"):
        remedy("lstm + clip")


def test_an_option_that_a_layer_does_not_have_is_named():
    with pytest.raises(
        TypeError, match=r"remedies: this layer does not go with activation.*argument 'activation'"
    ):
        network("lstm + relu")


def test_setups_that_differ_in_start_or_optimizer_alone_share_their_step():
    keys = {name: setup_of(name).step_key for name in REMEDIES}
    same = {name for name, key in keys.items() if key == keys["none"]}
    assert {"none", "he", "orthogonal", "clip_norm", "sgd", "pascanu"} <= same
    assert not {"relu", "lstm", "skip", "zoneout", "batch_norm", "layer_norm"} & same
    assert keys["irnn"] == keys["relu"]
    assert all(hash(key) for key in keys.values())
