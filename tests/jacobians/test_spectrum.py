"""All singular values of a product: right where certified, flagged where rounding has spoilt them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, make_sequence, run_jacobians
from oracles import exact_spectrum

from jaxrnn import NumericalError
from jaxrnn.jacobians import norms, spectrum
from jaxrnn.jacobians.spectrum import _change_last_digits

compiled = jax.jit(spectrum, static_argnums=(1, 2))
of_each = jax.jit(jax.vmap(spectrum))


def compute(js, t=None, k=0):
    return jax.tree.map(np.asarray, compiled(js, t, k))


def assert_certified_values_are_right(result, exact):
    for got, error, certified, truth in zip(*result, exact, strict=True):
        if certified:
            assert got == truth or abs(float(got) - truth) <= float(error), (got, truth, error)


@pytest.mark.parametrize("name", ["elman_tanh", "lstm", "gru"])
def test_spectrum_of_a_network_agrees_with_mpmath(name):
    cell, d = CELLS[name]
    _, js = run_jacobians(cell, *make_sequence(cell, d, 6))
    result, exact = compute(js, 5, 1), exact_spectrum(js[1:5])
    np.testing.assert_allclose(result.log_sigma, exact, atol=1e-11)
    assert np.all(result.certified)
    assert np.all(np.diff(result.log_sigma) <= 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_certified_value_is_outside_its_error_bound(dtype):
    rng = np.random.default_rng(5)
    chains = []
    for i in range(40):
        js = rng.normal(size=(10, 3, 3))
        if i % 4 == 1:
            js[:, :, 2] *= 1e-3
        if i % 4 == 2:
            js = js * 10.0 ** rng.integers(-3, 3, size=(10, 3, 1))
        if i % 4 == 3:
            js = np.triu(js) + 30 * np.triu(np.ones((3, 3)), 1)
        if i % 8 == 7:  # what the first half loses, the second half brings back
            js = np.linalg.qr(js)[0] @ np.diag([1, 1e-2, 1e-4])
            js[5:] = np.linalg.inv(js[:5])[::-1]
        chains.append(js.astype(dtype))
    results = jax.tree.map(np.asarray, of_each(jnp.asarray(np.stack(chains))))
    for i, chain in enumerate(chains):
        assert_certified_values_are_right(jax.tree.map(lambda x, i=i: x[i], results), exact_spectrum(chain))
    certified = results.certified
    assert certified.mean() > 0.6
    if dtype == np.float32:
        assert not certified.all(), "a product and its inverse amplify rounding: some value must be flagged"


@pytest.mark.parametrize("T", [2, 20, 200])
def test_graded_diagonal_chain_is_known_however_small(T):
    js = jnp.asarray(np.broadcast_to(np.diag([1.0, 0.25, 2.0**-10]), (T, 3, 3)), jnp.float32)
    result = compute(js)
    np.testing.assert_allclose(result.log_sigma, -T * np.log(2) * np.array([0, 2, 10]), rtol=1e-6)
    result.raise_if_bad()


def test_largest_value_is_the_norm_also_where_the_raw_product_underflows():
    js = jnp.asarray(0.3 * np.random.default_rng(1).normal(size=(400, 3, 3)), jnp.float32)
    result = compute(js)
    assert result.log_sigma[0] < -150
    np.testing.assert_allclose(result.log_sigma[0], norms(js).log_norm[400, 0], rtol=1e-5)
    # All values add up to the log determinant, which needs no product.
    np.testing.assert_allclose(
        result.log_sigma.sum(), np.linalg.slogdet(np.asarray(js, np.float64))[1].sum(), rtol=1e-4
    )


def test_an_entry_that_one_steps_scale_flushes_is_not_certified_as_zero():
    result = compute(jnp.asarray([np.diag([1e30, 1e-30])], jnp.float32))
    assert_certified_values_are_right(result, np.array([30, -30]) * np.log(10))
    with pytest.raises(NumericalError, match="spectrum: 1 of 2 singular values"):
        result.raise_if_bad()


def test_all_values_of_an_orthogonal_chain_are_one():
    Q = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    result = compute(jnp.asarray(np.broadcast_to(Q, (50, 5, 5))))
    np.testing.assert_allclose(result.log_sigma, 0, atol=1e-12)
    assert np.all(result.certified)


def test_a_product_that_must_be_zero_is_certified_and_one_that_came_out_zero_is_not():
    nilpotent = jnp.asarray(np.broadcast_to(np.diag([1.0], 1), (2, 2, 2)))
    result = compute(nilpotent)
    assert np.all(result.log_sigma == -np.inf) and np.all(result.certified)

    tiny = jnp.asarray([np.diag([1, 1e-30, 0]), np.diag([0, 1e-30, 1])], jnp.float32)
    result = compute(tiny)
    exact = np.array([-60 * np.log(10), -np.inf, -np.inf])
    assert_certified_values_are_right(result, exact)


def test_equal_ends_give_the_identity_and_the_pair_selects_the_segment():
    js = jnp.asarray(np.random.default_rng(3).normal(size=(4, 2, 2)))
    np.testing.assert_array_equal(compute(js, 4, 4).log_sigma, [0, 0])
    np.testing.assert_allclose(
        compute(js, 3, 2).log_sigma, np.log(np.linalg.svd(js[2], compute_uv=False)), atol=1e-14
    )
    np.testing.assert_array_equal(compute(js, 4, 0).log_sigma, compute(js).log_sigma)


def test_a_bad_step_inside_the_pair_flags_every_value_and_outside_none():
    js = jnp.asarray(np.random.default_rng(4).normal(size=(4, 2, 2))).at[3, 0, 0].set(jnp.nan)
    bad, good = compute(js), compute(js, 3)
    assert np.all(np.isnan(bad.log_sigma)) and not np.any(bad.certified)
    assert np.all(np.isfinite(good.log_sigma)) and np.all(good.certified)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_vmap_equals_one_by_one_and_keeps_the_dtype(dtype):
    js = jnp.asarray(np.random.default_rng(6).normal(size=(2, 3, 2, 2)), dtype)
    batched = of_each(js)
    assert batched.log_sigma.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
    for b in range(2):
        np.testing.assert_allclose(batched.log_sigma[b], compute(js[b]).log_sigma, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_replicate_differs_in_the_last_digit_and_keeps_zeros(dtype):
    A = np.random.default_rng(1).normal(size=(8, 8)).astype(dtype)
    A[0, :3] = 0.0, 1.0, -np.finfo(dtype).tiny
    signs = np.where(np.arange(64).reshape(8, 8) % 3, 1, -1).astype(np.int8)
    changed = np.asarray(jax.jit(_change_last_digits)(A, signs))
    relative = np.where(A == 0, 1, changed) / np.where(A == 0, 1, A) - 1
    eps = np.finfo(dtype).eps
    assert changed.dtype == dtype and changed[0, 0] == 0 and changed[0, 2] == A[0, 2]
    moved = relative[1:]
    np.testing.assert_array_equal(np.sign(moved), signs[1:])
    assert np.all((0.9 * eps <= np.abs(moved)) & (np.abs(moved) <= 2.1 * eps))
