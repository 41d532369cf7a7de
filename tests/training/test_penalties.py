"""Penalties on the Jacobian: their values from the definition, their gradients from differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import CELLS, assert_close, estimate, make_batch, run_jacobians

from jaxrnn import Batch, cells, gradients
from jaxrnn.losses import squared_error
from jaxrnn.training import flossing_penalty, pascanu_penalty, penalized, spectral_norm_penalty, train

PENALTIES = {
    "pascanu": lambda cell: pascanu_penalty(cell, squared_error),
    "spectral_norm": partial(spectral_norm_penalty, lag=2, sequences=2),
    "flossing": partial(flossing_penalty, k=2, sequences=2),
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)


@partial(jax.jit, static_argnums=(0, 1))
def value_of(name, cell, params, batch):
    return PENALTIES[name](cell)(params, batch)


@partial(jax.jit, static_argnums=(0, 1))
def value_and_slope(name, cell, params, batch):
    return jax.value_and_grad(PENALTIES[name](cell))(params, batch)


def scalar_network(w):
    """h_t = w h_{t-1} + x_t of one unit, with the loss at the last of 6 steps, of 2 sequences."""
    cell = cells.elman(1, 1, activation="linear")
    params = {"W_hx": jnp.ones((1, 1)), "W_hh": jnp.full((1, 1), w), "b_h": jnp.zeros(1)}
    weights = jnp.zeros((2, 6)).at[:, -1].set(1.0)
    return cell, params, Batch(jnp.ones((2, 6, 1)), jnp.zeros((2, 6, 1)), weights)


@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [
        # The loss at T sends its gradient to h_1 ... h_{T-1}.
        ("pascanu", 5 * (0.5 - 1) ** 2, -2 * 5 * (0.5 - 1)),
        ("spectral_norm", (2 * np.log(0.5)) ** 2, 8 * np.log(0.5) / -0.5),
    ],
)
def test_penalties_of_one_linear_unit_in_closed_form(name, value, slope):
    cell, params, batch = scalar_network(-0.5)
    found, grads = value_and_slope(name, cell, params, batch)
    assert_close((found, grads["W_hh"]), (np.float64(value), np.full((1, 1), slope)))
    assert not np.any(grads["W_hx"])


def test_flossing_of_one_linear_unit_in_closed_form():
    cell, params, batch = scalar_network(-0.5)
    found, grads = jax.jit(jax.value_and_grad(flossing_penalty(cell)))(params, batch)
    assert_close((found, grads["W_hh"]), (np.log(0.5) ** 2, np.full((1, 1), 2 * np.log(0.5) / -0.5)))


@every_penalty
def test_numpy_arrays_that_jit_closes_over_are_a_batch(name):
    cell, d = CELLS["elman_tanh"]
    params, _, batch = make_batch(cell, d, 2, 6)
    of_numpy = jax.tree.map(np.asarray, batch)
    found = jax.jit(lambda params: PENALTIES[name](cell)(params, of_numpy))(params)
    assert_close(found, value_of(name, cell, params, batch))


def chains(cell, params, batch):
    h_0 = cell.init_state(params)
    return [np.asarray(run_jacobians(cell, params, h_0, xs)[1]) for xs in batch.xs]


def test_spectral_norm_is_that_of_products_over_the_lag():
    cell, d = CELLS["lstm"]
    params, _, batch = make_batch(cell, d, 3, 7)
    logs = [
        np.log(np.linalg.norm(js[i + 1] @ js[i], 2))
        for js in chains(cell, params, batch)[:2]
        for i in (0, 2, 4)
    ]
    found = value_of("spectral_norm", cell, params, batch)
    assert_close(found, np.mean(np.square(logs)))


def test_flossing_is_the_sum_of_squares_of_the_leading_growth_rates():
    cell, d = CELLS["gru"]
    params, _, batch = make_batch(cell, d, 3, 400)
    rates = []
    for js in chains(cell, params, batch)[:2]:
        Q, logs = np.eye(4)[:, :2], []
        for J in js:
            Q, R = np.linalg.qr(J @ Q)
            logs.append(np.log(np.abs(np.diag(R))))
        rates.append(np.mean(logs, axis=0))
    # The starts differ, which matters for a few steps of 400.
    np.testing.assert_allclose(
        value_of("flossing", cell, params, batch), np.mean(np.sum(np.square(rates), axis=1)), rtol=0.02
    )


def test_pascanu_follows_its_definition():
    cell, d = CELLS["elman_tanh"]
    params, _, batch = make_batch(cell, d, 2, 5)
    expected = []
    for xs, targets, js in zip(batch.xs, batch.targets, chains(cell, params, batch), strict=True):
        hs, h = [], np.zeros(4)
        for x in np.asarray(xs):
            h = np.tanh(params["W_hx"] @ x + params["W_hh"] @ h + params["b_h"])
            hs.append(h)
        terms, g = [], np.zeros(4)
        for t in range(4, 0, -1):  # g of h_t, from the losses at t + 1, ..., T
            g = js[t].T @ (g + (hs[t] - np.asarray(targets[t])))
            terms.append((np.linalg.norm(js[t - 1].T @ g) / np.linalg.norm(g) - 1) ** 2)
        expected.append(sum(terms))
    assert_close(value_of("pascanu", cell, params, batch), np.mean(expected))


@pytest.mark.parametrize("name", ["spectral_norm", "flossing"])
@pytest.mark.parametrize("kind", ["elman_tanh", "lstm_dense"])
def test_gradients_agree_with_differences(name, kind):
    cell, d = CELLS[kind]
    params, _, batch = make_batch(cell, d, 2, 6)
    penalty = jax.jit(PENALTIES[name](cell))
    direction = jax.tree.map(jnp.ones_like, params)
    eps = 1e-6
    up, down = (
        penalty(jax.tree.map(lambda p, v, s=s: p + s * v, params, direction), batch) for s in (eps, -eps)
    )
    slope = jax.jvp(lambda p: penalty(p, batch), (params,), (direction,))[1]
    np.testing.assert_allclose(slope, (up - down) / (2 * eps), rtol=1e-6)
    grads = jax.jit(jax.grad(penalty))(params, batch)
    np.testing.assert_allclose(sum(jnp.sum(g) for g in jax.tree.leaves(grads)), slope, rtol=1e-10)


@every_penalty
@pytest.mark.parametrize("kind", ["elman_relu", "gru_residual_elman"])
def test_gradients_are_finite_also_where_no_gradient_arrives(name, kind):
    cell, d = CELLS[kind]
    params, _, batch = make_batch(cell, d, 2, 6)
    dead = jax.tree.map(jnp.zeros_like, params)
    for at in (params, dead):
        value, grads = value_and_slope(name, cell, at, batch)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves((value, grads)))


@every_penalty
def test_an_estimate_with_a_penalty_is_the_sum_of_both_gradients(name):
    cell, d = CELLS["elman_tanh"]
    params, h_0, batch = make_batch(cell, d, 2, 5)
    penalty = PENALTIES[name](cell)
    plain = gradients.full(cell.step, squared_error)
    found, _ = jax.jit(penalized(plain, penalty, 0.3).estimate)(params, h_0, batch, jax.random.key(0))
    expected, _ = estimate(gradients.full, cell, params, h_0, batch)
    assert_close(found.loss, expected.loss)
    _, slope = value_and_slope(name, cell, params, batch)
    assert_close(found.grads, jax.tree.map(lambda g, s: g + 0.3 * s, expected.grads, slope))


@every_penalty
def test_training_on_a_penalty_alone_brings_it_down(name):
    """The gain of a network that starts with W_hh of singular values 0.5 rises towards 1."""
    half = cells.initializers.orthogonal(0.5)
    cell = cells.elman(2, 4, recurrent_init=half)

    def sample(key):
        return Batch(0.1 * jax.random.normal(key, (2, 10, 2)), jnp.ones((2, 10, 4)))

    estimator = penalized(gradients.full(cell.step, squared_error), PENALTIES[name](cell), 100.0)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.03))
    result = train(cell, estimator, optimizer, sample, steps=60, key=jax.random.key(0), progress=False)
    before, after = cell.init(jax.random.fold_in(jax.random.split(jax.random.key(0), 1)[0], 0)), result.seed()
    batch = sample(jax.random.key(1))
    assert value_of(name, cell, after, batch) < 0.1 * value_of(name, cell, before, batch)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda cell, _: spectral_norm_penalty(cell, lag=0), "lag is 0"),
        (lambda cell, _: flossing_penalty(cell, k=0), "k is 0"),
        (lambda cell, _: flossing_penalty(cell, sequences=0), "sequences is 0"),
        (lambda cell, use: use(spectral_norm_penalty(cell, lag=9)), "lag is 9 but the sequences have T = 6"),
        (lambda cell, use: use(flossing_penalty(cell, k=2)), "k is 2; expected at most n = 1"),
    ],
)
def test_options_out_of_range_are_named(build, message):
    cell, params, batch = scalar_network(0.5)
    with pytest.raises(ValueError, match=message):
        build(cell, lambda penalty: penalty(params, batch))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_finite_and_not_negative(weight):
    cell, *_ = scalar_network(0.5)
    plain = gradients.full(cell.step, squared_error)
    with pytest.raises(ValueError, match=f"weight is {weight}"):
        penalized(plain, spectral_norm_penalty(cell), weight)
