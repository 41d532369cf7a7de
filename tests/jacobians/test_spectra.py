"""The singular values of all pairs at once, against those of each product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import adversarial_chains, make_sequence, run_jacobians, tolerance
from oracles import exact_spectrum

from jaxrnn import cells
from jaxrnn.jacobians import norms, spectra

T, N = 6, 4
JS = np.random.default_rng(0).normal(size=(T, N, N))
compiled = jax.jit(spectra, static_argnames=("at", "lags", "top"))


def compute(js, **some):
    return jax.tree.map(np.asarray, compiled(jnp.asarray(js), **some))


def test_every_pair_has_the_singular_values_of_its_product():
    result = compute(JS)
    assert result.log_sigma.shape == (T + 1, T + 1, N)
    for t in range(T + 1):
        for k in range(t + 1):
            P = np.linalg.multi_dot([np.eye(N), np.eye(N), *JS[k:t][::-1]])
            expected = np.log(np.linalg.svd(P, compute_uv=False))
            np.testing.assert_allclose(result.log_sigma[t, k], expected, atol=1e-12)
    assert np.all(result.log_sigma[np.triu_indices(T + 1, 1)] == -np.inf) and np.all(result.certified)


def test_the_first_value_is_the_norm_and_some_pairs_are_entries_of_the_table():
    table, some = compute(JS), compute(JS, at=(5, 2), lags=(0, 3), top=2)
    of_norms = jax.jit(norms)(jnp.asarray(JS))
    for part, first in zip(table, of_norms, strict=True):
        np.testing.assert_array_equal(part[..., 0], first)
    np.testing.assert_allclose(some.log_sigma[0], table.log_sigma[5, [5, 2], :2], atol=1e-13)
    np.testing.assert_allclose(some.log_sigma[1, 0], 0)
    assert np.all(some.log_sigma[1, 1] == -np.inf), "there is no lag 3 at t = 2"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_certified_value_is_outside_its_error_bound(dtype):
    chains = np.stack([chain for _, chain in adversarial_chains(T=8, count=4)]).astype(dtype)
    results = jax.tree.map(np.asarray, jax.jit(jax.vmap(spectra))(jnp.asarray(chains)))
    for i, chain in enumerate(chains):
        for t, k in ((8, 0), (8, 5), (4, 1)):
            exact = exact_spectrum(chain[k:t])
            for got, error, certified, truth in zip(*(part[i, t, k] for part in results), exact, strict=True):
                # mpmath's zeros, like those of any SVD, are what lies below its digits.
                if certified:
                    assert got == truth or abs(float(got) - truth) <= float(error), (i, t, k, got, truth)
    reached = results.certified[:, 8, 0]
    assert reached[:, 0].mean() > 0.5 and not reached.all()


def test_a_network_is_certified_as_far_below_the_norm_as_its_precision_reaches():
    cell = cells.elman(2, 8)
    _, js = run_jacobians(cell, *make_sequence(cell, 2, 40, seed=5, dtype=jnp.float32))
    single, double = compute(js), compute(np.asarray(js, np.float64))
    known = single.certified & np.isfinite(single.log_sigma)
    assert np.all(np.abs(single.log_sigma[known] - double.log_sigma[known]) <= single.log_error[known])
    norm = np.broadcast_to(single.log_sigma[..., :1], known.shape)
    below = (norm[known] - single.log_sigma[known]).max()
    assert 3 * np.log(10) < below < -np.log(tolerance(np.float32, 1)), below
    assert not single.certified[-1, 0].all() and double.certified.mean() > single.certified.mean()


def test_a_zero_direction_is_certified_only_if_no_rounding_can_have_made_it():
    diagonal = compute(np.broadcast_to(np.diag([1.0, 0.0]), (3, 2, 2)))
    assert diagonal.log_sigma[3, 1, 1] == -np.inf and not diagonal.certified[3, 1, 1]
    nothing = compute(np.zeros((3, 2, 2)))
    assert np.all(nothing.log_sigma[3, 1] == -np.inf) and np.all(nothing.certified[3, 1])


def test_a_bad_step_flags_the_pairs_that_span_it_and_no_others():
    spoilt = JS.copy()
    spoilt[2, 0, 1] = np.nan
    result, clean = compute(spoilt), compute(JS)
    t, k = np.indices((T + 1, T + 1))
    spans = (t >= 3) & (k <= 2)
    assert np.isnan(result.log_sigma[spans]).all() and not result.certified[spans].any()
    np.testing.assert_array_equal(result.log_sigma[~spans], clean.log_sigma[~spans])


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(("top", "match"), [(0, "top is 0"), (N + 1, f"top is 5; the state has n = {N}")])
def test_a_number_of_values_that_there_are_not_is_refused(top, match):
    with pytest.raises(ValueError, match=rf"jacobians\.spectra: {match}"):
        spectra(jnp.asarray(JS), top=top)
