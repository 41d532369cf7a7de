"""What is not a cell is refused in a sentence that says what to give instead."""

import sys

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen, nnx

from jaxrnn import adapters, unroll


class Leak(eqx.Module):
    """A module of a user's own, whose state nobody knows."""

    rate: jax.Array

    def __call__(self, x, h):
        return self.rate * h + x


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: adapters.flax_linen(linen.RNN(linen.GRUCell(4)), 3), TypeError,
            r"flax_linen: RNN runs a cell over a whole sequence; give its cell, \.cell",
        ),
        (
            lambda: adapters.flax_nnx(nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))),
            TypeError, "flax_nnx: RNN runs a cell",
        ),
        (lambda: adapters.keras(keras.layers.LSTM(4), 3), TypeError, "keras: LSTM runs a cell"),
        (lambda: adapters.flax_linen(len, 3), TypeError, "flax_linen: module is a builtin_function"),
        (lambda: adapters.flax_nnx(lambda _: 3), TypeError, "flax_nnx: got a int; expected an NNX module"),
        (lambda: adapters.equinox(lambda _: 3), TypeError, "equinox: got a int; expected an Equinox module"),
        (
            lambda: adapters.equinox(Leak(jnp.ones(2))), TypeError,
            "equinox: the state of a Leak is unknown; give init_state=",
        ),
        (lambda: adapters.flax_linen(linen.GRUCell(4), 0), ValueError, "flax_linen: input_size is 0"),
        (lambda: adapters.haiku(lambda: hk.GRU(4), 0), ValueError, "haiku: input_size is 0"),
        (lambda: adapters.keras(keras.layers.GRUCell(4)), ValueError, "keras: the layer is not built; give"),
        (
            lambda: adapters.flax_linen(linen.BatchNorm(False), 3).init(jax.random.key(0)),
            ValueError, "flax_linen: the module keeps batch_stats beside its parameters",
        ),
    ],
)  # fmt: skip
def test_what_is_no_cell_is_refused(make, error, message):
    with pytest.raises(error, match=rf"adapters\.{message}"):
        make()


def test_a_module_of_ones_own_with_its_state_is_a_cell():
    cell = adapters.equinox(Leak(jnp.full(2, 0.5)), init_state=lambda params: 0 * params.rate)
    params = cell.init(jax.random.key(0))
    h, y = cell.step(params, cell.init_state(params) + 1, jnp.ones(2))
    assert h.tolist() == y.tolist() == [1.5, 1.5]


class OwnLinen(linen.RNNCellBase):
    """A Linen cell of a user's own, which says nothing of its dtype."""

    @linen.compact
    def __call__(self, h, x):
        h = jnp.tanh(linen.Dense(2)(jnp.concatenate([h, x])))
        return h, h

    @linen.nowrap
    def initialize_carry(self, _, input_shape):
        return jnp.zeros((*input_shape[:-1], 2))

    @property
    def num_feature_axes(self):
        return 1


def test_a_linen_cell_of_ones_own_is_a_cell():
    cell = adapters.flax_linen(OwnLinen(), 3)
    params = cell.init(jax.random.key(0))
    h, y = cell.step(params, cell.init_state(params), jnp.ones(3))
    assert h.shape == (2,) and h.tolist() == y.tolist()


@pytest.mark.parametrize(
    "cell",
    [adapters.flax_linen(linen.Sequential([jax.nn.relu]), 2), adapters.haiku(lambda: jax.nn.relu, 2)],
    ids=["flax_linen", "haiku"],
)
def test_a_layer_without_parameters_is_one_without_memory(cell):
    params = cell.init(jax.random.key(0))
    assert not jax.tree.leaves(params) and cell.init_state(params) == ()
    assert cell.step(params, (), jnp.array([-1.0, 2.0]))[1].tolist() == [0, 2]


def test_stacked_cells_of_keras_are_a_cell():
    inner = [keras.layers.LSTMCell(4), keras.layers.GRUCell(2)]
    layer = keras.layers.RNN(keras.layers.StackedRNNCells(inner), return_sequences=True)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    expected = layer(xs[None])[0]
    cell = adapters.keras(layer.cell)
    params = cell.init(jax.random.key(0))
    found = unroll(cell.step, params, cell.init_state(params), xs).ys
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("flax", lambda: adapters.flax_nnx(None)),
        ("equinox", lambda: adapters.equinox(None)),
        ("haiku", lambda: adapters.haiku(lambda: None, 3)),
        ("keras", lambda: adapters.keras(None)),
        ("safetensors", lambda: adapters.from_torch("model.safetensors")),
    ],
)
def test_a_missing_library_is_named_with_its_extra(package, call, monkeypatch):
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"adapters\..* needs .*: pip install 'jaxrnn\[{package}\]'"):
        call()


def test_keras_on_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="Keras runs on tensorflow; set KERAS_BACKEND=jax before"):
        adapters.keras(keras.layers.GRUCell(4), 3)


def test_a_plain_function_may_have_an_output_or_not():
    def step(W, h, x):
        return jnp.tanh(W @ h + x)

    bare = adapters.from_step(step, jnp.zeros(2), init=jnp.eye(2), has_output=False)
    full = adapters.from_step(lambda *args: (step(*args), 0), lambda W: W[0], init=lambda _: jnp.eye(2))
    for cell in (bare, full):
        assert cell.init(jax.random.key(0)).tolist() == [[1, 0], [0, 1]]
    x = jnp.ones(2)
    h, y = bare.step(jnp.eye(2), bare.init_state(jnp.eye(2)), x)
    assert h.tolist() == y.tolist() == jnp.tanh(x).tolist()
    assert full.init_state(jnp.eye(2)).tolist() == [1, 0]
    assert full.step(jnp.eye(2), jnp.zeros(2), x)[1] == 0
