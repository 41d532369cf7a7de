"""What the gradient looks like: steps, products, norms, spectra, growth rates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import cells, jacobians
from jaxrnn.jacobians import oracle
from validation.malformed.cells import kind_of, params_of
from validation.malformed.judge import Call
from validation.malformed.kinds import (
    Bad,
    Choice,
    Count,
    Fixed,
    Function,
    Kind,
    Number,
    Opaque,
    Real,
    st,
)
from validation.malformed.trees import Tree

__all__ = ["Indices", "calls", "run_of"]

T, N = 4, 3


class Indices(Kind):
    """A list of Python integers within 0..T."""

    def __init__(self, value, high=T, low=0):
        self.value = value
        numbers = Count(value[0], low, high).bad.map(
            lambda bad: bad._replace(value=[bad.value], canonical=[bad.canonical])
        )
        bare = Count(value[0], low, high).bad.map(lambda bad: bad._replace(verdict="refuse"))
        plain = bare.filter(lambda bad: not bad.label.startswith(("a list", "an array [1]", "an empty list")))
        made = {"a tuple": tuple(value), "NumPy": np.array(value), "JAX": jnp.array(value)}
        same = st.sampled_from(sorted(made)).map(lambda name: Bad(name, "same", made[name], value))
        tables = st.sampled_from(
            [[value], jnp.ones((2, 2)), np.ones((1, 1), int), np.array(1.5), [[1], [1, 2]]]
        )
        self.bad = st.one_of(numbers, plain, same, tables.map(lambda x: Bad("no list", "refuse", x)))


def _square(shape):
    return len(shape) == 3 and shape[1] == shape[2] > 0


def _reaches_t(shape):
    """Whether pairs up to t = 3 are within."""
    return _square(shape) and shape[0] >= 3


def _several_steps(shape):
    return _square(shape) and shape[0] > 0


def _of_chains(js):
    table, some = Real(js, fits=_square), Real(js, fits=_reaches_t)
    pairs = {"t": Count(3, 1, T, optional=True), "k": Count(1, 0, 3)}
    rows = {"at": Indices([T]), "lags": Indices([1])}
    yield Call("jacobians.norms", jacobians.norms, {"js": table})
    yield Call("jacobians.norms", jacobians.norms, {"js": some} | rows)
    yield Call(
        "jacobians.spectra", jacobians.spectra, {"js": some, "top": Count(2, 1, N, optional=True)} | rows
    )
    yield Call("jacobians.spectrum", jacobians.spectrum, {"js": some} | pairs)
    fan = {"js": Real(js, fits=_several_steps), "lags": Indices([1])}
    yield Call("jacobians.spectrum_fan", lambda js, lags: jacobians.spectrum_fan(js, lags), fan)
    yield Call("jacobians.log_norm", jacobians.log_norm, {"js": table})
    yield Call("jacobians.product_bound", jacobians.product_bound, {"js": table})
    yield Call("jacobians.eigenvalues", jacobians.eigenvalues, {"js": table})
    rates = {"js": some, "k": Count(2, 1, N, optional=True), "warm_up": Count(1, 0, T - 1)}
    yield Call("jacobians.growth_rates", jacobians.growth_rates, rates)
    yield Call("jacobians.growth_rates", jacobians.growth_rates, {"js": Real(js, fits=_several_steps)})
    bs = Real(
        np.random.default_rng(1).normal(size=(T, N, 2)),
        fits=lambda s: len(s) == 3 and s[:2] == (T, N) and s[2],
    )
    yield Call("jacobians.input_norms", jacobians.input_norms, {"js": some, "bs": bs})
    yield Call("jacobians.input_norms", jacobians.input_norms, {"js": some, "bs": bs} | rows)
    parts = (jnp.ones(1), jnp.ones(2))
    wrong = ((jnp.ones(2),), {"h": jnp.ones(4)}, ("a", jnp.ones(2)), (jnp.asarray(np.ones(3, complex)),))
    state = Opaque(parts, *wrong, but=("a dict",))
    state.bad = state.bad.filter(lambda bad: bad.label != "an array")
    blocks = {
        "js": Real(js, fits=lambda s: len(s) == 3 and s[0] > 1 and s[1:] == (N, N)),
        "state": state,
        "by": Choice("layer", ("leaf", "layer")),
    }
    yield Call("jacobians.block_norms", jacobians.block_norms, blocks | rows)
    square = lambda shape: len(shape) == 2 and shape[0] == shape[1]  # noqa: E731
    bound = {"W_hh": Real(js[0], fits=square), "gamma": Number(1.0, lambda x: x >= 0), "lags": Count(2, 0)}
    bound["lags"].bad = bound["lags"].bad.filter(
        lambda bad: not any(word in bad.label for word in ("array", "list", "traced"))
    )
    yield Call("jacobians.norm_bound", jacobians.norm_bound, bound)


def _of_tables(js):
    found = jax.jit(jacobians.norms)(js)
    wrong = [found._replace(log_norm=np.ones(shape)) for shape in ((), (3,), (3, 4), (2, 2, 3))]
    wrong += [found._replace(log_norm="table"), found._replace(log_norm=None)]
    yield Call("jacobians.norm_by_lag", jacobians.norm_by_lag, {"result": Opaque(found, *wrong)})
    some = jax.jit(lambda js: jacobians.norms(js, at=[T], lags=[1]))(js)
    rows = {"at": Opaque([T], 4, [2, 3], [0.5]), "lags": Opaque([1], 1, [1, 2], ["a"])}
    yield Call("jacobians.norm_by_lag", jacobians.norm_by_lag, {"result": Opaque(some)} | rows)


def run_of(trajectory):
    """Its ys are read by no one."""
    parts = [kind_of(part, nan=False) for part in (trajectory.h_0, trajectory.hs)]
    return Tree(type(trajectory)(*parts, Fixed(trajectory.ys), kind_of(trajectory.xs, nan=False)))


def _of_steps():
    for cell in (cells.elman(2, 3), cells.lstm(2, 2)):
        params, xs = params_of(cell), jnp.asarray(np.random.default_rng(2).normal(size=(T, 2)))
        trajectory = jax.jit(lambda p, x, cell=cell: jaxrnn.unroll(cell.step, p, cell.init_state(p), x))(
            params, xs
        )
        run = {
            "step": Function(cell.step),
            "params": kind_of(params, more=True),
            "trajectory": run_of(trajectory),
        }
        pairs = {"t": Count(3, 1, T), "k": Count(1, 0, 3)}
        yield Call("jacobians.step_jacobians", jacobians.step_jacobians, run)
        yield Call("jacobians.product", jacobians.product, run | pairs)
        yield Call("jacobians.last_products", jacobians.last_products, run)
        yield Call("jacobians.input_jacobians", jacobians.input_jacobians, run)
        n = sum(leaf.size for leaf in jax.tree.leaves(trajectory.h_0))
        to_end = {"t": Count(3, 1, T, optional=True), "k": Count(1, 0, 3)}
        top = {"top": Count(1, 1, n), "sweeps": Count(1, 1)}
        yield Call("jacobians.leading_spectrum", jacobians.leading_spectrum, run | to_end | top)
        counts = {"k": Count(1, 1, n), "warm_up": Count(1, 0, T - 1)}
        yield Call("jacobians.leading_growth_rates", jacobians.leading_growth_rates, run | counts)


def _of_unroll():
    several = lambda shape: len(shape) == 2 and shape[1] == 2  # noqa: E731
    for cell in (cells.elman(2, 3), cells.lstm(2, 2), cells.stack(cells.gru(2, 2), cells.dense(2, 1))):
        params, xs = params_of(cell), jnp.asarray(np.random.default_rng(3).normal(size=(T, 2)))
        run = {
            "step": Function(cell.step),
            "params": kind_of(params, more=True),
            "h_0": kind_of(cell.init_state(params)),
            "xs": Real(xs, fits=several),
        }
        yield Call("unroll", jaxrnn.unroll, run)
        fixed = run | {
            "xs": Real(xs),
            "length": Count(T, T, T, optional=True),
            "segment": Count(2, 1, optional=True),
        }
        yield Call("unroll", jaxrnn.unroll, fixed)

        def probe(step, params=params, xs=xs, cell=cell):
            return jaxrnn.mixed_precision(step)(params, cell.init_state(params), xs[0])

        yield Call("mixed_precision", probe, {"step": Function(cell.step)})


def _of_oracle(js):
    js = np.asarray(js)
    pairs = {"t": Count(3, 1, T, optional=True), "k": Count(1, 0, 3)}
    for name in ("log_norm", "spectrum"):
        arguments = {"js": Real(js, nan=False, fits=_reaches_t)} | pairs
        yield Call(f"jacobians.oracle.{name}", getattr(oracle, name), arguments, eager=True)


def calls():
    """Every call of this room."""
    js = jnp.asarray(0.5 * np.random.default_rng(0).normal(size=(T, N, N)))
    yield from _of_chains(js)
    yield from _of_tables(js)
    yield from _of_steps()
    yield from _of_unroll()
    yield from _of_oracle(js)
