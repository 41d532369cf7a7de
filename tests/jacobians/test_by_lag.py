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
