"""How the gradient is computed, and what is measured of it: estimators, decompositions, diagnoses."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import Batch, cells, gradients, losses
from jaxrnn.gradients import by_hand
from validation.malformed.cells import kind_of, params_of
from validation.malformed.judge import Call
from validation.malformed.kinds import (
    Choice,
    Count,
    Fixed,
    Function,
    Key,
    Number,
    Opaque,
    Real,
    refused,
)
from validation.malformed.trees import Tree

__all__ = ["CELL", "T", "batch_arguments", "calls"]

B, T, D = 2, 4, 2
CELL = cells.stack(cells.elman(D, 3), cells.dense(3, 1))


def batch_arguments(cell=CELL, out=(1,), weighted=True):
    """Kinds of the parameters, states and batch of a network."""
    rng, params = np.random.default_rng(4), params_of(cell)
    xs, targets = (jnp.asarray(rng.normal(size=(B, T, *size))) for size in ((D,), out))
    batch = Batch(
        Real(xs, nan=False), Real(targets, nan=False), Real(jnp.full((B, T), 1 / T), nan=False, optional=True)
    )
    if not weighted:
        batch = batch._replace(weights=Fixed(None))
    return {
        "params": kind_of(params, more=False, nan=False),
        "h_0": kind_of(cell.initial_states(params, B), nan=False),
        "batch": Tree(batch),
    }


def _of_estimator(name, constructor, *, random=False, **options):
    """One whole estimate, and a second one with the carry of the first as an argument."""
    cell, found = CELL, batch_arguments()
    key = {"key": Key() if random else Fixed(jax.random.key(0))}

    def estimated(params, h_0, batch, key, **options):
        estimator = constructor(cell.step, losses.squared_error, **options)
        return estimator.estimate(params, estimator.init(params, h_0), batch, key)[0]

    def continued(params, carry, batch, key):
        values = {name: kind.value for name, kind in options.items()}
        return constructor(cell.step, losses.squared_error, **values).estimate(params, carry, batch, key)[0]

    values = {name: kind.value for name, kind in options.items()}
    carry = jax.eval_shape(
        constructor(cell.step, losses.squared_error, **values).init, found["params"].value, found["h_0"].value
    )
    carry = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), carry)
    yield Call(f"gradients.{name}", estimated, found | key | options)
    yield Call(f"gradients.{name}: carry", continued, {
        "params": Fixed(found["params"].value),
        "carry": Opaque(carry, (), {"h": carry}, [carry], (carry, carry)),
        "batch": Fixed(found["batch"].value), **key,
    })  # fmt: skip

    def made(step, step_loss, init_state):
        estimator = constructor(step, step_loss, init_state=init_state, **values)
        carry = estimator.init(found["params"].value)
        return estimator.estimate(found["params"].value, carry, found["batch"].value, jax.random.key(0))[0]

    functions = {"step": Function(cell.step), "step_loss": Function(losses.squared_error)}
    functions |= {"init_state": Function(cell.init_state, optional=True)}
    yield Call(f"gradients.{name}", made, functions)


def _estimators():
    window = {"window": Count(2, 1)}
    yield from _of_estimator("full", gradients.full, segment=Count(2, 1, optional=True))
    yield from _of_estimator("chunked", gradients.chunked, **window, every=Count(1, 1, 2, optional=True))
    yield from _of_estimator("sliding", gradients.sliding, **window)
    open_unit = Number(0.5, lambda x: 0 < x < 1)
    yield from _of_estimator(
        "adaptive", gradients.adaptive, tolerance=open_unit, max_window=Count(3, 1), every=Count(1, 1)
    )
    yield from _of_estimator(
        "randomized", gradients.randomized, random=True, keep=Number(0.5, lambda x: 0 < x <= 1)
    )
    lengths = {
        "mean_length": Number(3.0, lambda x: 1 < x < np.inf),
        "alpha": Number(6.0, lambda x: 2 < x < np.inf),
    }
    yield from _of_estimator("artbp", gradients.artbp, random=True, **lengths)
    yield from _of_estimator("rtrl", gradients.rtrl)
    yield from _of_estimator("uoro", gradients.uoro, random=True)
    yield from _of_estimator("forward", gradients.forward, random=True, directions=Count(2, 1))
    found = batch_arguments()
    params = found["params"].value
    run = jax.jit(lambda p, xs: jaxrnn.unroll(CELL.step, p, CELL.init_state(p), xs))(
        params, found["batch"].value.xs[0]
    )
    pattern = gradients.influence_pattern(CELL.step, params, run, init_state=CELL.init_state)
    yield from _of_estimator("snap", partial(gradients.snap, pattern=pattern))
    snap = lambda pattern: gradients.snap(CELL.step, losses.squared_error, pattern=pattern).init(  # noqa: E731
        params, found["h_0"].value
    )
    yield Call("gradients.snap", snap, {"pattern": Opaque(pattern)})
    trajectory = Tree(run._replace(
        h_0=kind_of(run.h_0, nan=False), hs=kind_of(run.hs, nan=False), ys=Fixed(run.ys),
        xs=Real(run.xs, nan=False),
    ))  # fmt: skip
    influence = {"step": Function(CELL.step), "params": found["params"], "trajectory": trajectory}
    yield Call(
        "gradients.influence_pattern",
        lambda **o: tuple(gradients.influence_pattern(**o)),
        influence | {"steps": Count(1, 1), "init_state": Function(CELL.init_state, optional=True)},
        eager=True,
    )


def _measures():
    step, loss, found = Function(CELL.step), Function(losses.squared_error), batch_arguments()
    network = {"step": step, "step_loss": loss}
    yield Call("gradients.loss", gradients.loss, network | found)
    yield Call("gradients.decompose", gradients.decompose, network | found)
    yield Call(
        "gradients.lag_profile", gradients.lag_profile, network | found | {"lags": Count(2, 1, optional=True)}
    )
    kept = network | found | {"key": Key(), "draws": Count(1, 1)}
    kept |= {"constructor": Function(partial(gradients.sliding, window=1))}
    yield Call("gradients.kept_lags", gradients.kept_lags, kept)
    full = gradients.full(CELL.step, losses.squared_error)
    measured = (
        found | {"key": Key(), "draws": Count(2, 1)} | {"estimator": Opaque(full), "exact": Opaque(full)}
    )
    yield Call("gradients.fidelity", gradients.fidelity, measured)
    cuts = Opaque([(2,)], [2], [(0,)], [(4,)], [(3, 2)], [(1.5,)], ["a"], 2, but=("an empty list",))
    fixed = {name: Fixed(kind.value) for name, kind in measured.items()}
    yield Call("gradients.fidelity", gradients.fidelity, fixed | {"cuts": cuts})
    profile = np.exp(-0.3 * np.arange(12.0))
    lags = Real(profile, fits=lambda shape: len(shape) == 1 and shape[0] > 0, nan=False)
    yield Call("gradients.geometric_decay", gradients.geometric_decay, {"norm": lags})
    both = {"norm": Real(profile), "reach": Real(np.ones(12), optional=True)}
    yield Call("gradients.geometric_decay", gradients.geometric_decay, both)
    h_0 = found["h_0"].value
    restart = {
        "estimator": Opaque(full),
        "params": Fixed(found["params"].value),
        "carry": Fixed(h_0),
        "h_0": kind_of(h_0, nan=False),
    }
    restart |= {
        "ended": Opaque(jnp.array([True, False]), jnp.array([1, 0]), [True], True, jnp.ones((2, 1), bool))
    }
    yield Call("gradients.restart", gradients.restart, restart)


def _by_hand():
    rng = np.random.default_rng(5)
    shapes = {"W_hx": (3, 2), "W_hh": (3, 3), "b_h": (3,), "W_yh": (1, 3), "b_y": (1,)}
    params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
    arguments = {
        "params": kind_of(params, more=True),
        "h_0": Real(np.zeros(3)),
        "xs": Real(rng.normal(size=(T, 2))),
    }
    phi = {"activation": Choice("tanh", ("linear", "relu", "sigmoid", "tanh"))}
    heads = {
        "targets": Real(rng.normal(size=(T, 1))),
        "head": Choice("identity", ("identity", "softmax", "sigmoid")),
    }
    yield Call("by_hand.bptt", by_hand.bptt, arguments | phi | heads)
    recurrent = {name: leaf for name, leaf in params.items() if "y" not in name}
    several = lambda shape: len(shape) == 2 and shape[1] == 2  # noqa: E731
    forward = arguments | {
        "params": kind_of(recurrent, more=True),
        "xs": Real(rng.normal(size=(T, 2)), fits=several),
    }
    yield Call("by_hand.forward_recursion", by_hand.forward_recursion, forward | phi)
    rows = Real(rng.normal(size=(T, 1)), fits=lambda shape: len(shape) == 2 and shape[1] == 1)
    linear = {"W_hh": Real(params["W_hh"]), "W_yh": Real(params["W_yh"]), "dL_do": rows}
    yield Call("by_hand.linear_state_gradients", by_hand.linear_state_gradients, linear)


def _losses():
    vector = Real(jnp.array([0.5, -1.0, 2.0]))
    for name in ("squared_error", "sigmoid_binary_cross_entropy"):
        arguments = {"y_t": vector, "target_t": Real(jnp.array([0.0, 1.0, 0.5]))}
        yield Call(f"losses.{name}", partial(getattr(losses, name), None), arguments)
    classes = Opaque(jnp.array(1), jnp.array([1]), 1.0, jnp.array(1.0), jnp.array([[1]]), "1", scalars=True)
    arguments = {
        "y_t": Real(jnp.array([0.5, -1.0, 2.0]), fits=lambda shape: len(shape) == 1 and shape[0] > 0)
    }
    softmax = losses.softmax_cross_entropy
    yield Call("losses.softmax_cross_entropy", partial(softmax, None), arguments | {"target_t": classes})
    lengths = Opaque(np.array([1, 3]), [0, 3], [1, 9], np.array([1.5, 2]), np.array([[1, 2]]), [-1], ["a"], 3,
                     jnp.array([1.0, 2.0]), np.array([True, False]), but=("an empty list",))  # fmt: skip
    weights = {"lengths": lengths, "length": Count(4, 3), "form": Choice("mean", ("last", "mean", "sum"))}
    yield Call("weights_from_lengths", jaxrnn.weights_from_lengths, weights)
    any_size = lambda shape: shape[:2] == (B, T)  # noqa: E731
    batch = batch_arguments()["batch"]
    parts = Batch(*[Real(kind.value, nan=False, fits=any_size) for kind in batch.kinds[:2]], Fixed(None))
    batch = Tree(parts)
    # It puts keys beside the inputs, which may be any tree [B, T, ...].
    batch.bad = batch.bad.filter(
        lambda bad: not any(word in bad.label for word in ("swapped", "complex", "keys", "None", "an empty"))
    )
    yield Call("cells.with_keys", lambda batch, key: jax.random.key_data(cells.with_keys(batch, key).xs[1]),
               {"batch": batch, "key": Key()})  # fmt: skip


def _diagnosis():
    found = batch_arguments()
    one = {"step": Function(CELL.step), "step_loss": Function(losses.squared_error)} | found
    one |= {"sequences": Count(2, 1), "threshold": Number(100.0, lambda x: x > 1)}
    one |= {"gamma": Number(1.0, lambda x: x >= 0, optional=True)}
    one |= {
        "W_hh": Real(np.eye(3), optional=True, fits=lambda s: len(s) == 2 and s[0] == s[1] > 0, nan=False)
    }
    judged = lambda **o: jaxrnn.diagnose(**o).window_error  # noqa: E731
    yield Call("diagnose", judged, {name: refused(kind) for name, kind in one.items()}, eager=True)
    batch = found["batch"].value
    advice = {
        "cell": Opaque(CELL),
        "params": found["params"],
        "batches": Opaque([batch] * 3, [batch], [batch, 1, 2], ["a"] * 3, batch),
    }
    advice |= {"step_loss": Function(losses.squared_error), "tolerance": Number(0.1, lambda x: 0 < x < 1)}
    advice |= {"truncation": Function(gradients.chunked), "lags": Count(2, 1, optional=True)}
    asked = lambda **o: jaxrnn.suggest_window(**o).bias  # noqa: E731
    yield Call("suggest_window", asked, {name: refused(kind) for name, kind in advice.items()}, eager=True)
    data = lambda key: batch  # noqa: E731, ARG005
    compared = {"cell": Opaque(CELL), "step_loss": Function(losses.squared_error), "data": Function(data)}
    compared |= {
        "optimizer": Opaque(optax.sgd(0.1)),
        "key": Key(),
        "steps": Count(1, 1),
        "seeds": Count(1, 1),
    }
    compared |= {
        "windows": Opaque([2, None], [0], ["a"], [1.5], 3),
        "truncation": Function(gradients.chunked),
    }
    compared |= {
        "held_out": Function(data, optional=True),
        "monitor_every": Count(1, 1),
        "progress": Fixed(False),
    }
    run = lambda **o: jaxrnn.compare(**o).cosine  # noqa: E731
    yield Call("compare", run, {name: refused(kind) for name, kind in compared.items()}, eager=True)


def calls():
    """Every call of this room."""
    for room in (_estimators, _measures, _by_hand, _losses, _diagnosis):
        yield from room()
