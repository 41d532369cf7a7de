"""Growth rates and spectra of large states through jvp and vjp, against their step Jacobians."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, make_sequence, run, run_jacobians

from jaxrnn import cells, unroll
from jaxrnn.jacobians import growth_rates, leading_growth_rates, leading_spectrum


def autonomous(W, h, x):
    del x
    return jnp.tanh(W @ h), ()


@partial(jax.jit, static_argnames=("step", "k", "warm_up"))
def rates(step, params, trajectory, k, warm_up=0):
    return leading_growth_rates(step, params, trajectory, k=k, warm_up=warm_up)


@partial(jax.jit, static_argnames=("step", "t", "k", "top", "sweeps"))
def values(step, params, trajectory, t=None, k=0, *, top, sweeps=4):
    return leading_spectrum(step, params, trajectory, t, k, top=top, sweeps=sweeps)


@pytest.mark.parametrize(("name", "T"), [("lstm", 60), ("gru", 150)])
def test_all_leading_rates_of_a_gated_network_keep_the_sum_rule(name, T):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, T)
    trajectory, js = run_jacobians(cell, params, h_0, xs)
    js = np.asarray(js)
    n, skip = js.shape[1], 20
    found = rates(cell.step, params, trajectory, n, skip)
    np.testing.assert_allclose(
        jnp.sum(found.rates), np.linalg.slogdet(js[skip:])[1].mean(), rtol=1e-11 if name == "gru" else 1e-9
    )
    assert found.log_abs_det_rate is None and np.all(found.certified)
    # The directions start elsewhere: each rate differs by what one turn costs, spread over T steps.
    np.testing.assert_allclose(found.rates, growth_rates(jnp.asarray(js)[skip:]).rates, atol=10 / T)


def test_leading_rates_of_a_gated_network_are_the_leading_ones_of_all():
    cell, d = CELLS["lstm"]
    params, h_0, xs = make_sequence(cell, d, 1000)
    trajectory, js = run_jacobians(cell, params, h_0, xs)
    two, everything = rates(cell.step, params, trajectory, 2, 200), growth_rates(js, warm_up=200)
    np.testing.assert_allclose(two.rates, everything.rates[:2], atol=1e-3)
    assert np.all(np.diff(everything.rates) < -1e-2), "the rates must be apart for this"


def test_leading_rates_of_an_autonomous_map_are_those_of_its_jacobians_and_start():
    """The same QR by hand, from the same trajectory."""

    def henon(_, h, x):
        del x
        return jnp.stack([1 - 1.4 * h[0] ** 2 + h[1], 0.3 * h[0]]), ()

    trajectory = jax.jit(lambda h: unroll(henon, (), h, None, length=5000))(jnp.array([0.1, 0.1]))
    found = rates(henon, (), trajectory, 1, 500)
    np.testing.assert_allclose(found.rates, [0.4192], atol=0.02)
    both = rates(henon, (), trajectory, 2, 500)
    np.testing.assert_allclose(both.rates.sum(), np.log(0.3), rtol=1e-12)
    assert np.isnan(both.entropy_rate) == bool(both.rates[-1] > 0)


@pytest.mark.parametrize(("g", "exact"), [(2.0, 0.1547), (3.0, 0.3103), (5.0, 0.5324)])
def test_chaotic_network_of_a_thousand_units_has_the_mean_field_exponent(g, exact):
    """λ₁ = ½ ln(g² E[(1 - tanh²)²]) of h = W tanh(h), for n to infinity.

    The average over three W: with n = 1000 a single one deviates by up to 2 %. Nearer to the critical g = 1
    the exponent of a finite network is smaller than the formula's, not only scattered: n must be larger.
    """
    n, found = 1000, []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W = jnp.asarray(g / np.sqrt(n) * rng.normal(size=(n, n)), jnp.float32)
        trajectory = of_network(W, jnp.asarray(rng.normal(size=n), jnp.float32))
        found.append(rates(autonomous, W, trajectory, 1, 200).rates[0])
    assert found[0].dtype == jnp.float32
    np.testing.assert_allclose(np.mean(found), exact, rtol=0.02)


@jax.jit
def of_network(W, h_0):
    return unroll(autonomous, W, h_0, None, length=1200)


def test_nan_in_the_trajectory_flags_the_leading_rates_and_values():
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 20)
    trajectory = run(cell, params, h_0, xs.at[12].set(jnp.nan))
    growth = rates(cell.step, params, trajectory, 2)
    assert np.all(np.isnan(growth.rates)) and not np.any(growth.certified)
    found = values(cell.step, params, trajectory, top=1, sweeps=1)
    assert np.all(np.isnan(found.log_sigma)) and not np.any(found.certified)
    assert np.all(found.log_error == np.inf)


def log_singular_values(js):
    P = np.eye(js.shape[1])
    for J in np.asarray(js, np.float64):
        P = J @ P
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.svd(P, compute_uv=False))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_leading_values_of_gated_networks_are_those_of_the_spectrum(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 12)
    trajectory, js = run_jacobians(cell, params, h_0, xs)
    found = values(cell.step, params, trajectory, 11, 2, top=3)
    np.testing.assert_allclose(found.log_sigma, log_singular_values(js[2:11])[:3], atol=1e-10)
    assert np.all(found.certified) and np.all(found.log_error < 1e-9)


def test_leading_values_of_a_wide_network_lie_within_their_error_in_float32():
    cell = cells.elman(2, 60)
    params, h_0, xs = make_sequence(cell, 2, 8, dtype=jnp.float32)
    trajectory, js = run_jacobians(cell, params, h_0, xs)
    found = values(cell.step, params, trajectory, top=4, sweeps=8)
    error = np.abs(np.asarray(found.log_sigma, float) - log_singular_values(js)[:4])
    assert np.all(error <= np.asarray(found.log_error)), (error, found.log_error)
    assert np.all(found.certified) and found.log_sigma.dtype == jnp.float32


def linear(W, h, x):
    del x
    return W @ h, ()


def of_linear(W, T):
    return unroll(linear, W, jnp.zeros(W.shape[0], W.dtype), None, length=T)


def test_an_orthogonal_network_keeps_every_direction_at_one():
    Q = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0])
    found = values(linear, Q, of_linear(Q, 50), top=3)
    np.testing.assert_allclose(found.log_sigma, 0, atol=1e-12)
    assert np.all(found.certified)


def test_no_certified_value_is_outside_its_error_on_random_networks():
    """Values that lie close (lag 1) converge slowly: an error must own up to it."""
    certified = []
    Ws = jnp.asarray(np.random.default_rng(1).normal(size=(12, 60, 60)) / np.sqrt(60))
    for lag, sweeps in ((1, 1), (3, 4), (30, 4)):
        found = jax.tree.map(np.asarray, many_leading_values(Ws, lag, sweeps))
        exact = [log_singular_values(np.broadcast_to(W, (lag, 60, 60)))[:3] for W in Ws]
        error = np.abs(found.log_sigma - exact)
        assert np.all(~found.certified | (error <= found.log_error)), (lag, sweeps, error)
        certified.append(found.certified.mean())
    assert np.mean(certified) > 0.5 and min(certified[1:]) > 0.5, certified


@partial(jax.jit, static_argnums=(1, 2))
def many_leading_values(Ws, lag, sweeps):
    return jax.vmap(lambda W: leading_spectrum(linear, W, of_linear(W, lag), top=3, sweeps=sweeps))(Ws)


def test_a_direction_that_is_annihilated_is_minus_infinity():
    W = jnp.diag(jnp.array([2.0, 0.5, 0.0, 0.0]))
    found = values(linear, W, of_linear(W, 4), top=4)
    expected = np.array([4 * np.log(2), -4 * np.log(2), -np.inf, -np.inf])
    np.testing.assert_allclose(found.log_sigma[:2], expected[:2], rtol=1e-12)
    assert np.all(~np.asarray(found.certified[2:]) | (np.asarray(found.log_sigma[2:]) == -np.inf))


def test_equal_ends_give_the_identity():
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 12)
    found = values(cell.step, params, run(cell, params, h_0, xs), 5, 5, top=2)
    np.testing.assert_allclose(found.log_sigma, 0, atol=1e-15)
    assert np.all(found.certified)


def test_vmap_over_sequences_equals_one_by_one():
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 12)
    trajectories = jax.vmap(lambda x: unroll(cell.step, params, h_0, x))(jnp.stack([xs, -xs]))
    batched = jax.vmap(lambda trajectory: values(cell.step, params, trajectory, top=2))(trajectories)
    _, js = run_jacobians(cell, params, h_0, -xs)
    np.testing.assert_allclose(batched.log_sigma[1], log_singular_values(js)[:2], atol=1e-10)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"top": 0}, ValueError, "top is 0; expected at least 1"),
        ({"top": 5}, ValueError, "top is 5; the state has n = 4 directions"),
        ({"top": 2, "sweeps": 0}, ValueError, "sweeps is 0; expected at least 1"),
        ({"top": 2, "t": 13}, IndexError, "t is 13; expected 0 <= t <= T = 12"),
        ({"top": 2, "t": 3, "k": 4}, ValueError, "k = 4 > t = 3"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_bad_options_of_the_leading_spectrum_are_named(options, error, match):
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 12)
    with pytest.raises(error, match=f"jacobians.leading_spectrum: {match}"):
        leading_spectrum(cell.step, params, run(cell, params, h_0, xs), **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 5}, "k is 5; the state has n = 4 directions"),
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"k": 1, "warm_up": 12}, "T = 12 steps with warm_up = 12 leave none to count"),
        ({"k": 1, "warm_up": -1}, "warm_up is -1; expected at least 0"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_bad_options_of_the_leading_rates_are_named(options, match):
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, 12)
    with pytest.raises(ValueError, match=f"jacobians.leading_growth_rates: {match}"):
        leading_growth_rates(cell.step, params, run(cell, params, h_0, xs), **options)
