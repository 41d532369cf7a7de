"""Where the dynamics rest: starts, fixed points, stability, branches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import cells, dynamics
from validation.malformed.cells import kind_of, params_of
from validation.malformed.jacobians import run_of
from validation.malformed.judge import Call
from validation.malformed.kinds import Bad, Count, Function, Key, Kind, Number, Opaque, Real, junk, st

__all__ = ["calls"]

S = 3


def _searched(step, params, x, starts, **options):
    """What of a search does not depend on the last digits."""
    return dynamics.fixed_points(step, params, x, starts, **options).states


def _modes(step, params, x, points):
    """Without the vectors, whose signs are free."""
    return dynamics.stability(step, params, x, points).eigenvalues


def _followed(step, at, state, along, points, longest):
    """Where it led; how far it is from one point to the next is free."""
    branch = dynamics.continuation(step, at, state, along=along, points=points, longest=longest)
    return branch.values[0], jax.tree.map(lambda leaf: leaf[0], branch.states)


class Range(Kind):
    """Two different numbers."""

    def __init__(self, value):
        self.value = value
        ends = Number(value[1]).bad.map(
            lambda bad: bad._replace(value=(value[0], bad.value), canonical=(value[0], bad.canonical))
        )
        others = [(0.5, 0.5), (0.5,), (0.5, 1.0, 1.5), (0.5, float("inf")), 0.5, jnp.ones((2, 2))]
        wrong = st.sampled_from(others).map(lambda pair: Bad("no range", "refuse", pair))
        same = {"a list": list(value), "NumPy": np.array(value), "JAX": jnp.array(value)}
        read = st.sampled_from(sorted(same)).map(lambda name: Bad(name, "same", same[name], value))
        self.bad = st.one_of(ends, wrong, read, junk())


def _states(shape):
    """Whether these are states of the Elman cell, how many they may be."""
    return len(shape) == 2 and shape[0] > 0 and shape[1] == 3


def calls():
    """Every call of this room."""
    generator = np.random.default_rng(5)
    for cell in (cells.elman(2, 3), cells.lstm(2, 2)):
        params = jax.tree.map(lambda leaf: 0.5 * leaf, params_of(cell))
        states = jax.tree.map(
            lambda leaf: jnp.asarray(generator.normal(size=(S, *leaf.shape))), cell.init_state(params)
        )
        several = Real(states, fits=_states) if isinstance(states, jax.Array) else kind_of(states)
        network = {
            "step": Function(cell.step),
            "params": kind_of(params, more=True),
            "x": Real(jnp.array([0.5, -0.5]), fits=lambda shape: shape == (2,)),
        }
        options = {
            "iterations": Count(50, 1),
            "slow": Number(0.0, lambda x: x >= 0),
            "merge": Number(1e-3, lambda x: x >= 0),
            "outlier": Number(10.0, lambda x: x >= 0),
            "optimizer": Opaque(optax.sgd(0.5), optional=True),
        }
        yield Call("dynamics.fixed_points", _searched, network | {"starts": several})
        yield Call("dynamics.fixed_points", _searched, network | {"starts": several} | options)
        yield Call("dynamics.stability", _modes, network | {"points": several})
        one = jax.tree.map(lambda leaf: leaf[0], states)
        run = jaxrnn.unroll(cell.step, params, one, jnp.ones((3, 2)))
        near = {"point": kind_of(one), "trajectory": run_of(run)}
        yield Call("dynamics.linear_approximation", dynamics.linear_approximation, network | near)
        along = {
            "step": Function(cell.step),
            "at": Function(lambda s, params=params: (params, s * jnp.ones(2))),
        }
        followed = {"state": kind_of(one), "along": Range((0.0, 0.1))}
        followed |= {"points": Count(20, 2), "longest": Number(0.2, lambda x: x > 0)}
        yield Call("dynamics.continuation", _followed, along | followed)
        reached = {"values": Real([0.1, 0.3], fits=lambda shape: len(shape) == 1), "h_0": kind_of(one)}
        yield Call("dynamics.sensitivity", dynamics.sensitivity, along | reached | {"steps": Count(3, 1)})
    hs = Real(generator.normal(size=(S, 3)), fits=lambda shape: len(shape) > 0 and shape[0] > 0)
    # Noise of another precision is other noise.
    hs.bad = hs.bad.filter(lambda bad: bad.verdict != "same" or "float" not in bad.label)
    drawn = {
        "hs": hs,
        "count": Count(2, 1),
        "noise": Number(0.1, lambda x: x >= 0),
        "key": Key(0),
    }
    yield Call("dynamics.states_along", dynamics.states_along, drawn)
