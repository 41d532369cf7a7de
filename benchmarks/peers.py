"""Loss and gradient of one recurrent layer as the users of other libraries write them.

Every peer is ``make(kind, d, H, xs) -> Case``: L = ½ mean y², differentiated by all parameters, for xs
[T, B, d]. What is not installed, or has no such layer, is left out.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxrnn as jr
from benchmarks.harness import Case


def energy(ys):
    return 0.5 * jnp.mean(ys**2)


def of_plain_jax(kind, d, H, xs):
    """What one writes without a library: the cell's step, vmapped over the batch, in one scan."""
    cell, params, h_0 = ours(kind, d, H, xs)
    step = jax.vmap(cell.step, in_axes=(None, 0, 0))

    def gradient(params, h_0, xs):
        def loss(params):
            return energy(lax.scan(lambda h, x: step(params, h, x), h_0, xs)[1])

        return jax.value_and_grad(loss)(params)

    return Case("plain JAX: grad over lax.scan", gradient, (params, h_0, xs))


def of_linen(kind, _d, H, xs):
    from flax import linen

    cells = {"elman": linen.SimpleCell, "gru": linen.GRUCell, "lstm": linen.OptimizedLSTMCell}
    layer = linen.RNN(cells[kind](H), time_major=True)

    def gradient(params, xs):
        return jax.value_and_grad(lambda params: energy(layer.apply(params, xs)))(params)

    return Case("flax linen: RNN", gradient, (layer.init(jax.random.key(0), xs), xs))


def of_nnx(kind, d, H, xs):
    from flax import nnx

    cells = {"elman": nnx.SimpleCell, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}
    layer = nnx.RNN(cells[kind](d, H, rngs=nnx.Rngs(0)), time_major=True, rngs=nnx.Rngs(0))
    h_0 = layer.cell.initialize_carry(xs.shape[1:], nnx.Rngs(0))
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def gradient(params, rest, h_0, xs):
        def loss(params):
            return energy(nnx.merge(graph, params, rest)(xs, initial_carry=h_0))

        return jax.value_and_grad(loss)(params)

    return Case("flax nnx: RNN", gradient, (params, rest, h_0, xs))


def of_equinox(kind, d, H, xs):
    import equinox as eqx

    cells = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}
    cell = cells[kind](d, H, key=jax.random.key(0))
    zeros = jnp.zeros((xs.shape[1], H))
    h_0 = (zeros, zeros) if kind == "lstm" else zeros

    def gradient(cell, h_0, xs):
        def loss(cell):
            def body(h, x):
                h = jax.vmap(cell)(x, h)
                return h, h[0] if kind == "lstm" else h

            return energy(lax.scan(body, h_0, xs)[1])

        return jax.value_and_grad(loss)(cell)

    return Case("equinox: cell in lax.scan", gradient, (cell, h_0, xs))


def of_haiku(kind, _d, H, xs):
    import haiku as hk

    cells = {"elman": hk.VanillaRNN, "gru": hk.GRU, "lstm": hk.LSTM}

    def forward(xs):
        core = cells[kind](H)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    layer = hk.without_apply_rng(hk.transform(forward))

    def gradient(params, xs):
        return jax.value_and_grad(lambda params: energy(layer.apply(params, xs)))(params)

    return Case("haiku: dynamic_unroll", gradient, (layer.init(jax.random.key(0), xs), xs))


def of_torch(threads):
    def make(kind, d, H, xs):
        import torch

        torch.manual_seed(0)
        layer = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind](d, H)
        xs = torch.from_numpy(np.array(xs))

        def gradient():
            torch.set_num_threads(threads)
            layer.zero_grad()
            loss = 0.5 * (layer(xs)[0] ** 2).mean()
            loss.backward()

        return Case(f"torch, threads: {threads}", gradient, (), compiled=True)

    return make


def ours(kind, d, H, xs):
    """(cell, params, h_0)."""
    cell = getattr(jr.cells, kind)(d, H)
    params = cell.init(jax.random.key(0))
    return cell, params, cell.initial_states(params, xs.shape[1])


def of_unroll(kind, d, H, xs):
    cell, params, h_0 = ours(kind, d, H, xs)
    step = jax.vmap(cell.step, in_axes=(None, 0, 0))

    def gradient(params, h_0, xs):
        return jax.value_and_grad(lambda params: energy(jr.unroll(step, params, h_0, xs).ys))(params)

    return Case("jaxrnn: grad of unroll", gradient, (params, h_0, xs))


def of_full(kind, d, H, xs):
    cell, params, h_0 = ours(kind, d, H, xs)
    return _of_step("jaxrnn: gradients.full", cell.step, params, h_0, xs)


def _of_step(name, step, params, h_0, xs, segment=None):
    estimator = jr.gradients.full(step, lambda _params, y_t, _target: energy(y_t), segment=segment)
    batch = jr.Batch(jnp.swapaxes(xs, 0, 1), jnp.zeros(xs.shape[1::-1]))

    def gradient(params, h_0, batch):
        return tuple(estimator.estimate(params, estimator.init(params, h_0), batch, None)[0])

    return Case(name, gradient, (params, h_0, batch))


OF_LINENS_CELL = "jaxrnn: gradients.full of flax linen's cell"
OF_LINENS_CELL_IN_SEGMENTS = "jaxrnn: the same, segment near √T"


def of_full_with_linen(kind, _d, H, xs, name=OF_LINENS_CELL, segment=None):
    """Flax's own cell and parameters."""
    from flax import linen

    cells = {"elman": linen.SimpleCell, "gru": linen.GRUCell, "lstm": linen.OptimizedLSTMCell}
    cell = cells[kind](H)
    h_0 = cell.initialize_carry(jax.random.key(0), xs.shape[1:])
    params = cell.init(jax.random.key(0), h_0, xs[0])
    return _of_step(name, cell.apply, params, h_0, xs, segment)


def of_segments_with_linen(kind, d, H, xs):
    """Flax's own cell in little memory: with a second forward pass."""
    return of_full_with_linen(kind, d, H, xs, OF_LINENS_CELL_IN_SEGMENTS, math.isqrt(len(xs)))


JAX_PEERS = (of_plain_jax, of_linen, of_nnx, of_equinox, of_haiku)
TORCH = (of_torch(1), of_torch(2))
OURS = (of_unroll, of_full, of_full_with_linen, of_segments_with_linen)


def cases(makers, *arguments):
    """The cases of those makers whose library is there and has the layer."""
    found = []
    for make in makers:
        try:
            found.append(make(*arguments))
        except (ImportError, KeyError):
            continue
    return found
