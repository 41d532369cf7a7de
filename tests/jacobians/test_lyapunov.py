"""Growth rates against known exponents, the sum rule, and singular steps."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from cases import assert_close

from jaxrnn import NumericalError, unroll
from jaxrnn.jacobians import growth_rates, step_jacobians

compiled = jax.jit(growth_rates, static_argnames=("k", "warm_up"))


def compute(js, k=None, warm_up=0):
    return jax.tree.map(np.asarray, compiled(js, k=k, warm_up=warm_up))


def henon(_, h, x):
    del x
    return jnp.stack([1 - 1.4 * h[0] ** 2 + h[1], 0.3 * h[0]]), ()


def logistic(_, h, x):
    del x
    return 4 * h * (1 - h), ()


def cat(_, h, x):
    del x
    return jnp.mod(jnp.stack([2 * h[0] + h[1], h[0] + h[1]]), 1.0), ()


def lorenz(_, h, x, dt=0.01):
    """One Runge-Kutta step of ẋ = 10(y - x), ẏ = x(28 - z) - y, ż = xy - 8z/3."""
    del x

    def flow(u):
        return jnp.stack([10 * (u[1] - u[0]), u[0] * (28 - u[2]) - u[1], u[0] * u[1] - 8 / 3 * u[2]])

    a = flow(h)
    b = flow(h + dt / 2 * a)
    c = flow(h + dt / 2 * b)
    return h + dt / 6 * (a + 2 * b + 2 * c + flow(h + dt * c)), ()


def rates_of_map(step, start, T, warm_up=0):
    @jax.jit
    def jacobians(h):
        return step_jacobians(step, (), unroll(step, (), h, None, length=T))

    return compute(jacobians(jnp.asarray(start)), warm_up=warm_up)


def test_henon_map_has_its_known_exponents_and_contracts_areas_by_its_constant():
    result = rates_of_map(henon, [0.1, 0.1], 20_000)
    np.testing.assert_allclose(result.rates, [0.4192, -1.6232], atol=0.01)
    assert abs(result.rates[0] - 0.4192) < 5 * result.standard_error[0]
    np.testing.assert_allclose([result.rates.sum(), result.log_abs_det_rate], np.log(0.3), rtol=1e-12)
    assert np.all(result.certified)


def test_logistic_map_at_four_doubles_its_errors_each_step():
    result = rates_of_map(logistic, [0.3], 20_000)
    np.testing.assert_allclose(result.rates, [np.log(2)], atol=0.01)


def test_cat_map_has_the_logarithms_of_its_eigenvalues():
    result = rates_of_map(cat, [0.1, 0.2], 2000)
    golden = 2 * np.log((1 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(result.rates, [golden, -golden], atol=1e-3)
    np.testing.assert_allclose(golden, 0.962424, atol=1e-6)


def test_lorenz_attractor_has_its_known_exponents_dimension_and_entropy():
    dt = 0.01
    result = rates_of_map(lorenz, [1.0, 1.0, 20.0], 42_000, warm_up=2000)
    rates, error = result.rates / dt, result.standard_error / dt
    assert np.all(error < 0.1)
    assert np.all(np.abs(rates - [0.906, 0, -14.57]) < 4 * error)
    np.testing.assert_allclose(rates[[0, 2]], [0.906, -14.57], rtol=0.03)
    # The flow has no exponent of its own along itself, and its divergence is -(10 + 1 + 8/3) everywhere.
    assert abs(rates[1]) < 0.02
    np.testing.assert_allclose(rates.sum(), -41 / 3, rtol=2e-5)
    np.testing.assert_allclose(rates.sum(), result.log_abs_det_rate / dt, rtol=1e-12)
    np.testing.assert_allclose(result.kaplan_yorke_dimension, 2.062, atol=0.003)
    np.testing.assert_allclose(result.entropy_rate / dt, 0.906, rtol=0.03)


@pytest.mark.parametrize(
    ("rates", "dimension", "entropy"),
    [
        ([-1.0, -2.0], 0.0, 0.0),
        ([0.5, -2.0], 1.25, 0.5),
        ([1.0, 0.5, -1.0, -4.0], 3.125, 1.5),
        ([2.0, 1.0, -3.0], 3.0, 3.0),
        ([1.0, -np.inf], 1.0, 1.0),
        ([-np.inf, -np.inf], 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dimension_and_entropy_of_rates_that_are_all_there(rates, dimension, entropy, dtype):
    k = len(rates)
    js = np.broadcast_to(np.diag(np.exp(rates)), (5, k, k)).astype(dtype)
    result = compute(jnp.asarray(js))
    assert_close((result.rates + 1, result.kaplan_yorke_dimension), (np.add(rates, 1), np.float64(dimension)))
    assert_close(result.entropy_rate, np.float64(entropy))


def test_dimension_and_entropy_are_unknown_where_rates_are_missing():
    js = jnp.asarray(np.broadcast_to(np.diag([2.0, 1.5, 1e-3]), (200, 3, 3)))
    two, three = compute(js, 2, 100), compute(js, 3)
    assert np.isnan(two.kaplan_yorke_dimension) and np.isnan(two.entropy_rate)
    # ln 2 + ln 1.5 = ln 3 of ln 1000.
    np.testing.assert_allclose(three.kaplan_yorke_dimension, 2 + np.log(3) / np.log(1000), rtol=1e-12)
    batch = jax.tree.map(lambda leaf: np.stack([leaf] * 2), three)
    assert_close(batch.kaplan_yorke_dimension, np.stack([three.kaplan_yorke_dimension] * 2))
    assert_close(batch.entropy_rate, np.stack([three.entropy_rate] * 2))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_ginibre_products_have_newmans_exponents(dtype):
    n, T = 4, 4000
    js = jnp.asarray(np.random.default_rng(0).normal(size=(T, n, n)), dtype)
    result = compute(js)
    degrees = [(n - i) / 2 for i in range(n)]
    exact = [0.5 * (np.log(2) + float(mpmath.digamma(a))) for a in degrees]
    spread = [np.sqrt(float(mpmath.polygamma(1, a)) / 4 / T) for a in degrees]
    z = (result.rates - exact) / spread
    assert np.all(np.abs(z) < 4), z
    assert np.all(
        (result.standard_error > 0.6 * np.array(spread)) & (result.standard_error < 1.7 * np.array(spread))
    )


@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float64, 1e-12), (jnp.float32, 1e-5)])
def test_all_rates_add_up_to_the_mean_log_determinant(dtype, rtol):
    js = jnp.asarray(np.random.default_rng(1).normal(size=(500, 5, 5)), dtype)
    result = compute(js)
    exact = np.mean(np.linalg.slogdet(np.asarray(js, np.float64))[1])
    np.testing.assert_allclose([result.rates.sum(), result.log_abs_det_rate], exact, rtol=rtol)
    assert np.all(result.certified)
    assert result.rates.dtype == dtype


def test_a_few_rates_are_the_largest_of_all():
    # The few start at random, so that the two agree once the directions have turned.
    js = jnp.asarray(np.random.default_rng(2).normal(size=(4000, 4, 4)))
    np.testing.assert_allclose(compute(js, 2).rates, compute(js).rates[:2], atol=2e-3)
    assert np.all(np.diff(compute(js).rates) <= 0)


def test_constant_steps_grow_at_the_rates_of_their_eigenvalues():
    js = jnp.asarray(np.broadcast_to(np.diag([0.5, 3.0, 1.0]), (10, 3, 3)))
    np.testing.assert_allclose(compute(js).rates, np.log([3, 1, 0.5]), atol=1e-14)


def test_a_singular_step_has_a_rate_of_minus_infinity():
    js = jnp.asarray(np.broadcast_to(np.diag([2.0, 0.0]), (5, 2, 2)))
    result = compute(js)
    np.testing.assert_allclose(result.rates[0], np.log(2))
    assert result.rates[1] == result.log_abs_det_rate == -np.inf
    assert np.all(result.certified)


def test_small_rates_survive_where_the_raw_product_underflows():
    js = jnp.asarray(np.broadcast_to(1e-30 * np.eye(2), (3000, 2, 2)), jnp.float32)
    np.testing.assert_allclose(compute(js).rates, -30 * np.log(10), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_step_is_flagged_and_never_a_number(bad):
    js = jnp.asarray(np.random.default_rng(3).normal(size=(6, 2, 2))).at[3, 0, 0].set(bad)
    result = compute(js)
    assert np.all(np.isnan(result.rates)) and not np.any(result.certified)
    with pytest.raises(NumericalError, match="growth_rates: a step Jacobian is not finite"):
        result.raise_if_bad()


def test_one_step_gives_rates_without_a_standard_error():
    result = compute(jnp.asarray([[[0.5]]]))
    np.testing.assert_allclose(result.rates, [np.log(0.5)])
    assert np.all(result.standard_error == np.inf)


@pytest.mark.usefixtures("unchecked_types")
def test_no_step_has_no_rate():
    with pytest.raises(ValueError, match="growth_rates: T = 0 steps with warm_up = 0 leave none to count"):
        growth_rates(jnp.zeros((0, 2, 2)))


def test_vmap_equals_one_by_one():
    js = jnp.asarray(np.random.default_rng(4).normal(size=(2, 9, 3, 3)))
    batched = jax.jit(jax.vmap(growth_rates))(js)
    for b in range(2):
        np.testing.assert_allclose(batched.rates[b], compute(js[b]).rates, rtol=1e-12)
        np.testing.assert_allclose(batched.standard_error[b], compute(js[b]).standard_error, rtol=1e-9)
