"""What every cell must do, whichever it is. A new cell joins `cases.CELLS` and inherits these."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, LEARNED, assert_close, cast, make_params, make_sequence, run, run_jacobians
from oracles import end_to_end_jacobian, row

from jaxrnn import cells, unroll
from jaxrnn.jacobians import product

every_cell = pytest.mark.parametrize("name", CELLS)


@every_cell
def test_unroll_equals_a_python_loop_over_the_steps(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 5)
    traj, h = run(cell, params, h_0, xs), h_0
    for t in range(5):
        assert_close(row(traj.h_tm1s, t), h)
        h, y = cell.step(params, h, xs[t])
        assert_close((row(traj.hs, t), row(traj.ys, t)), (h, y))


@every_cell
def test_jit_changes_nothing_and_traces_once(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 4)
    chex.clear_trace_counter()
    compiled = jax.jit(chex.assert_max_traces(lambda *args: unroll(cell.step, *args), n=1))
    with jax.disable_jit():
        eager = unroll(cell.step, params, h_0, xs)
    assert_close(compiled(params, h_0, xs), eager)
    compiled(make_params(cell, seed=9), *make_sequence(cell, d, 4, seed=9)[1:])


@every_cell
def test_vmap_over_sequences_equals_one_by_one(name):
    cell, d = CELLS[name]
    params = make_params(cell)
    sequences = [make_sequence(cell, d, 3, seed)[1:] for seed in (1, 2)]
    h_0, xs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *sequences)
    batched = jax.vmap(lambda h, x: run(cell, params, h, x))(h_0, xs)
    for b, (h, x) in enumerate(sequences):
        assert_close(row(batched, b), run(cell, params, h, x))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
@every_cell
def test_every_result_keeps_the_dtype_of_the_parameters(name, dtype):
    cell, d = CELLS[name]
    params, _, xs = make_sequence(cell, d, 2, dtype=dtype)
    results = run_jacobians(cell, params, cell.init_state(params), xs)
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype(dtype)}


@every_cell
def test_float32_follows_float64(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 6)
    single = run(cell, *cast((params, h_0, xs), jnp.float32))
    assert_close(single, run(cell, params, h_0, xs), 50)


@every_cell
def test_a_single_step_is_a_sequence(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 1)
    traj = run(cell, params, h_0, xs)
    h_1, y_1 = cell.step(params, h_0, xs[0])
    assert_close((traj.hs, traj.ys), jax.tree.map(lambda leaf: leaf[None], (h_1, y_1)))


@pytest.mark.parametrize("make", [cells.elman, cells.lstm, cells.gru])
def test_one_unit_is_a_network(make):
    cell = make(1, 1)
    params, h_0, xs = make_sequence(cell, 1, 3)
    _, js = run_jacobians(cell, params, h_0, xs)
    n = 2 if make is cells.lstm else 1
    assert js.shape == (3, n, n)
    assert_close(js[2] @ js[1] @ js[0], end_to_end_jacobian(cell.step, params, h_0, xs))


@every_cell
def test_product_of_step_jacobians_equals_product_equals_jacrev_end_to_end(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 30)
    traj, js = run_jacobians(cell, params, h_0, xs)
    definition = jax.jit(lambda *args: product(cell.step, *args, t=30, k=0))(params, traj)
    reference = end_to_end_jacobian(cell.step, params, h_0, xs)
    chain = np.linalg.multi_dot(np.asarray(js)[::-1])
    np.testing.assert_allclose(chain, reference, rtol=0, atol=1e-10)
    np.testing.assert_allclose(definition, reference, rtol=0, atol=1e-10)
    scale = np.abs(reference).max()
    np.testing.assert_allclose(chain / scale, reference / scale, rtol=0, atol=1e-10)


@every_cell
def test_initial_states_repeat_init_state(name):
    cell, _ = CELLS[name]
    params = make_params(cell)
    h_0 = cell.init_state(params)
    assert_close(row(cell.initial_states(params, 3), 2), h_0)
    assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(cell.initial_states(params, 3)))


@every_cell
def test_init_state_is_learned_where_asked_and_zero_elsewhere(name):
    cell, _ = CELLS[name]
    params = make_params(cell)
    values = [leaf for leaf in jax.tree.leaves(cell.init_state(params))]
    assert all(bool(jnp.all(leaf != 0) if name in LEARNED else jnp.all(leaf == 0)) for leaf in values)


@every_cell
def test_another_key_gives_other_parameters_of_the_same_shape(name):
    cell, _ = CELLS[name]
    one, two = cell.init(jax.random.key(1)), cell.init(jax.random.key(2))
    chex.assert_trees_all_equal_shapes_and_dtypes(one, two)
    chex.assert_trees_all_equal(one, cell.init(jax.random.key(1)))
    assert any(bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (one, two)), strict=True))
