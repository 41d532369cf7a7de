"""Growth rates added up chunk by chunk are those of the whole trajectory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, assert_close, make_sequence, run_jacobians

from jaxrnn import NumericalError, jacobians
from jaxrnn.diagnosis import stream_growth_rates

CELL, D = CELLS["lstm"]
PARAMS, H_0, XS = make_sequence(CELL, D, 60)


def rates(chunks, **options):
    return stream_growth_rates(CELL.step, PARAMS, H_0, chunks, **options)


def by_lengths(*lengths):
    return [XS[end - length : end] for end, length in zip(np.cumsum(lengths), lengths, strict=True)]


@pytest.mark.parametrize("lengths", [(60,), (20, 20, 20), (1, 29, 30)])
def test_all_rates_add_up_to_the_determinants_whatever_the_chunks(lengths):
    """Σλ_i is the mean ln|det J_t| at any T and for any start of the directions."""
    found = rates(iter(by_lengths(*lengths)), k=6)
    js = run_jacobians(CELL, PARAMS, H_0, XS)[1]
    assert found.steps == 60 and found.certified.all()
    expected = np.linalg.slogdet(np.asarray(js))[1].mean()
    np.testing.assert_allclose(found.rates.sum(), expected, rtol=1e-10)


def test_the_leading_rates_are_those_of_the_library():
    # The same start of the directions, and a QR every step below 100 steps.
    js = run_jacobians(CELL, PARAMS, H_0, XS)[1]
    expected = jacobians.growth_rates(js, k=2).rates
    np.testing.assert_allclose(np.sort(rates(by_lengths(20, 40), k=2).rates)[::-1], expected, rtol=1e-9)


def test_a_stream_goes_on_where_it_stopped():
    chunks = by_lengths(20, 20, 20)
    whole = rates(chunks, k=3)
    part = rates(chunks[:1], k=3)
    rest = rates(chunks[1:], k=3, carry=part.carry)
    assert_close(jax.tree.leaves(rest), jax.tree.leaves(whole), factor=0)


def test_the_error_is_the_spread_of_the_chunks():
    """A chain whose growth changes from chunk to chunk by known amounts."""
    logs = np.array([0.1, 0.3, -0.2, 0.4, 0.1])
    chunks = [np.full((4, 1), np.exp(x)) for x in logs]
    found = stream_growth_rates(lambda _, h, x: (x * h, ()), (), jnp.ones(1), chunks, k=1)
    np.testing.assert_allclose(found.rates, logs.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, logs.std(ddof=1) / np.sqrt(5), rtol=1e-12)
    few = stream_growth_rates(lambda _, h, x: (x * h, ()), (), jnp.ones(1), chunks[:3], k=1)
    assert np.isinf(few.standard_error).all()


def test_nan_is_flagged_and_a_dead_direction_is_not():
    def scaled(params, h, x):
        del params
        return x * h, ()

    bad = stream_growth_rates(scaled, (), jnp.ones(2), [np.ones((3, 2)), np.full((3, 2), np.nan)], k=2)
    assert not bad.certified.any() and np.isnan(bad.rates).any() and np.isinf(bad.standard_error).all()
    with pytest.raises(NumericalError, match="within 6 steps is not finite"):
        bad.raise_if_bad()
    dead = stream_growth_rates(scaled, (), jnp.ones(2), [np.zeros((3, 2))], k=1)
    assert dead.raise_if_bad().rates[0] == -np.inf


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("chunks", "k", "match"),
    [
        (by_lengths(20), 0, "k is 0"),
        (by_lengths(20), 7, "k is 7; the state has n = 6 directions"),
        ([], 1, "there is no chunk"),
        ([XS[:0]], 1, "a chunk is empty"),
    ],
)
def test_bad_input_is_named(chunks, k, match):
    with pytest.raises(ValueError, match=f"diagnosis.stream_growth_rates: {match}"):
        rates(chunks, k=k)
