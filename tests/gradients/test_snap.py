"""SnAp against dense RTRL in NumPy with a mask, and its pattern against the structure of the cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, ESTIMATORS, FEW, assert_close, estimate, make_batch, make_sequence, run
from jax.flatten_util import ravel_pytree

from jaxrnn import Batch, cells, unroll
from jaxrnn.gradients import influence_pattern, rtrl, snap
from jaxrnn.losses import squared_error

B, T = 2, 5


def pattern_of(name, steps, **options):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 4)
    return influence_pattern(cell.step, params, run(cell, params, h_0, xs), steps=steps, **options)


def masked_rtrl(cell, mask, params, h_0, batch):
    """The gradient by ``a_t = M ⊙ (b_t + c_t a_{t-1})`` in NumPy, from the Jacobians of each step."""
    flat_params, unravel = ravel_pytree(params)
    flat_h, unravel_h = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], h_0))

    def F(w, h, x):
        return ravel_pytree(cell.step(unravel(w), unravel_h(h), x)[0])[0]

    def loss(w, h, x, target):
        return squared_error(None, cell.step(unravel(w), unravel_h(h), x)[1], target)

    of_step = jax.jit(lambda *args: (F(*args), jax.jacfwd(F, (0, 1))(*args)))
    of_loss = jax.jit(jax.grad(loss, (0, 1)))
    total = np.zeros(len(flat_params))
    for b in range(B):
        h = ravel_pytree(jax.tree.map(lambda leaf, b=b: leaf[b], h_0))[0]
        a = np.zeros((len(flat_h), len(flat_params)))
        for x, target in zip(batch.xs[b], batch.targets[b], strict=True):
            direct, from_h = of_loss(flat_params, h, x, target)
            total += np.asarray(direct) + np.asarray(from_h) @ a
            h, (immediate, passed) = of_step(flat_params, h, x)
            a = mask * (np.asarray(immediate) + np.asarray(passed) @ a)
    return unravel(jnp.asarray(total / (B * T)))


def dense(pattern, n):
    mask = np.zeros((n, pattern.units.shape[1]), bool)
    for units, kept in zip(pattern.units, pattern.kept, strict=True):
        mask[units[kept], np.flatnonzero(kept)] = True
    return mask


@pytest.mark.parametrize(("name", "steps"), [*((name, 1) for name in FEW), ("gru_residual_elman", 2)])
def test_snap_is_rtrl_with_a_mask(name, steps):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    pattern = pattern_of(name, steps)
    found = jax.jit(snap(cell.step, squared_error, pattern=pattern).estimate)
    carry = snap(cell.step, squared_error, pattern=pattern).init(params, h_0)
    n = len(ravel_pytree(h_0)[0]) // B
    reference = masked_rtrl(cell, dense(pattern, n), params, h_0, batch)
    assert_close(found(params, carry, batch, None)[0].grads, reference, EPS_12)


@pytest.mark.parametrize("name", ["elman_learned_h_0", "lstm_dense"])
def test_enough_steps_make_it_rtrl_with_a_learned_h_0_too(name):
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    for options in ({}, {"init_state": cell.init_state}):
        pattern = pattern_of(name, 9, **options)
        sparse = snap(cell.step, squared_error, pattern=pattern, **options)
        exact = rtrl(cell.step, squared_error, **options)
        got, expected = (
            jax.jit(e.estimate)(params, e.init(params, h_0), batch, None)[0].grads for e in (sparse, exact)
        )
        assert_close(got, expected, EPS_12)


def test_snap_1_of_a_dense_network_keeps_each_parameters_own_units():
    pattern = pattern_of("elman_tanh", 1)
    params = CELLS["elman_tanh"][0].init(jax.random.key(0))
    owner = jax.tree.map(
        lambda leaf: jnp.broadcast_to(jnp.arange(4.0)[(...,) + (None,) * (leaf.ndim - 1)], leaf.shape), params
    )
    assert pattern.kept.all() and pattern.immediate.all()
    np.testing.assert_array_equal(pattern.units[0], ravel_pytree(owner)[0])
    assert not pattern.group.any()
    # c and h of a unit share all parameters but those of the output gate.
    of_lstm = pattern_of("lstm", 1)
    assert len(of_lstm.units) == 2 and of_lstm.group.max() == 1


def test_a_network_of_separate_units_loses_nothing_in_snap_1():
    """h_t = tanh(w ⊙ h_{t-1} + u ⊙ x_t): no parameter ever reaches another unit."""

    def step(params, h, x):
        h = jnp.tanh(params["w"] * h + params["u"] * x)
        return h, h

    params = {"w": jnp.asarray([0.5, 0.9, -0.7]), "u": jnp.ones(3)}
    xs = jax.random.normal(jax.random.key(0), (B, T, 3))
    batch, h_0 = Batch(xs, jnp.ones((B, T, 3))), jnp.zeros((B, 3))
    pattern = influence_pattern(step, params, unroll(step, params, h_0[0], xs[0]))
    sparse, exact = snap(step, squared_error, pattern=pattern), rtrl(step, squared_error)
    found, expected = (e.estimate(params, e.init(params, h_0), batch, None)[0] for e in (sparse, exact))
    assert pattern.units.shape == (1, 6)
    assert_close(found, expected)


def test_zero_weights_and_silent_relus_do_not_hide_structure():
    cell = cells.elman(2, 3, activation="relu")
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    trajectory = unroll(cell.step, params, jnp.zeros(3), jnp.zeros((20, 2)) + 1e-9)
    assert influence_pattern(cell.step, params, trajectory, steps=2).units.shape == (3, 18)
    for activation in ("relu", "tanh"):
        cell = cells.elman(4, 64, activation=activation)
        params = cell.init(jax.random.key(0))
        short = unroll(cell.step, params, jnp.zeros(64), jnp.ones((1, 4)))
        assert influence_pattern(cell.step, params, short).kept.all()


@pytest.mark.parametrize("of_params", ["float32", "bfloat16"])
def test_states_of_another_dtype_than_the_parameters_are_carried(of_params):
    cell = cells.elman(2, 3)

    def step(params, h, x):
        h = cell.step(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params), h.astype(jnp.float32), x)[
            0
        ]
        return h.astype(jnp.bfloat16), h

    params = jax.tree.map(lambda leaf: leaf.astype(of_params), cell.init(jax.random.key(0)))
    xs, h_0 = jnp.ones((1, 4, 2), jnp.float32), jnp.zeros((1, 3), jnp.bfloat16)
    batch = Batch(xs, jnp.ones((1, 4, 3), jnp.float32), jnp.ones((1, 4), jnp.float32))
    pattern = influence_pattern(step, params, unroll(step, params, h_0[0], xs[0]))
    estimator = snap(step, squared_error, pattern=pattern)
    found, _ = estimator.estimate(params, estimator.init(params, h_0), batch, None)
    assert {leaf.dtype for leaf in jax.tree.leaves(found.grads)} == {jnp.dtype(of_params)}


def test_borders_between_batches_change_nothing():
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, 6, weights=jnp.ones((B, 6)))
    whole, end = estimate(ESTIMATORS["snap"], cell, params, h_0, batch)
    estimator = ESTIMATORS["snap"](cell.step, squared_error)
    total, carry = jax.tree.map(jnp.zeros_like, whole), estimator.init(params, h_0)
    for piece in (slice(2), slice(2, 4), slice(4, 6)):
        found, carry = jax.jit(estimator.estimate)(
            params, carry, jax.tree.map(lambda leaf, piece=piece: leaf[:, piece], batch), None
        )
        total = jax.tree.map(jnp.add, total, found)
    assert_close((total, carry), (whole, end), EPS_12)


@pytest.mark.usefixtures("unchecked_types")
def test_a_pattern_of_another_network_is_refused():
    cell, _ = CELLS["gru"]
    params = cell.init(jax.random.key(0))
    estimator = snap(cell.step, squared_error, pattern=pattern_of("elman_tanh", 1))
    with pytest.raises(ValueError, match=r"gradients\.snap: the pattern is of n = 4 and 32 parameters"):
        estimator.init(params, cell.initial_states(params, 1))
    with pytest.raises(ValueError, match="the pattern does not know init_state"):
        snap(cell.step, squared_error, pattern=pattern_of("gru", 1), init_state=cell.init_state)
    with pytest.raises(TypeError, match=r"gradients\.snap: pattern is a NoneType"):
        snap(cell.step, squared_error, pattern=None)
    with pytest.raises(ValueError, match=r"influence_pattern: steps is 0"):
        pattern_of("gru", 0)
