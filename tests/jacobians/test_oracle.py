"""The oracle against closed forms, mpmath's own SVD, fractions, and products that are exactly singular."""

import builtins
from fractions import Fraction

import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest

from jaxrnn.jacobians import _exact, oracle

LN10 = np.log(10)
EPS = np.finfo(np.float64).eps


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def orthogonal(n, seed=0):
    return np.linalg.qr(random(n, n, seed=seed))[0]


def by_mpmath(js, digits=500):
    """Ln σ of js[-1]···js[0] from mpmath's own SVD of a product with hundreds of digits."""
    with mpmath.workdps(digits):
        P = mpmath.eye(js.shape[1])
        for J in np.asarray(js, np.float64):
            P = mpmath.matrix(J.tolist()) * P
        return np.array([float(mpmath.log(s)) for s in mpmath.svd_r(P, compute_uv=False)])


def hilbert(n):
    i = np.arange(n)
    return 1 / (i[:, None] + i[None, :] + 1)


SMALL = {
    "random": random(8, 4, 4),
    "one step": random(1, 5, 5, seed=1),
    "one unit": random(9, 1, 1, seed=2),
    "non-normal": np.triu(random(20, 4, 4, seed=3)) + 30 * np.triu(np.ones((4, 4)), 1),
    "wide range": random(6, 3, 3, seed=4) * 10.0 ** np.random.default_rng(4).integers(-9, 9, (6, 3, 3)),
    "denormals": random(4, 2, 2, seed=5) * 5e-320,
    "ill-conditioned": hilbert(8)[None],
    "equal values": np.stack([orthogonal(4), np.diag([2.0, 2, 1, 1]), orthogonal(4, seed=1)]),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("js", SMALL.values(), ids=SMALL)
def test_the_oracle_agrees_with_mpmaths_own_decomposition(js, dtype):
    if dtype == np.float32 and np.max(np.abs(js)) < 1e-300:
        js = js * 1e275  # denormals of float32 instead
    js = js.astype(dtype)
    expected = by_mpmath(js)
    np.testing.assert_allclose(oracle.spectrum(js), expected, rtol=2 * EPS, atol=1e-16)
    np.testing.assert_allclose(oracle.log_norm(js), expected[0], rtol=2 * EPS, atol=1e-14)


def test_a_graded_diagonal_chain_is_known_down_to_1e_minus_10000():
    js = np.broadcast_to(np.diag(2.0 ** -np.array([0, 1, 7, 31, 332])), (100, 5, 5))
    expected = -100 * np.log(2) * np.array([0, 1, 7, 31, 332])
    assert expected[-1] < -9990 * LN10
    np.testing.assert_allclose(oracle.spectrum(js), expected, rtol=EPS)
    assert oracle.log_norm(js[:, ::-1, ::-1] / 2) == -100 * np.log(2)


def test_a_long_chain_has_the_log_determinant_of_its_factors():
    js = 0.2 * random(400, 6, 6)
    got = oracle.spectrum(js)
    assert got[-1] < -500 and np.all(np.diff(got) < 0)
    np.testing.assert_allclose(got.sum(), np.linalg.slogdet(js)[1].sum(), rtol=1e-14)
    np.testing.assert_allclose(oracle.log_norm(js), got[0], rtol=2 * EPS)


def test_noise_that_takes_over_in_float64_does_not_reach_the_oracle():
    # The grade is crossed half-way: rounding of one part in 1e16 would be amplified by 1e60.
    down = np.diag([1.0, 2.0**-100])
    turn = np.array([[0.0, 1.0], [1.0, 0.0]])
    js = np.stack([orthogonal(2), down, down, turn, down, down, orthogonal(2, seed=3)])
    np.testing.assert_allclose(oracle.spectrum(js), by_mpmath(js), rtol=2 * EPS)
    np.testing.assert_allclose(oracle.spectrum(js), -200 * np.log(2), rtol=1e-12)


@pytest.mark.parametrize("T", [1, 3, 40])
def test_a_jordan_block_keeps_both_values(T):
    a = 0.5
    got = oracle.spectrum(np.broadcast_to([[a, 1.0], [0.0, a]], (T, 2, 2)))
    power = np.array([[a**T, T * a ** (T - 1)], [0, a**T]])
    np.testing.assert_allclose(got[0], np.log(np.linalg.norm(power, 2)), rtol=1e-14)
    np.testing.assert_allclose(got.sum(), 2 * T * np.log(a), rtol=1e-14)


def test_orthogonal_and_permuted_chains_have_values_of_one():
    js = np.broadcast_to(np.eye(5)[[1, 2, 3, 4, 0]], (50, 5, 5))
    np.testing.assert_array_equal(oracle.spectrum(js), 0)
    rounded = np.broadcast_to(orthogonal(4), (50, 4, 4))
    np.testing.assert_allclose(oracle.spectrum(rounded), 0, atol=50 * 4 * EPS)


@pytest.mark.parametrize("T", range(1, 5))
def test_a_nilpotent_chain_loses_one_value_a_step(T):
    got = oracle.spectrum(np.broadcast_to(np.diag(np.ones(2), 1), (T, 3, 3)))
    np.testing.assert_array_equal(got, [0.0] * max(3 - T, 0) + [-np.inf] * min(T, 3))
    assert oracle.log_norm(np.broadcast_to(np.diag(np.ones(2), 1), (T, 3, 3))) == got[0]


def test_cancellation_to_exactly_zero_is_minus_infinity():
    up, down = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert oracle.log_norm(np.stack([down, up])) == -np.inf
    np.testing.assert_array_equal(oracle.spectrum(np.stack([down, up])), -np.inf)


def test_rank_that_is_lost_inside_a_long_chain_is_minus_infinity_and_the_rest_is_right():
    js = random(150, 4, 4, seed=6)
    js[70, 2] = js[70, 0] - js[70, 1]  # dependent but for the rounding of one subtraction
    js[70] = np.round(js[70] * 2**20) / 2**20
    js[70, 2] = js[70, 0] - js[70, 1]
    got = oracle.spectrum(js)
    assert got[3] == -np.inf and np.all(np.isfinite(got[:3]))
    js[70, 2, 2] += 2.0**-40
    nearly = oracle.spectrum(js)
    assert np.isfinite(nearly[3]) and nearly[3] < nearly[2] - 2 * np.log(10)
    np.testing.assert_allclose(nearly[:3], got[:3], atol=1e-4)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.longdouble])
def test_every_floating_dtype_is_taken_as_it_stands(dtype):
    js = random(6, 3, 3).astype(dtype)
    np.testing.assert_array_equal(oracle.spectrum(js), oracle.spectrum(js.astype(np.longdouble)))
    third = np.array([[[1]]], dtype) / np.array(3, dtype)
    assert abs(oracle.log_norm(third) - np.log(float(third[0, 0, 0]))) <= EPS


def test_jax_arrays_are_welcome_and_the_pair_selects_the_segment():
    js = random(6, 3, 3, seed=7)
    np.testing.assert_array_equal(oracle.spectrum(jnp.asarray(js), 5, 2), oracle.spectrum(js[2:5]))
    assert oracle.log_norm(js, k=4) == oracle.log_norm(js[4:])
    np.testing.assert_array_equal(oracle.spectrum(js, 3, 3), [0, 0, 0])
    assert oracle.log_norm(js, 3, 3) == 0


def test_the_precision_of_the_users_mpmath_neither_matters_nor_changes():
    js = random(5, 3, 3)
    expected = oracle.spectrum(js)
    with mpmath.workdps(3):
        np.testing.assert_array_equal(oracle.spectrum(js), expected)
        assert mpmath.mp.dps == 3


def fractions(js):
    P = np.array([[Fraction(int(i == j)) for j in range(js.shape[1])] for i in range(js.shape[1])], object)
    for J in js:
        P = np.array([[Fraction(float(x)) for x in row] for row in J], object) @ P
    return P


@pytest.mark.parametrize("bits", [10, 100, 1000, 10**9])
def test_products_are_exact_but_for_a_counted_error(bits):
    js = random(20, 3, 3) * 10.0 ** np.random.default_rng(1).integers(-30, 30, (20, 3, 3))
    P = _exact.product(_exact.steps(js), 3, bits)
    difference = fractions(js) - P.integers * Fraction(2) ** P.exponent
    size = max(abs(x) for x in difference.flat)
    if bits == 10**9:
        assert (size, P.log2_error) == (0, -np.inf)
    else:
        assert 0 < size <= Fraction(2) ** int(np.ceil(P.log2_error))


def test_the_rank_is_that_of_the_exact_product():
    js = random(5, 4, 4)
    js[1, :, 3] = js[3, 0] = 0
    assert _exact.rank(_exact.steps(js), 4) == 3
    js[2, :, 1] = 0
    assert _exact.rank(_exact.steps(js), 4) in (2, 3)
    assert _exact.rank(_exact.steps(np.zeros((2, 4, 4))), 4) == 0


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("function", [oracle.log_norm, oracle.spectrum])
def test_bad_input_gets_the_messages_of_the_other_functions(function):
    js, name = random(4, 2, 2), f"jacobians.oracle.{function.__name__}"
    with pytest.raises(IndexError, match=f"{name}: t is 5; expected 0 <= t <= T = 4"):
        function(js, 5)
    with pytest.raises(IndexError, match="k is -1"):
        function(js, 4, -1)
    with pytest.raises(ValueError, match="k = 3 > t = 2"):
        function(js, 2, 3)
    with pytest.raises(TypeError, match="t must be a Python integer"):
        function(js, 2.0)
    with pytest.raises(ValueError, match=r"js has shape \(4, 2\); expected \[T, n, n\]"):
        function(js[:, 0])
    with pytest.raises(TypeError, match="js has dtype int64"):
        function(js.astype(int))
    js[2, 0, 1] = np.nan
    with pytest.raises(ValueError, match=rf"{name}: js\[2\] is not finite"):
        function(js, k=1)
    assert np.all(np.isfinite(function(js, 2)))


def test_without_mpmath_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "mpmath":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'jaxrnn\[oracle\]'"):
        oracle.log_norm(np.ones((1, 1, 1)))
