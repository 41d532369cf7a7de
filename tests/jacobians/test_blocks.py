"""Blocks of ∂h_t/∂h_k by leaf and by layer, and ∂h_t/∂x_k, against autodiff from end to end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, adversarial_chains, make_params, make_sequence, run, run_jacobians, tolerance
from oracles import end_to_end_jacobian, exact_product, log_norm_of

from jaxrnn import cells, unroll
from jaxrnn.jacobians import block_norms, input_jacobians, input_norms

T = 6
STACK = cells.stack(cells.lstm(2, 3), cells.gru(3, 2), cells.dense(2, 2))
PARTS = {"0.h": slice(0, 3), "0.c": slice(3, 6), "1": slice(6, 8)}
"""Of the stack's state, in the order of the raveled vector."""


def log_norm(block):
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.norm(block, 2))


@pytest.fixture(scope="module")
def stack():
    params, h_0, xs = make_sequence(STACK, 2, T)
    trajectory, js = run_jacobians(STACK, params, h_0, xs)
    return params, trajectory, js


@pytest.fixture(scope="module")
def by_leaf(stack):
    _, trajectory, js = stack
    return jax.tree.map(np.asarray, jax.jit(block_norms)(js, trajectory.h_0))


def test_blocks_of_a_stack_are_those_of_the_jacobian_from_end_to_end(stack, by_leaf):
    params, trajectory, _ = stack
    assert {name: set(row) for name, row in by_leaf.items()} == {part: set(PARTS) for part in PARTS}
    starts = {0: trajectory.h_0, 2: jax.tree.map(lambda leaf: leaf[1], trajectory.hs)}
    for k, h_k in starts.items():
        P = np.asarray(end_to_end_jacobian(STACK.step, params, h_k, trajectory.xs[k:]))
        for to, rows in PARTS.items():
            for of, cols in PARTS.items():
                found = by_leaf[to][of]
                np.testing.assert_allclose(found.log_norm[T, k], log_norm(P[rows, cols]), atol=1e-11)
                assert found.certified[T, k]


def test_many_layers_stay_in_order_under_jit():
    state = tuple(jnp.zeros(1) for _ in range(11))
    found = jax.jit(lambda js: block_norms(js, state, by="layer", at=[1], lags=[1]))(jnp.eye(11)[None])
    assert list(found) == list(found["10"]) == [str(layer) for layer in range(11)]


def test_a_lower_layer_never_feels_a_higher_one(by_leaf):
    for part in ("0.h", "0.c"):
        found = by_leaf[part]["1"]
        assert np.all(found.log_norm == -np.inf) and np.all(found.log_error == 0)
        assert np.all(found.certified)
        assert np.all(np.isfinite(by_leaf["1"][part].log_norm[np.tri(T + 1, k=-1, dtype=bool)]))


def test_a_part_has_norm_one_on_the_diagonal_and_nothing_of_the_others(by_leaf):
    for to in PARTS:
        for of in PARTS:
            found = np.diagonal(by_leaf[to][of].log_norm)
            np.testing.assert_array_equal(found, np.full(T + 1, 0 if to == of else -np.inf))


def test_a_layer_holds_all_its_leaves(stack, by_leaf):
    params, trajectory, js = stack
    by_layer = block_norms(js, trajectory.h_0, by="layer", at=[T], lags=[T])
    assert list(by_layer) == list(by_layer["0"]) == ["0", "1"]
    P = np.asarray(end_to_end_jacobian(STACK.step, params, trajectory.h_0, trajectory.xs))
    layers = {"0": slice(0, 6), "1": slice(6, 8)}
    for to, of in (("0", "0"), ("1", "0"), ("1", "1")):
        expected = log_norm(P[layers[to], layers[of]])
        np.testing.assert_allclose(by_layer[to][of].log_norm[0, 0], expected, atol=1e-11)
    assert by_layer["0"]["1"].log_norm[0, 0] == -np.inf
    leaf_of_a_layer = by_leaf["1"]["1"].log_norm[T, 0]
    np.testing.assert_allclose(by_layer["1"]["1"].log_norm[0, 0], leaf_of_a_layer, atol=1e-13)


def test_blocks_at_some_pairs_are_entries_of_the_whole_tables(stack, by_leaf):
    _, trajectory, js = stack
    at, lags = [5, 0, 3], [2, 0, 4]
    some = block_norms(js, trajectory.h_0, at=at, lags=lags)
    for to, of in (("0.c", "0.c"), ("1", "0.h"), ("0.h", "1")):
        table, found = by_leaf[to][of].log_norm, np.asarray(some[to][of].log_norm)
        for row, t in enumerate(at):
            for column, lag in enumerate(lags):
                expected = table[t, t - lag] if lag <= t else -np.inf
                np.testing.assert_allclose(found[row, column], expected, atol=1e-12)


def test_no_certified_block_is_outside_its_error_bound():
    kinds, chains = zip(*adversarial_chains(count=12), strict=True)
    chains = np.stack([chain.astype(np.float32) for chain in chains])
    state, parts = {"a": jnp.zeros(1), "b": jnp.zeros(2)}, {"a": slice(0, 1), "b": slice(1, 3)}
    blocks = jax.jit(jax.vmap(lambda js: block_norms(js, state, at=[12], lags=[12])))(jnp.asarray(chains))
    products = [exact_product(chain) for chain in chains]
    shares = []
    for to, rows in parts.items():
        for of, cols in parts.items():
            exact = np.array([log_norm_of(P[rows, cols]) for P in products])
            got, bound, certified = (np.asarray(part)[:, 0, 0] for part in blocks[to][of])
            finite = np.isfinite(exact)
            error = np.abs(np.where(finite, got - np.where(finite, exact, 0), 0))
            error = np.where(finite | (got == exact), error, np.inf)
            broken = certified & ~(error <= bound + tolerance(np.float64, 4) * np.abs(exact))
            assert not broken.any(), [(to, of, kinds[i], got[i], exact[i]) for i in np.flatnonzero(broken)]
            shares.append(certified.mean())
    assert 0.5 < np.mean(shares) < 1, shares


def test_a_large_block_that_is_tiny_beside_the_others_keeps_its_norm():
    """n > 64, where the squares of its entries underflow in units of the whole product."""
    m = 70
    js = np.zeros((1, 2 * m, 2 * m), np.float32)
    random = np.random.default_rng(0).random((2, m, m))
    js[0, :m, :m], js[0, m:, m:] = random * [[[1.0]], [[1e-18]]]
    blocks = block_norms(jnp.asarray(js), {"a": jnp.zeros(m), "b": jnp.zeros(m)}, at=[1], lags=[1])
    found = jax.tree.map(np.asarray, blocks["b"]["b"])
    expected = log_norm(js[0, m:, m:].astype(float))
    assert found.certified[0, 0] and abs(found.log_norm[0, 0] - expected) <= found.log_error[0, 0]


def test_a_bad_step_spoils_the_pairs_that_span_it_in_every_block(stack):
    _, trajectory, js = stack
    found = block_norms(js.at[2, 0, 0].set(jnp.nan), trajectory.h_0, at=[2, T], lags=[1, 5])
    for row in found.values():
        for block in row.values():
            # At [T, 5] lies ∂h_6/∂h_1, which spans the third step.
            np.testing.assert_array_equal(np.isnan(block.log_norm), [[False, False], [False, True]])
            np.testing.assert_array_equal(block.certified, [[True, True], [True, False]])


@pytest.mark.usefixtures("unchecked_types")
def test_what_does_not_fit_is_refused(stack):
    _, trajectory, js = stack
    with pytest.raises(ValueError, match=r"block_norms: by is 'gate'; expected one of"):
        block_norms(js, trajectory.h_0, by="gate")
    with pytest.raises(ValueError, match=r"the state has 6 entries in \['h', 'c'\]; js is of n = 8"):
        block_norms(js, trajectory.h_0[0])
    with pytest.raises(IndexError, match=r"block_norms: at is .*; expected values within 0 <= at <= T = 6"):
        block_norms(js, trajectory.h_0, at=[7])
    with pytest.raises(ValueError, match=r"block_norms: js has shape \(8, 8\)"):
        block_norms(js[0], trajectory.h_0)
    bs = jnp.ones((T, 8, 2))
    for bad in (bs[1:], bs[:, :7], bs[0], bs[:, :, :0]):
        with pytest.raises(ValueError, match=r"input_norms: bs has shape .*; expected \[T, n, d\]"):
            input_norms(js, bad)
    with pytest.raises(IndexError, match="input_norms: lags is"):
        input_norms(js, bs, lags=[7])


@pytest.fixture(scope="module")
def of_inputs(stack):
    """(js, bs, ∂h_t/∂x_k [T, n, T, d] by one jacrev of the whole unrolled network)."""
    params, trajectory, js = stack

    @jax.jit
    @jax.jacrev
    def everything(xs):
        hs = unroll(STACK.step, params, trajectory.h_0, xs).hs
        return jax.vmap(lambda h: jax.flatten_util.ravel_pytree(h)[0])(hs)

    return js, input_jacobians(STACK.step, params, trajectory), np.asarray(everything(trajectory.xs))


def test_input_jacobians_are_those_of_the_whole_network(of_inputs):
    _, bs, whole = of_inputs
    for t in range(T):
        np.testing.assert_allclose(bs[t], whole[t, :, t], atol=1e-14)


def test_input_norms_are_those_of_the_whole_network(of_inputs):
    js, bs, whole = of_inputs
    found = input_norms(js, bs)
    assert found.log_norm.shape == (T + 1, T + 1)
    for t in range(T + 1):
        for k in range(T + 1):
            if 1 <= k <= t:
                expected = log_norm(whole[t - 1, :, k - 1])
                np.testing.assert_allclose(found.log_norm[t, k], expected, atol=1e-12)
            else:
                assert found.log_norm[t, k] == -np.inf and found.log_error[t, k] == 0
    assert np.all(found.certified)


def test_input_norms_at_some_pairs_are_those_of_the_whole_network(of_inputs):
    js, bs, whole = of_inputs
    at, lags = [5, 0, T], [2, 0, T, 5]
    some = input_norms(js, bs, at=at, lags=lags)
    for row, t in enumerate(at):
        for column, lag in enumerate(lags):
            found = some.log_norm[row, column]
            if lag < t:
                np.testing.assert_allclose(found, log_norm(whole[t - 1, :, t - lag - 1]), atol=1e-12)
            else:
                assert found == -np.inf
    assert np.all(some.certified)


def test_a_tree_of_inputs_counts_as_one_vector():
    def step(w, h, x):
        return w * h + 3 * x["a"] + x["b"][:1] * x["b"][1:], ()

    xs = {"a": jnp.ones((2, 1)), "b": jnp.array([[2.0, 5.0], [7.0, 4.0]])}
    bs = input_jacobians(step, 0.5, unroll(step, 0.5, jnp.zeros(1), xs))
    np.testing.assert_array_equal(bs, [[[3, 5, 2]], [[3, 4, 7]]])


def test_tokens_have_no_derivative():
    embedding = jnp.arange(8.0).reshape(4, 2)

    def step(_, h, token):
        return 0.5 * h + embedding[token], ()

    trajectory = unroll(step, (), jnp.zeros(2), jnp.array([0, 3, 1]))
    with pytest.raises(TypeError, match=r"input_jacobians: trajectory\.xs leaf .* has dtype int64.*one-hot"):
        input_jacobians(step, (), trajectory)


def test_a_map_without_inputs_is_refused():
    trajectory = unroll(lambda _, h, x: (0.5 * h, x), (), jnp.zeros(2), None, length=3)
    with pytest.raises(ValueError, match=r"no input \(d = 0\)"):
        input_jacobians(lambda _, h, x: (0.5 * h, x), (), trajectory)


def test_a_batch_of_trajectories_is_refused():
    cell, d = CELLS["elman_tanh"]
    trajectory = run(cell, *make_sequence(cell, d, T))
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), trajectory)
    with pytest.raises(ValueError, match=r"input_jacobians: .*jax.vmap|elman: "):
        input_jacobians(cell.step, make_params(cell), batch)
