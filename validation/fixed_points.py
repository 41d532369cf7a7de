"""Trained flip-flops rest at the corners of a cube, sine generators turn around a point; searches timed."""

from __future__ import annotations

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import jaxrnn as jr
from jaxrnn import dynamics
from jaxrnn._pytree import ravel
from validation.harness import table

TITLE = "Fixed points of trained networks"
FLIP_FLOPS = {
    "24 vanilla units": (jr.cells.elman(3, 24), 24, 5e-3),
    "16 LSTM units": (jr.cells.lstm(3, 16), 16, 1e-2),
}
"""name -> (layer, units, learning rate)."""
SINE_GENERATORS = {
    "32 GRU units": (jr.cells.gru(1, 32), 32, 5e-3),
    "64 vanilla units": (jr.cells.elman(1, 64), 64, 2e-3),
}
SEEDS, UPDATES = 5, 2000
SECONDS = 180.0
OFF = 0.1
"""How far an output may be from its corner, in each bit."""
DEVIATION = 0.1
"""How far the frequency at the point may be from the one that is asked for: the median over the inputs."""
STARTS, UNITS, SEARCH_SECONDS = 4096, 64, 20.0
REST = np.zeros(3)
"""The input without a pulse."""


def run() -> tuple[str, list[str]]:
    """A table of each kind of network and of the searches, and the bars that are broken."""
    parts = [_memories(), _oscillations(), _searches()]
    return "\n\n".join(text for text, _ in parts), [bar for _, broken in parts for bar in broken]


def _memories():
    rows, broken = [], []
    task = jr.tasks.flip_flop(length=50)
    for name, (layer, units, rate) in FLIP_FLOPS.items():
        began = time.perf_counter()
        cell = jr.cells.stack(layer, jr.cells.dense(units, 3))
        for seed, (params, loss) in enumerate(_trained(cell, task, rate)):
            corners, off, unstable, between = _memory(cell, params)
            row = (str(corners), f"{off:.3f}", unstable, between)
            rows.append((f"{name}, {seed}", f"{loss:.1e}", *row))
            if (unstable.split(", ")[0], corners) != ("8", 8) or not off <= OFF or " of " in between:
                broken.append(f"flip-flop, {name}, seed {seed}: {'; '.join(row)}")
        seconds = time.perf_counter() - began
        rows.append((f"{name}, all", "", "", "", "", f"{seconds:.0f} s"))
        if seconds > SECONDS:
            broken.append(f"flip-flop, {name}: {seconds:.0f} s")
    header = ("network, seed", "loss", "corners found", "off by", "points by unstable directions", "saddles")
    text = (
        f"**Three bits.** {UPDATES} updates of Adam, then 1024 starts along trajectories. To be found are "
        f"exactly 8 stable points, each with the outputs of another corner of the cube within {OFF}; "
        "and from each saddle with one unstable direction the network goes to one stable point along "
        "it and to another one against it. "
        f"Training and analysis of {SEEDS} seeds in at most {SECONDS:.0f} s."
    )
    return f"{text}\n\n{table(header, rows)}", broken


def _oscillations():
    rows, broken = [], []
    task = jr.tasks.sine_generator()
    levels, asked = 0.25 + np.arange(51) / 51, np.linspace(0.02, 0.1, 51)
    for name, (layer, units, rate) in SINE_GENERATORS.items():
        cell = jr.cells.stack(layer, jr.cells.dense(units, 1))
        for seed, (params, loss) in enumerate(_trained(cell, task, rate)):
            turns = _turning(cell, params, jnp.asarray(levels))
            found = np.isfinite(turns)
            off = np.abs(turns / asked - 1)
            median = np.nanmedian(off)
            row = (f"{found.sum()} of 51", f"{median:.1%}", f"{np.nanmax(off):.1%}")
            rows.append((f"{name}, {seed}", f"{loss:.1e}", *row))
            if not (found.all() and median <= DEVIATION):
                broken.append(f"sine generator, {name}, seed {seed}: {'; '.join(row)}")
    header = ("network, seed", "loss", "inputs with such a point", "frequency off by, median", "worst")
    text = (
        f"**Oscillations.** {UPDATES} updates of Adam on the sine generator, then 32 starts along the "
        "trajectory at each of its 51 inputs. To be found at every input is a point with exactly one complex "
        "pair outside of the unit circle, which turns at the frequency that this input asks for to within "
        f"{DEVIATION:.0%} in the median. That is the frequency of small oscillations, and those of the "
        f"output are large. The mean of each oscillation has a loss of {task.baseline:.2f}."
    )
    return f"{text}\n\n{table(header, rows)}", broken


def _searches():
    rows, broken = [], []
    for dtype in (jnp.float32, jnp.float64):
        seconds, converged, count = _search(dtype)
        rows.append((jnp.dtype(dtype).name, f"{seconds:.1f}", f"{converged:.1%}", str(count)))
        if seconds > SEARCH_SECONDS:
            broken.append(f"{STARTS} starts in {jnp.dtype(dtype).name}: {seconds:.1f} s")
    text = (
        f"**Searches.** {STARTS} starts, {UNITS} tanh units of gain 1.5, compiled, in at most "
        f"{SEARCH_SECONDS:.0f} s:"
    )
    return f"{text}\n\n{table(('dtype', 'seconds', 'converged', 'points'), rows)}", broken


def _trained(cell, task, rate):
    """Of each seed its parameters, and the mean loss of the last 20 updates."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, UPDATES))
    )
    full = jr.gradients.full(cell.step, task.step_loss, init_state=cell.init_state)
    result = jr.training.train(
        cell, full, optimizer, task.sample, steps=UPDATES, seeds=SEEDS, key=jax.random.key(1), progress=False
    )
    losses = np.asarray(result.history.loss)[:, -20:].mean(axis=1)
    return [(result.seed(seed), loss) for seed, loss in enumerate(losses)]


@partial(jax.jit, static_argnums=0)
def _searched(cell, params):
    xs = jr.tasks.flip_flop(length=50).sample(jax.random.key(2)).xs
    hs = jax.vmap(lambda xs: jr.unroll(cell.step, params, cell.init_state(params), xs).hs)(xs)
    visited = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), hs)
    starts = dynamics.states_along(visited, count=1024, noise=0.5, key=jax.random.key(3))
    return dynamics.fixed_points(cell.step, params, REST, starts, merge=1e-2)


def _memory(cell, params):
    """Of one network: corners found, how far off, points by unstable directions, and the saddles' ways."""
    points = _searched(cell, params).of_kind()
    modes = dynamics.stability(cell.step, params, REST, points)
    stable, unstable = np.asarray(modes.stable), np.asarray(modes.unstable)
    outputs = np.asarray(jax.vmap(lambda h: cell.step(params, h, REST)[1])(points))[stable]
    corners = len(np.unique(np.sign(outputs), axis=0))
    flat = np.asarray(jax.vmap(ravel)(points))
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], points))

    @jax.jit
    @jax.vmap
    def later(start):
        hs = jr.unroll(cell.step, params, unravel(start), jnp.broadcast_to(REST, (1000, 3))).hs
        return ravel(jax.tree.map(lambda leaf: leaf[-1], hs))

    saddles = unstable == 1
    away = 1e-3 * np.asarray(modes.right)[saddles, :, 0].real
    ends = [np.asarray(later(jnp.asarray(flat[saddles] + sign * away))) for sign in (1, -1)]
    distance = [np.linalg.norm(end[:, None] - flat[stable][None], axis=-1) for end in ends]
    first, second = (d.argmin(axis=1) for d in distance)
    good = (first != second) & (np.maximum(*(d.min(axis=1) for d in distance)) < 1e-3)
    between = f"{good.sum()} between two"
    if not good.all() or not saddles.any():
        between = f"{good.sum()} of {saddles.sum()} between two"
    counts = ", ".join(map(str, np.bincount(unstable)))
    return corners, float(np.abs(np.abs(outputs) - 1).max()), counts, between


@partial(jax.jit, static_argnums=0)
def _around(cell, params, levels):
    """At each of the inputs which of its starts' ends are distinct points, and the modes of all ends."""

    def at(level):
        x = level[None]
        hs = jr.unroll(cell.step, params, cell.init_state(params), jnp.broadcast_to(x, (200, 1))).hs
        starts = dynamics.states_along(hs, count=32, noise=0.3, key=jax.random.key(3))
        found = dynamics.fixed_points(cell.step, params, x, starts, merge=1e-2)
        modes = dynamics.stability(cell.step, params, x, found.states)
        return found.distinct & found.converged, modes

    return jax.vmap(at)(levels)


def _turning(cell, params, levels):
    """The frequency of a point with one unstable pair at each of the inputs; NaN where there is none."""
    distinct, modes = _around(cell, params, levels)
    turns = np.asarray(modes.frequencies)[..., 0]
    pairs = np.asarray(distinct) & (np.asarray(modes.unstable) == 2) & (turns > 0)
    return np.where(pairs.any(axis=1), turns[np.arange(len(turns)), pairs.argmax(axis=1)], np.nan)


def _search(dtype):
    """Seconds of a compiled search, the share of starts that converged, and how many points they found."""
    W = (1.5 / np.sqrt(UNITS) * jax.random.normal(jax.random.key(0), (UNITS, UNITS))).astype(dtype)
    starts = jax.random.uniform(jax.random.key(1), (STARTS, UNITS), dtype, minval=-1.0)

    def step(W, h, x):
        h = jnp.tanh(W @ h)
        return h, x

    search = jax.jit(lambda W, starts: dynamics.fixed_points(step, W, None, starts))
    compiled = search.lower(W, starts).compile()
    began = time.perf_counter()
    found = jax.block_until_ready(compiled(W, starts))
    return time.perf_counter() - began, float(found.converged.mean()), int(found.distinct.sum())
