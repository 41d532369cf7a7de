"""`norms` at some times and lags only: the table's entries, and an error bound that is no smaller."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import make_sequence, run_jacobians, tolerance
from oracles import rescaled_log_norms

from jaxrnn import NumericalError, cells
from jaxrnn.jacobians import norms

T = 7
JS = jnp.asarray(np.random.default_rng(0).normal(size=(T, 3, 3)))
TABLE = jax.jit(norms)
PAIRS = [
    {"at": [6, 0, 3, 3, 7]},
    {"at": [0]},
    {"lags": [4, 0, 1, 4]},
    {"at": [5, 2, 5, 0], "lags": [7, 0, 3, 3]},
    {"at": [4], "lags": []},
]


@partial(jax.jit, static_argnames=("at", "lags"))
def jitted(js, at, lags):
    return norms(js, at=at, lags=lags)


def compute(js, at=None, lags=None):
    return jax.tree.map(np.asarray, jitted(js, at and tuple(at), lags if lags is None else tuple(lags)))


def entries(table, at=None, lags=None):
    """The rows and columns that were asked for, looked up one by one in [T+1, T+1]."""
    times = range(len(table)) if at is None else at
    if lags is None:
        return np.array([[table[t, k] for k in range(len(table))] for t in times])
    return np.array([[table[t, t - lag] if lag <= t else np.nan for lag in lags] for t in times])


@pytest.mark.parametrize("pairs", PAIRS, ids=str)
def test_some_pairs_are_the_entries_of_the_table(pairs):
    full, some = TABLE(JS), compute(JS, **pairs)
    expected, bound = (entries(np.asarray(part), **pairs) for part in full[:2])
    absent = np.isnan(expected)
    assert np.all(some.log_norm[absent] == -np.inf) and np.all(some.certified[absent])
    expected[absent], bound[absent] = -np.inf, 0
    np.testing.assert_allclose(some.log_norm, expected, atol=tolerance(np.float64, 20))
    assert np.all(some.log_error >= bound * (1 - 1e-6))
    assert np.all(some.log_error < 1e-11) and np.all(some.certified)


def test_the_bound_of_some_pairs_is_at_most_some_times_wider():
    js = jnp.asarray(np.random.default_rng(1).normal(size=(60, 3, 3)))
    full, last = TABLE(js).log_error[-1, :-1], compute(js, at=[60]).log_error[0, :-1]
    assert np.all(last >= full * (1 - 1e-6))
    assert np.median(last / full) < 10 and np.max(last / full) < 100


def test_a_driven_network_is_certified_over_500_steps_in_float32():
    cell = cells.elman(2, 8)
    _, js = run_jacobians(cell, *make_sequence(cell, 2, 500, seed=5, dtype=jnp.float32))
    lags = [1, 10, 100, 250, 500]
    result = compute(js, at=[500], lags=lags)
    reference = rescaled_log_norms(np.swapaxes(js, 1, 2)[::-1])
    assert reference[-1] < -88, "the raw product must underflow float32"
    result.raise_if_bad()
    error = np.abs(result.log_norm[0] - reference[np.array(lags) - 1])
    assert np.all(error <= result.log_error[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_step_flags_only_the_pairs_that_span_it(bad):
    at, lags = [2, 3, T], [0, 3, 4, 5]
    clean, spoilt = compute(JS, at, lags), compute(JS.at[2, 0, 1].set(bad), at, lags)
    # js[2] is the step from h_2 to h_3.
    spans = np.array([[t - lag <= 2 and t >= 3 and 0 < lag <= t for lag in lags] for t in at])
    assert 0 < spans.sum() < spans.size
    assert np.all(np.isnan(spoilt.log_norm[spans])) and not np.any(spoilt.certified[spans])
    assert np.all(spoilt.log_error[spans] == np.inf)
    np.testing.assert_array_equal(spoilt.log_norm[~spans], clean.log_norm[~spans])
    assert np.all(spoilt.certified[~spans])
    with pytest.raises(NumericalError, match=f"{spans.sum()} of 12 entries"):
        spoilt.raise_if_bad()


def test_a_large_state_goes_through_bidiagonalisation_and_stays_within_its_bound():
    js = np.asarray(np.random.default_rng(2).normal(size=(3, 70, 70)) / 10, np.float32)
    result = compute(jnp.asarray(js), at=[3], lags=[1, 3])
    products = [js[2].astype(float), np.linalg.multi_dot(js[::-1].astype(float))]
    error = np.abs(result.log_norm[0] - np.log(np.linalg.norm(products, 2, axis=(1, 2))))
    assert np.all(error <= result.log_error[0]) and np.all(result.certified)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["at", "lags"])
@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ([0, T + 1], IndexError, rf"is \[0, 8\]; expected values within 0 <= {{}} <= T = {T}"),
        ([-1], IndexError, r"is \[-1\]; expected values within 0 <= {} <= T"),
        ([2.0], TypeError, "{} must be a Python integer, known when tracing; got 2.0"),
        (["1"], TypeError, "{} must be a Python integer"),
    ],
)
def test_times_and_lags_out_of_range_are_named_and_never_clamped(name, values, error, match):
    with pytest.raises(error, match=r"jacobians\.norms: .*" + match.format(name)):
        norms(JS, **{name: values})


def test_no_steps_have_the_identity_at_lag_zero_only():
    result = norms(jnp.zeros((0, 3, 3)), at=[0, 0], lags=[0])
    np.testing.assert_array_equal(result.log_norm, [[0], [0]])
    assert np.all(result.certified)
