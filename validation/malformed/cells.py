"""Cells: their constructors, their starts and their steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import Cell, cells
from validation.malformed.judge import Call
from validation.malformed.kinds import Choice, Count, Fixed, Function, Key, Number, Opaque, Real
from validation.malformed.trees import Tree

__all__ = ["calls", "kind_of", "params_of"]

ACTIVATIONS = (*cells.activations.NAMES,)


def params_of(cell, seed=0):
    """Noise in every leaf of the cell's parameters."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(cell.init, jax.random.key(seed)))
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(tree, [jnp.asarray(0.5 * rng.normal(size=leaf.shape)) for leaf in leaves])


def kind_of(tree, *, more=False, nan=True, fits=lambda _: False):
    """The Kind of a tree of arrays, leaf by leaf."""
    if isinstance(tree, dict):
        parts = {name: kind_of(leaf, nan=nan, fits=fits) for name, leaf in tree.items()}
        return Tree(parts, more=more)
    if hasattr(tree, "_fields"):
        return Tree(type(tree)(*[kind_of(leaf, nan=nan, fits=fits) for leaf in tree]))
    if isinstance(tree, tuple):
        return Tree(tuple(kind_of(leaf, more=more, nan=nan, fits=fits) for leaf in tree))
    return Real(tree, nan=nan, fits=fits)


def _probe(constructor):
    """A cell's first parameters, and one step from there."""

    def made(*args, **options):
        cell = constructor(*args, **options)
        params = cell.init(jax.random.key(0))
        return params, cell.step(params, cell.init_state(params), jnp.ones(3))

    return made


def _constructors():
    size = {"input_size": Count(3, 1), "hidden_size": Count(4, 1)}
    inits = {"input_init": Function(cells.initializers.he(), optional=True)}
    both = inits | {"recurrent_init": Function(cells.initializers.he(), optional=True)}
    norm = {"normalization": Opaque(cells.layer_norm(), optional=True)}
    phi = {"activation": Choice("relu", ACTIVATIONS)}
    lag = {"chrono": Count(5, 2, optional=True)}
    forget = {"forget_bias": Number(1.0)}
    positive = {"step_size": Number(0.1, lambda x: 0 < x < np.inf)}
    positive |= {"damping": Number(0.1, lambda x: 0 <= x < np.inf)}
    radii = {"r_min": Number(0.0, lambda x: 0 <= x < 0.9), "r_max": Number(0.9, lambda x: 0 < x <= 1)}
    options = {
        "elman": phi | both | norm,
        "lstm": both | lag | norm | forget,
        "gru": both | lag | norm,
        "mgu": both | lag | norm,
        "coupled_lstm": both | lag | norm | forget,
        "peephole_lstm": both | lag | norm | forget,
        "leaky": phi | both | {"alpha": Number(0.5, lambda x: 0 < x <= 1)},
        "antisymmetric": phi | both | positive,
        "orthogonal_rnn": phi | both | {"parametrization": Choice("cayley", ("cayley", "exponential"))},
        "lru": radii
        | {"max_phase": Number(1.0, lambda x: 0 < x <= 2 * np.pi), "output_size": Count(2, 1, optional=True)},
        "min_gru": inits,
    }
    options["orthogonal_rnn"] |= {"activation": Choice("relu", (*ACTIVATIONS, "modrelu"))}
    for name, some in options.items():
        yield Call(f"cells.{name}", _probe(getattr(cells, name)), size | some)
    dense = {
        "n_in": Count(3, 1),
        "n_out": Count(2, 1),
        "init": Function(cells.initializers.he(), optional=True),
    }
    yield Call("cells.dense", _probe(cells.dense), dense | phi)


def _steps():
    lstm, gru = cells.lstm(3, 4), cells.gru(3, 3)
    made = {name: getattr(cells, name)(3, 4) for name in _PLAIN}
    made |= {
        "stack": cells.stack(lstm, cells.dense(4, 2)),
        "residual": cells.residual(gru),
        "skip": cells.skip(gru, 2),
        "elman with layer_norm": cells.elman(3, 4, normalization=cells.layer_norm()),
    }
    for name, cell in made.items():
        yield from _of_cell(name, cell, Real(jnp.ones(3)))
    pair = Tree((Real(jnp.ones(3)), Key()))
    yield from _of_cell("zoneout", cells.zoneout(cells.elman(3, 4), 0.1), pair)
    pair = Tree((Real(jnp.ones(3), integers=False), Key()))
    yield from _of_cell("dropout", cells.dropout(cells.elman(3, 4), 0.1), pair)
    both = Tree((Real(jnp.ones(3)), Real(jnp.ones(3))))
    yield from _of_cell("bidirectional", cells.bidirectional(gru, cells.elman(3, 4)), both)
    flag = Tree((Real(jnp.ones(3)), Opaque(jnp.array(True), scalars=True, but=("a huge integer",))))
    yield from _of_cell("encoder_decoder", cells.encoder_decoder(gru, gru), flag)


_PLAIN = (
    "elman",
    "lstm",
    "gru",
    "mgu",
    "coupled_lstm",
    "peephole_lstm",
    "leaky",
    "antisymmetric",
    "orthogonal_rnn",
    "lru",
    "min_gru",
)


def _of_cell(name, cell, x_t):
    params = params_of(cell)
    state = cell.init_state(params)
    arguments = {"params": kind_of(params, more=True), "h_tm1": kind_of(state), "x_t": x_t}
    yield Call(f"cells.{name}: step", cell.step, arguments)
    yield Call(f"cells.{name}: init", cell.init, {"key": Key()})


def _compositions():
    elman, key = cells.elman(3, 3), jax.random.key(0)

    def stepped(x_t):
        def probe(**options):
            cell = options.pop("make")(**options)
            params = cell.init(key)
            return cell.step(params, cell.init_state(params), x_t)

        return probe

    def call(name, make, arguments, x_t):
        probe = stepped(x_t)
        return Call(f"cells.{name}", lambda **options: probe(make=make, **options), arguments)

    one, x = Opaque(elman), jnp.ones(3)
    rate = Number(0.5, lambda x: 0 <= x < 1)
    yield call("residual", cells.residual, {"cell": one}, x)
    skips = {"cell": one, "steps": Count(2, 1), "share": Number(0.5, lambda x: 0 <= x <= 1)}
    yield call("skip", cells.skip, skips, x)
    yield call("stack", lambda first, second: cells.stack(first, second), {"first": one, "second": one}, x)
    yield call("bidirectional", cells.bidirectional, {"forward": one, "backward": one}, (x, x))
    yield call(
        "encoder_decoder", cells.encoder_decoder, {"encoder": one, "decoder": one}, (x, jnp.array(True))
    )
    yield call("zoneout", cells.zoneout, {"cell": one, "rate": rate}, (x, key))
    yield call("dropout", cells.dropout, {"cell": one, "rate": rate}, (x, key))


def _helpers():
    init = cells.initializers
    shape = Opaque((4, 4), (4,), (4, 4, 4), (2.5, 3), ("a", 3), (-1, 3), 4, [[4]], but=("an empty list",))
    made = {
        name: getattr(init, name)() for name in ("glorot", "he", "orthogonal", "identity", "spectral_radius")
    }
    for name, one in made.items():
        shapes = {"key": Key(), "shape": shape} if name != "identity" else {"shape": shape}
        probe = one if name != "identity" else lambda shape, one=one: one(jax.random.key(0), shape)
        yield Call(f"cells.initializers.{name}: init", probe, shapes)
    key = jax.random.key(0)
    yield Call("cells.initializers.orthogonal", lambda gain: init.orthogonal(gain)(key, (2, 2), float),
               {"gain": Number(1.0)})  # fmt: skip
    yield Call(
        "cells.initializers.identity", lambda gain: init.identity(gain)(None, (2, 2)), {"gain": Number(1.0)}
    )
    yield Call("cells.initializers.spectral_radius",
               lambda radius: init.spectral_radius(radius)(jax.random.key(0), (2, 2)),
               {"radius": Number(1.0)})  # fmt: skip
    yield Call("cells.initializers.chrono", lambda max_lag: init.chrono(max_lag)(jax.random.key(0), (2,)),
               {"max_lag": Count(5, 2)})  # fmt: skip
    yield Call("cells.activations.get", lambda activation: cells.activations.get(activation)(jnp.ones(2)),
               {"activation": Choice("tanh", ACTIVATIONS)})  # fmt: skip
    for name in ("leaky_relu", "elu"):
        make = getattr(cells.activations, name)
        probe = lambda alpha, make=make: make(alpha)(jnp.ones(2))  # noqa: E731
        yield Call(f"cells.activations.{name}", probe, {"alpha": Number(0.5)})
    square = lambda shape: len(shape) == 2 and shape[0] == shape[1] > 0  # noqa: E731
    yield Call("cells.orthogonal_matrix", cells.orthogonal_matrix, {
        "A": Real(np.random.default_rng(0).normal(size=(3, 3)), fits=square),
        "parametrization": Choice("cayley", ("cayley", "exponential")),
    })  # fmt: skip
    epsilon = Number(1e-5, lambda x: 0 <= x < np.inf)
    yield Call("cells.layer_norm", lambda **o: cells.elman(3, 4, normalization=cells.layer_norm(**o)).init(
        jax.random.key(0)), {"initial_gain": Number(1.0), "epsilon": epsilon})  # fmt: skip
    yield Call("cells.batch_norm", lambda **o: cells.elman(3, 4, normalization=cells.batch_norm(**o)).init(
        jax.random.key(0)), {"axis_name": Fixed("batch"), "initial_gain": Number(1.0),
                             "epsilon": Number(1e-5, lambda x: 0 <= x < np.inf)})  # fmt: skip
    yield Call("Cell.initial_states", lambda batch_size: Cell(*cells.elman(3, 4)).initial_states(
        params_of(cells.elman(3, 4)), batch_size), {"batch_size": Count(2, 1)})  # fmt: skip


def _normalized():
    cell = cells.elman(3, 4, normalization=cells.batch_norm())
    params = params_of(cell)
    h_0, xs = cell.initial_states(params, 2), jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)))
    any_length = lambda shape: len(shape) == 3 and shape[0] == 2 and shape[2] == 3 and shape[1] > 0  # noqa: E731
    statistics = {"step": Function(cell.step), "params": kind_of(params, more=True), "h_0": Real(h_0)}
    yield Call(
        "cells.batch_statistics", cells.batch_statistics, statistics | {"xs": Real(xs, fits=any_length)}
    )
    seen = cells.batch_statistics(cell.step, params, h_0, xs)
    step = cells.with_statistics(cell.step)
    moments = jax.tree.map(lambda leaf: leaf[0], seen)
    yield Call("cells.with_statistics: step", step, {
        "params": kind_of(params, more=True), "h_tm1": Real(h_0[0]),
        "x_t": Tree((Real(xs[0, 0]), kind_of(moments))),
    })  # fmt: skip


def calls():
    """Every call of this room."""
    yield from _constructors()
    yield from _steps()
    yield from _compositions()
    yield from _helpers()
    yield from _normalized()
