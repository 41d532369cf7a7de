"""What every adapter must do: outputs, Jacobians, parameters and gradients are the library's own."""

from typing import Any, NamedTuple

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from cases import EPS_12, assert_close
from flax import linen, nnx
from jax import lax
from oracles import end_to_end_jacobian

from jaxrnn import Batch, adapters, cells, gradients, training, unroll
from jaxrnn.jacobians import norms, step_jacobians
from jaxrnn.losses import squared_error

D, H, T = 3, 4, 6


class Case(NamedTuple):
    """A library's layer, as a cell and as the library runs it."""

    cell: Any
    params: Any
    run: Any
    """``run(params, xs [T, D]) -> ys [T, H]`` by the library's own runner, from its own start."""


def of_linen(kind, dtype):
    make = {"rnn": linen.SimpleCell, "gru": linen.GRUCell, "lstm": linen.OptimizedLSTMCell}[kind]
    layer = linen.RNN(make(H, dtype=dtype, param_dtype=dtype))
    params = layer.init(jax.random.key(0), jnp.zeros((1, T, D), dtype))["params"]["cell"]

    def run(params, xs):
        return layer.apply({"params": {"cell": params}}, xs[None])[0]

    return Case(adapters.flax_linen(layer.cell, D), params, run)


def of_nnx(kind, dtype):
    make = {"rnn": nnx.SimpleCell, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}[kind]
    layer = nnx.RNN(make(D, H, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))

    def run(params, xs):
        definition, _, rest = nnx.split(layer, nnx.Param, ...)
        start = layer.cell.initialize_carry((1, D), nnx.Rngs(0))
        whole = nnx.merge(definition, nnx.State({"cell": params}), rest)
        return whole(xs[None], initial_carry=start)[0]

    return Case(adapters.flax_nnx(layer.cell), nnx.state(layer.cell, nnx.Param), run)


class EquinoxRNN(eqx.Module):
    """Equinox has no vanilla cell; this is a user's."""

    read: eqx.nn.Linear
    repeat: eqx.nn.Linear

    def __init__(self, key, dtype):
        keys = jax.random.split(key)
        self.read = eqx.nn.Linear(D, H, key=keys[0], dtype=dtype)
        self.repeat = eqx.nn.Linear(H, H, use_bias=False, key=keys[1], dtype=dtype)

    def __call__(self, x, h):
        return jnp.tanh(self.read(x) + self.repeat(h))


def of_equinox(kind, dtype):
    key, zeros = jax.random.key(0), jnp.zeros(H, dtype)
    if kind == "rnn":
        module, start = EquinoxRNN(key, dtype), zeros
        cell = adapters.equinox(module, init_state=zeros)
    else:
        module = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}[kind](D, H, key=key, dtype=dtype)
        start = (zeros, zeros) if kind == "lstm" else zeros
        cell = adapters.equinox(module)

    def run(params, xs):
        whole = eqx.combine(params, module)

        def advance(h, x):
            h = whole(x, h)
            return h, h[0] if kind == "lstm" else h

        return lax.scan(advance, start, xs)[1]

    return Case(cell, eqx.filter(module, eqx.is_inexact_array), run)


def of_haiku(kind, dtype):
    core = {"rnn": hk.VanillaRNN, "gru": hk.GRU, "lstm": hk.LSTM}[kind]

    def forward(xs):
        layer = core(H)
        start = jax.tree.map(lambda leaf: leaf.astype(dtype), layer.initial_state(None))
        return hk.dynamic_unroll(layer, xs, start)[0]

    network = hk.without_apply_rng(hk.transform(forward))
    params = network.init(jax.random.key(0), jnp.zeros((T, D), dtype))
    return Case(adapters.haiku(lambda: core(H), D), params, network.apply)


def of_keras(kind, dtype):
    make = {"rnn": keras.layers.SimpleRNNCell, "gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}
    keras.utils.set_random_seed(0)
    # Keras' own activations round to single precision, whatever the dtype of the layer.
    options = {} if dtype == jnp.float32 else {"activation": jnp.tanh}
    if options and kind != "rnn":
        options["recurrent_activation"] = jax.nn.sigmoid
    layer = keras.layers.RNN(make[kind](H, dtype=dtype, **options), return_sequences=True, dtype=dtype)
    layer.build((None, T, D))

    def run(params, xs):
        return layer.stateless_call(params, [v.value for v in layer.non_trainable_variables], xs[None])[0][0]

    return Case(adapters.keras(layer.cell), [v.value for v in layer.trainable_variables], run)


LIBRARIES = {
    "flax_linen": of_linen, "flax_nnx": of_nnx, "equinox": of_equinox, "haiku": of_haiku, "keras": of_keras,
}  # fmt: skip
KINDS = ["rnn", "gru", "lstm"]
every_library = pytest.mark.parametrize("library", LIBRARIES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def noisy(params, dtype):
    """No bias zero."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    moved = [jnp.asarray(leaf + 0.1 * rng.normal(size=leaf.shape), dtype) for leaf in leaves]
    return jax.tree.unflatten(tree, moved)


def sequence(dtype):
    return jnp.asarray(np.random.default_rng(1).normal(size=(T, D)), dtype)


def run_of(case):
    def run(params, xs):
        return unroll(case.cell.step, params, case.cell.init_state(params), xs)

    return run


@every_kind
@every_library
def test_outputs_are_those_of_the_librarys_own_runner(library, kind):
    case = LIBRARIES[library](kind, jnp.float32)
    params, xs = noisy(case.params, jnp.float32), sequence(jnp.float32)
    trajectory = jax.jit(run_of(case))(params, xs)
    assert {leaf.dtype for leaf in jax.tree.leaves(trajectory)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(trajectory.ys, case.run(params, xs), rtol=0, atol=1e-6)


@every_kind
@every_library
def test_step_jacobians_multiply_to_the_end_to_end_jacobian_in_double_precision(library, kind):
    case = LIBRARIES[library](kind, jnp.float64)
    params, xs = noisy(case.params, jnp.float64), sequence(jnp.float64)
    h_0 = case.cell.init_state(params)
    trajectory = jax.jit(run_of(case))(params, xs)
    js = jax.jit(lambda *args: step_jacobians(case.cell.step, *args))(params, trajectory)
    n = 2 * H if kind == "lstm" else H
    assert js.shape == (T, n, n) and js.dtype == jnp.float64
    whole = end_to_end_jacobian(case.cell.step, params, h_0, xs)
    np.testing.assert_allclose(np.linalg.multi_dot(np.asarray(js)[::-1]), whole, rtol=0, atol=1e-10)
    table = jax.jit(norms)(js)
    np.testing.assert_allclose(table.log_norm[T, 0], np.log(np.linalg.norm(whole, 2)), rtol=1e-9)


@every_kind
@every_library
def test_full_gradient_is_that_of_the_librarys_own_runner(library, kind):
    case = LIBRARIES[library](kind, jnp.float64)
    params, xs = noisy(case.params, jnp.float64), sequence(jnp.float64)
    batch = Batch(xs[None], jnp.ones((1, T, H)))
    estimator = gradients.full(case.cell.step, squared_error)
    carry = estimator.init(params, case.cell.initial_states(params, 1))
    found = jax.jit(estimator.estimate)(params, carry, batch, jax.random.key(0))[0].grads

    def own(params):
        return 0.5 * jnp.sum((case.run(params, xs) - 1) ** 2) / T

    assert_close(found, jax.jit(jax.grad(own))(params), EPS_12)


@every_kind
@every_library
def test_parameters_are_the_librarys_own_and_return_unchanged(library, kind):
    case = LIBRARIES[library](kind, jnp.float32)
    found = case.cell.init(jax.random.key(0))
    assert jax.tree.structure(found) == jax.tree.structure(case.params)
    assert [leaf.shape for leaf in jax.tree.leaves(found)] == [
        leaf.shape for leaf in jax.tree.leaves(case.params)
    ]
    if library in ("flax_nnx", "equinox", "keras"):  # which hold their parameters
        assert all(
            np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (found, case.params)), strict=True)
        )


def test_parameters_of_a_flax_module_are_its_present_ones_and_stay_as_they_were_read():
    module = nnx.GRUCell(D, H, rngs=nnx.Rngs(0))
    cell = adapters.flax_nnx(module)
    read = cell.init(jax.random.key(0))
    before = jax.tree.map(np.array, jax.tree.leaves(read))
    changed = jax.tree.map(lambda leaf: leaf + 1, read)
    nnx.update(module, changed)
    assert_close(jax.tree.leaves(read), before)
    assert_close(jax.tree.leaves(cell.init(jax.random.key(1))), jax.tree.leaves(changed))


def deep_of_nnx(xs):
    """(network, outputs of the model) of two layers and a readout."""
    rngs = nnx.Rngs(0)
    first = nnx.RNN(nnx.GRUCell(D, H, rngs=rngs), rngs=rngs)
    second = nnx.RNN(nnx.LSTMCell(H, 2, rngs=rngs), rngs=rngs)
    head = nnx.Linear(2, 1, rngs=rngs)
    parts = (first.cell, second.cell, head)
    return cells.stack(*map(adapters.flax_nnx, parts)), head(second(first(xs[None])))[0]


def deep_of_keras(xs):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((T, D)),
            layers.GRU(H, return_sequences=True),
            layers.LSTM(2, return_sequences=True),
            layers.Dense(1),
        ]
    )
    first, second, head = model.layers
    return cells.stack(*map(adapters.keras, (first.cell, second.cell, head))), model(xs[None])[0]


@pytest.mark.parametrize("deep", [deep_of_nnx, deep_of_keras])
def test_a_model_of_several_layers_is_a_stack_of_its_parts(deep):
    with jax.enable_x64(False):
        xs = sequence(jnp.float32)
        network, ys = deep(xs)
        params = network.init(jax.random.key(0))
        found = unroll(network.step, params, network.init_state(params), xs).ys
    np.testing.assert_allclose(found, ys, rtol=0, atol=1e-6)


def make(library):
    """(cell, readout) by functions of a key, where there are such."""
    if library == "flax_linen":
        return adapters.flax_linen(linen.GRUCell(H), D), adapters.flax_linen(linen.Dense(2), H)
    if library == "flax_nnx":
        return (
            adapters.flax_nnx(lambda rngs: nnx.GRUCell(D, H, rngs=rngs)),
            adapters.flax_nnx(lambda rngs: nnx.Linear(H, 2, rngs=rngs)),
        )
    if library == "equinox":
        return (
            adapters.equinox(lambda key: eqx.nn.GRUCell(D, H, key=key)),
            adapters.equinox(lambda key: eqx.nn.Linear(H, 2, key=key)),
        )
    if library == "haiku":
        return adapters.haiku(lambda: hk.GRU(H), D), adapters.haiku(lambda: hk.Linear(2), H)
    keras.utils.set_random_seed(0)
    return adapters.keras(keras.layers.GRUCell(H), D), adapters.keras(keras.layers.Dense(2), H)


@every_library
def test_a_cell_and_a_readout_make_a_network_that_trains_in_our_loop(library):
    network = cells.stack(*make(library))
    batch = Batch(jnp.ones((2, T, D), jnp.float32), jnp.ones((2, T, 2), jnp.float32))
    with jax.enable_x64(False):
        result = training.train(
            network, gradients.chunked(network.step, squared_error, window=3), training.clipped_adam(0.1),
            lambda _: batch, steps=20, key=jax.random.key(0), progress=False,
        )  # fmt: skip
    losses = result.history.loss[0]
    assert losses[-1] < losses[0] / 2
    assert jax.tree.leaves(network.init_state(result.seed()))[0].shape == (H,)


@pytest.mark.parametrize("library", ["flax_linen", "flax_nnx", "equinox", "haiku"])
def test_another_key_makes_other_parameters(library):
    cell, _ = make(library)
    one, again, other = (jax.tree.leaves(cell.init(jax.random.key(k))) for k in (0, 0, 1))
    assert all(map(np.array_equal, one, again))
    assert not all(map(np.array_equal, one, other))
