"""Curves against the lag, and the fan of spectra, against Python loops over single pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close

from jaxrnn.jacobians import norm_by_lag, norms, product_bound, spectrum, spectrum_fan

T, N = 6, 3
COMPUTE = jax.jit(jax.vmap(norms))


@pytest.fixture(scope="module")
def chains():
    """Two chains whose steps all differ."""
    return jax.random.normal(jax.random.key(3), (2, T, N, N)) * jnp.linspace(0.5, 1.5, T)[None, :, None, None]


def values_of_lag(tables, lag):
    return [float(table[k + lag, k]) for table in tables for k in range(len(table) - lag)]


def test_quantiles_are_those_of_all_pairs_of_a_lag(chains):
    tables = COMPUTE(chains)
    result = jax.jit(norm_by_lag)(tables)
    for lag in range(T + 1):
        values = values_of_lag(tables.log_norm, lag)
        for curve, q in ((result.low, 0.1), (result.median, 0.5), (result.high, 0.9)):
            assert_close(curve[lag], np.quantile(values, q, method="nearest"))


def test_product_bound_by_lag_is_the_mean_over_the_pairs(chains):
    result = norm_by_lag(COMPUTE(chains))
    bounds = [product_bound(js) for js in chains]
    assert_close(
        result.product_bound, np.array([np.mean(values_of_lag(bounds, lag)) for lag in range(T + 1)])
    )


def test_one_sequence_is_a_batch_of_one(chains):
    table = norms(chains[0])
    assert_close(norm_by_lag(table), norm_by_lag(jax.tree.map(lambda leaf: leaf[None], table)))


def test_an_annihilated_direction_is_a_value_and_nan_spoils_its_lags_only():
    zero = norm_by_lag(norms(jnp.ones((3, 1, 1)).at[1].set(0)))
    assert_close(zero.median, np.array([0.0, 0.0, -np.inf, -np.inf]))
    assert_close(zero.product_bound[2:], np.array([-np.inf, -np.inf]))
    bad = norm_by_lag(norms(jnp.ones((3, 1, 1)).at[0].set(jnp.nan)))
    assert bad.median[0] == 0 and jnp.all(jnp.isnan(bad.median[1:]))


@pytest.mark.parametrize("pairs", [{"lags": [4, 0, 1]}, {"at": [2, 6, 3], "lags": [0, 3, 5]}], ids=str)
def test_some_lags_have_the_quantiles_of_the_pairs_that_were_asked_for(chains, pairs):
    some = jax.jit(jax.vmap(lambda js: norms(js, **pairs)))(chains)
    result, tables = norm_by_lag(some, **pairs), np.asarray(COMPUTE(chains).log_norm)
    for column, lag in enumerate(pairs["lags"]):
        times = [t for t in pairs.get("at", range(T + 1)) if t >= lag]
        values = [table[t, t - lag] for table in tables for t in times]
        for curve, q in ((result.low, 0.1), (result.median, 0.5), (result.high, 0.9)):
            np.testing.assert_allclose(curve[column], np.quantile(values, q, method="nearest"), atol=1e-12)
    assert result.product_bound is None


def test_a_lag_that_no_time_reaches_has_no_value(chains):
    result = norm_by_lag(norms(chains[0], at=[2, 3], lags=[1, 4]), at=[2, 3], lags=[1, 4])
    assert np.isfinite(result.median[0]) and np.all(np.isnan([curve[1] for curve in result[:3]]))


@pytest.mark.parametrize(
    ("computed", "told"),
    [({"lags": [1, 2]}, {}), ({}, {"lags": [1, 2]}), ({"at": [2, 3]}, {"at": [2, 3]})],
)
def test_a_table_of_other_pairs_than_said_is_refused(computed, told):
    table = norms(jnp.ones((3, 1, 1)), **computed)
    with pytest.raises(ValueError, match=r"norm_by_lag: the table is .*; expected \[T\+1, T\+1\]"):
        norm_by_lag(table, **told)


def test_fan_is_the_spectrum_of_every_segment_that_ends_at_the_last_step(chains):
    js, lags = chains[0], jnp.array([0, 1, 4, T])
    fan = jax.jit(spectrum_fan)(js, lags)
    for lag, log_sigma, certified in zip(lags, fan.log_sigma, fan.certified, strict=True):
        assert_close(log_sigma, spectrum(js, T, T - int(lag)).log_sigma, 1000)
        assert jnp.all(certified)


@pytest.mark.parametrize("lag", [-1, T + 1])
def test_a_lag_out_of_range_is_an_index_error(chains, lag):
    with pytest.raises(IndexError, match=f"expected 0 <= lag <= T = {T}"):
        spectrum_fan(chains[0], jnp.array([lag]))
