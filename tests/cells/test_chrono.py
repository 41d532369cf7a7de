"""Chrono starts and forget biases of every gated cell: how long their units keep what they hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close

from jaxrnn import cells
from jaxrnn.cells import LSTMState, initializers

D, H = 2, 3
GATED = {
    "lstm": cells.lstm,
    "gru": cells.gru,
    "mgu": cells.mgu,
    "coupled_lstm": cells.coupled_lstm,
    "peephole_lstm": cells.peephole_lstm,
}
CHRONO_SIGNS = {
    "lstm": [-1, 1, 0, 0],
    "gru": [0, 1, 0],
    "mgu": [-1, 0],
    "coupled_lstm": [1, 0, 0],
    "peephole_lstm": [-1, 1, 0, 0],
}
"""cell -> what every gate's bias is of the draw."""
every_gated = pytest.mark.parametrize("name", GATED)


@pytest.mark.parametrize("max_lag", [3, 10, 1000])
def test_chrono_is_the_logarithm_of_a_uniform_draw(max_lag):
    b = np.asarray(initializers.chrono(max_lag)(jax.random.key(0), (100, 200), jnp.float64))
    assert b.shape == (100, 200) and b.min() >= 0 and b.max() <= np.log(max_lag - 1)
    share = (np.sort(np.exp(b).ravel()) - 1) / (max_lag - 2)
    # The distance of Kolmogorov and Smirnov; a right sample of 20,000 exceeds 0.0138 once in a thousand.
    assert np.abs(share - (np.arange(20_000) + 0.5) / 20_000).max() < 0.0138


def test_the_shortest_chrono_is_a_half_open_gate():
    b = initializers.chrono(2)(jax.random.key(0), (4,), jnp.float32)
    assert bool(jnp.all(b == 0)) and b.dtype == jnp.float32
    assert initializers.chrono(5)(jax.random.key(0), (4,)).dtype == initializers.default_dtype()


@every_gated
def test_chrono_sets_the_biases_of_the_keeping_gates_and_nothing_else(name, key):
    size = 50
    chrono, plain = (GATED[name](D, size, chrono=max_lag).init(key) for max_lag in (20, None))
    parts, signs = np.asarray(chrono["b"]).reshape(-1, size), CHRONO_SIGNS[name]
    draw = next(sign * part for sign, part in zip(signs, parts, strict=True) if sign)
    assert_close(parts, np.stack([sign * draw for sign in signs]))
    assert draw.min() >= 0 and draw.max() <= np.log(19) and len(np.unique(draw)) == size
    others = chrono.keys() - {"b"}
    assert all(np.array_equal(chrono[leaf], plain[leaf]) for leaf in others)
    other_key = GATED[name](D, size, chrono=20).init(jax.random.key(1))
    assert not np.array_equal(chrono["b"], other_key["b"])


@every_gated
def test_chrono_units_forget_within_two_to_max_lag_steps(name, key):
    """The share k of the state that a step keeps makes a memory of 1/(1-k) steps."""
    size, longest = 200, 30
    cell = GATED[name](D, size, chrono=longest)
    params = cell.init(key)
    params |= {weight: jnp.zeros_like(params[weight]) for weight in ("W_x", "W_h")}
    h_0 = cell.init_state(params)

    def kept(memory):
        h = LSTMState(memory, memory) if isinstance(h_0, LSTMState) else memory
        h_1 = cell.step(params, h, jnp.zeros(D))[0]
        return jnp.sum(h_1.c if isinstance(h_1, LSTMState) else h_1)

    lags = 1 / (1 - np.asarray(jax.grad(kept)(jnp.zeros(size))))
    assert lags.min() >= 2 and lags.max() <= longest * (1 + 1e-12)
    np.testing.assert_allclose(lags.mean(), (2 + longest) / 2, rtol=0.1)


@every_gated
@pytest.mark.parametrize("max_lag", [1, 0, -5])
def test_a_chrono_lag_below_two_is_refused(name, max_lag):
    with pytest.raises(ValueError, match=rf"chrono: max_lag is {max_lag}; expected at least 2"):
        GATED[name](D, H, chrono=max_lag)


@pytest.mark.usefixtures("unchecked_types")
def test_a_chrono_lag_that_is_no_integer_is_refused():
    with pytest.raises(TypeError, match="chrono: max_lag must be a Python integer"):
        initializers.chrono(2.5)


@pytest.mark.parametrize("name", ["lstm", "coupled_lstm", "peephole_lstm"])
def test_forget_bias_is_the_start_of_the_forget_gate_unless_chrono_is(name, key):
    gates = 3 if name == "coupled_lstm" else 4
    forget = 0 if name == "coupled_lstm" else 1
    for options, bias in (({}, 1.0), ({"forget_bias": -2.5}, -2.5)):
        expected = bias * np.repeat(np.eye(gates)[forget], H)
        assert_close(GATED[name](D, H, **options).init(key)["b"], expected)
    one, two = (GATED[name](D, H, chrono=9, forget_bias=bias).init(key)["b"] for bias in (1.0, 5.0))
    assert_close(one, two)
