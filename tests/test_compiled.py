"""An analysis is one program, which a second call finds again."""

import jax
import jax.numpy as jnp
import pytest
from cases import assert_close

from jaxrnn import jacobians

CALLS = {
    "norms": lambda js: jacobians.norms(js),
    "norms of some": lambda js: jacobians.norms(js, at=[3, 5], lags=[1, 2]),
    "spectra": lambda js: jacobians.spectra(js, lags=range(2)),
    "spectrum": lambda js: jacobians.spectrum(js, 4, k=1),
    "spectrum_fan": lambda js: jacobians.spectrum_fan(js, jnp.array([1, 3])),
    "growth_rates": lambda js: jacobians.growth_rates(js, warm_up=1),
    "log_norm": jacobians.log_norm,
    "eigenvalues": jacobians.eigenvalues,
    "product_bound": jacobians.product_bound,
}


@pytest.fixture
def compilations():
    """A list that gets an entry for every program that is compiled."""
    heard = []

    def listen(event, _, **__):
        if event.endswith("backend_compile_duration"):
            heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield heard
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_compiles_nothing_and_jit_gives_the_same(name, compilations):
    js = 0.6 * jax.random.normal(jax.random.key(1), (5, 3, 3))
    first = CALLS[name](js)
    assert compilations
    compilations.clear()
    again = CALLS[name](js)
    assert compilations == []
    assert_close(again, first, 0)
    assert_close(jax.jit(CALLS[name])(js), first)


@pytest.mark.usefixtures("unchecked_types")
def test_a_number_equal_to_an_index_is_still_refused():
    js = jnp.ones((2, 1, 1))
    assert jacobians.spectrum(js, 1).log_sigma.shape == (1,)
    with pytest.raises(TypeError, match="spectrum"):
        jacobians.spectrum(js, 1.0)
    assert jacobians.norms(js, lags=[1]).log_norm.shape == (3, 1)
    for wrong in ([1.0], (1.0,), 1):
        with pytest.raises(TypeError, match="norms"):
            jacobians.norms(js, lags=wrong)
