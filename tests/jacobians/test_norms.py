"""ln ‖∂h_t/∂h_k‖₂ of all pairs, its error bound, and the bounds of E14."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, adversarial_chains, assert_close, make_sequence, run_jacobians, tolerance
from oracles import exact_product, log_norm_of, rescaled_log_norms

from jaxrnn import NumericalError, cells
from jaxrnn.jacobians import norm_bound, norms, product_bound

compiled = jax.jit(norms)


def compute(js):
    return jax.tree.map(np.asarray, compiled(js))


def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def repeat(J, T, dtype=jnp.float64):
    return jnp.asarray(np.broadcast_to(np.asarray(J, np.float64), (T, *np.shape(J))), dtype)


def test_table_equals_the_norms_of_the_products_pair_by_pair():
    js = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3, 3)))
    table = np.asarray(compute(js).log_norm)
    for t in range(7):
        for k in range(7):
            P = np.eye(3)
            for J in np.asarray(js)[k:t]:
                P = J @ P
            expected = np.log(np.linalg.norm(P, 2)) if k <= t else -np.inf
            np.testing.assert_allclose(table[t, k], expected, atol=1e-13)


@pytest.mark.parametrize("name", ["elman_tanh", "gru", "lstm", "lstm_dense"])
def test_norms_of_a_network_agree_with_its_products(name):
    cell, d = CELLS[name]
    _, js = run_jacobians(cell, *make_sequence(cell, d, 8))
    result = compute(js)
    expected = [log_norm_of(exact_product(js[k:8])) for k in range(8)]
    np.testing.assert_allclose(result.log_norm[8, :8], expected, atol=1e-12)
    assert bool(jnp.all(result.certified))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    ("J", "log_norm_at"),
    [
        ([[-0.3]], lambda lag: lag * np.log(0.3)),
        (orthogonal(4), lambda lag: lag * np.log(1.0)),
        (np.eye(5)[[1, 2, 3, 4, 0]], lambda lag: lag * np.log(1.0)),
        (0.5 * np.eye(3), lambda lag: lag * np.log(0.5)),
        (np.diag([1e20, 1e-20]), lambda lag: lag * np.log(1e20)),
        ([[0.9, 1.0], [0.0, 0.9]], lambda lag: np.log(jordan_norm(0.9, lag))),
    ],
    ids=["scalar", "orthogonal", "permutation", "contraction", "graded", "jordan"],
)
def test_linear_networks_have_the_norm_of_the_power(J, log_norm_at, dtype):
    T = 40
    result = compute(repeat(J, T, dtype))
    expected = np.array([log_norm_at(lag) for lag in range(T + 1)])
    for t in (1, 7, T):
        error = np.abs(np.asarray(result.log_norm[t, : t + 1], np.float64) - expected[t::-1])
        # The entries of J themselves are rounded to the dtype: half an eps a step.
        assert np.all(error <= result.log_error[t, : t + 1] + tolerance(dtype, T))
    assert np.all(result.certified)


def jordan_norm(a, lag):
    return np.linalg.norm([[a**lag, lag * a ** (lag - 1)], [0, a**lag]], 2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_nilpotent_network_is_exactly_zero_and_certified(dtype):
    N = np.diag(np.ones(3), 1)
    result = compute(repeat(N, 8, dtype))
    lag = np.arange(9)[:, None] - np.arange(9)[None, :]
    # XLA's float32 SVD of a permuted diagonal may be off by half an eps.
    assert_close(result.log_norm + 1, np.where((lag >= 0) & (lag < 4), 1.0, -np.inf), 1)
    assert np.all(result.certified)
    result.raise_if_bad()


def test_two_thousand_steps_of_gain_one_half_stay_finite_in_float32():
    cell = cells.elman(2, 4, recurrent_init=cells.initializers.orthogonal(0.5))
    params, h_0, xs = make_sequence(cell, 2, 2000, seed=3)
    params |= {"W_hh": 0.5 * jnp.asarray(orthogonal(4))}
    _, js = run_jacobians(cell, params, h_0, xs)
    single = js.astype(jnp.float32)
    raw, _ = jax.lax.scan(lambda P, J: (J @ P, None), jnp.eye(4, dtype=jnp.float32), single)
    assert not np.any(raw)

    every = np.arange(100, 2001, 100)
    result = jax.tree.map(np.asarray, jax.jit(lambda js: norms(js, at=every.tolist()))(single))
    reference = rescaled_log_norms(single)
    assert reference[-1] < -600 * np.log(10)
    assert np.all(np.isfinite(result.log_norm[:, 0]))
    error = np.abs(np.asarray(result.log_norm[:, 0], np.float64) - reference[every - 1])
    assert np.all(error <= result.log_error[:, 0])
    assert error.max() < 0.01
    result.raise_if_bad()


def test_every_pair_of_500_steps_at_gain_one_is_certified_in_float32():
    cell = cells.elman(16, 16)
    params, h_0, xs = make_sequence(cell, 16, 500, seed=16, dtype=jnp.float32)
    params |= {"W_hh": jax.random.normal(jax.random.key(16), (16, 16), jnp.float32) / 4}
    _, js = run_jacobians(cell, params, h_0, xs)
    result = compute(js)
    result.raise_if_bad()
    error = np.abs(result.log_norm[1:, 0] - rescaled_log_norms(js))
    assert np.all(error <= result.log_error[1:, 0])
    # 2e-4 decades.
    assert error.max() < 2e-4 * np.log(10)


@pytest.mark.parametrize("pairs", [{}, {"at": [12], "lags": [12]}], ids=["table", "pair"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_certified_norm_is_outside_its_error_bound(dtype, pairs):
    kinds, chains = zip(*adversarial_chains(), strict=True)
    chains = np.stack([chain.astype(dtype) for chain in chains])
    results = jax.jit(jax.vmap(lambda js: norms(js, **pairs)))(jnp.asarray(chains))
    exact = np.array([log_norm_of(exact_product(chain)) for chain in chains])
    got, bound, certified = (np.asarray(part[:, -1, 0], np.float64) for part in results)
    certified = certified.astype(bool)
    same = np.where(np.isfinite(exact), np.abs(got - exact), np.where(got == exact, 0, np.inf))
    broken = certified & ~(same <= bound + 1e-12 * (np.abs(exact) < np.inf) * np.abs(np.nan_to_num(exact)))
    assert not broken.any(), [(kinds[i], got[i], exact[i], bound[i]) for i in np.flatnonzero(broken)]
    assert certified.mean() > 0.6, dict(zip(kinds, certified, strict=False))
    assert not certified.all()


@pytest.mark.parametrize(
    ("chain", "exact"),
    [
        # Each entry is 1e-60 and underflows in float32, though no step of the chain is zero.
        ([np.diag([1, 1e-30, 0]), np.diag([0, 1e-30, 1])], -60 * np.log(10)),
        ([np.diag([1, 1e-30]), np.diag([1, 1e-30]), np.diag([0, 1])], -60 * np.log(10)),
        # A step whose own entries span more than float32's exponents.
        ([np.diag([1e30, 1e-30]), np.diag([0, 1])], -30 * np.log(10)),
    ],
    ids=["two steps", "three steps", "one step"],
)
def test_underflow_inside_a_product_is_flagged_and_not_certified_as_zero(chain, exact):
    result = compute(jnp.asarray(np.stack(chain), jnp.float32))
    log_norm, certified = float(result.log_norm[-1, 0]), bool(result.certified[-1, 0])
    assert not certified or abs(log_norm - exact) < 0.1


@pytest.mark.parametrize(("dtype", "tiny"), [(jnp.float32, 1e-39), (jnp.float64, 1e-309)])
def test_denormal_entries_are_never_certified_as_zero(dtype, tiny):
    result = compute(jnp.full((2, 1, 1), tiny, dtype))
    log_norm, certified = np.asarray(result.log_norm)[2, 0], bool(np.asarray(result.certified)[2, 0])
    assert not certified or abs(log_norm - 2 * np.log(tiny)) < 0.1


def test_cancellation_to_zero_is_flagged():
    up, down = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    result = compute(jnp.asarray(np.stack([down, up]), jnp.float32))
    assert result.log_norm[2, 0] == -jnp.inf
    assert not result.certified[2, 0]
    with pytest.raises(NumericalError, match="norms: 1 of 9 entries are not certified"):
        result.raise_if_bad()


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_step_flags_only_the_pairs_that_span_it(bad):
    js = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3, 3)))
    clean, spoilt = compute(js), compute(js.at[2, 0, 1].set(bad))
    t, k = np.indices((7, 7))
    spans = (k <= 2) & (t >= 3)
    assert np.all(np.isnan(spoilt.log_norm[spans])) and not np.any(spoilt.certified[spans])
    np.testing.assert_array_equal(spoilt.log_norm[~spans], clean.log_norm[~spans])
    assert np.all(spoilt.certified[~spans])
    with pytest.raises(NumericalError):
        spoilt.raise_if_bad()


def test_no_steps_give_the_identity():
    result = compute(jnp.zeros((0, 3, 3)))
    assert_close((result.log_norm, result.log_error), (np.zeros((1, 1)), np.zeros((1, 1))))
    assert np.all(result.certified)
    assert_close(product_bound(jnp.zeros((0, 3, 3))), np.zeros((1, 1)))


def test_vmap_and_jit_change_nothing():
    js = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 3, 3)))
    batched = jax.jit(jax.vmap(lambda js: norms(js)))(js)
    for b in range(2):
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b].astype(float), batched), as_floats(norms(js[b])))


def as_floats(result):
    return jax.tree.map(lambda leaf: leaf.astype(float), result)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_half_precision_is_computed_in_float32_and_the_rest_keeps_its_dtype(dtype):
    result = compute(repeat(0.5 * np.eye(2), 3, dtype))
    assert result.log_norm.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
    np.testing.assert_allclose(result.log_norm[3, 0], -3 * np.log(2), rtol=1e-6)


@pytest.mark.parametrize("name", ["elman_tanh", "elman_sigmoid", "elman_leaky_relu", "lstm", "gru"])
def test_norm_is_below_the_product_bound_and_that_below_the_bound_of_e14(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 12)
    _, js = run_jacobians(cell, params, h_0, xs)
    log_norm, middle = compute(js).log_norm, product_bound(js)
    below = np.tri(13, dtype=bool)
    assert np.all(log_norm[below] <= middle[below] + 1e-12)
    assert np.any(log_norm[below] < middle[below] - 0.01)
    assert np.all(middle[~below] == -np.inf)
    if name.startswith("elman"):
        gamma = cells.activations.get(name.removeprefix("elman_")).gamma
        lag = jnp.asarray(np.maximum(np.subtract.outer(np.arange(13), np.arange(13)), 0))
        outer = norm_bound(params["W_hh"], lag, gamma=gamma)
        assert np.all(middle[below] <= outer[below] + 1e-12)


def test_product_bound_is_the_sum_of_the_logarithms():
    js = jnp.asarray(np.random.default_rng(3).normal(size=(5, 2, 2)))
    logs = [np.log(np.linalg.norm(J, 2)) for J in np.asarray(js)]
    assert_close(product_bound(js)[4, 1], np.float64(sum(logs[1:4])))


def test_norm_bound_is_attained_by_a_linear_network_and_by_a_sigmoid_at_zero():
    W = 1.3 * orthogonal(3)
    assert_close(norm_bound(jnp.asarray(W), 7), np.float64(7 * np.log(1.3)))
    js = 0.25 * repeat([[2.0]], 5)
    assert_close(norm_bound(jnp.full((1, 1), 2.0), jnp.arange(6), gamma=0.25), norms(js).log_norm[:, 0])
    assert norm_bound(jnp.zeros((2, 2)), 0) == 0
    assert norm_bound(jnp.zeros((2, 2)), 1) == -np.inf
