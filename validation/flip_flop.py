"""Trained 3-bit flip-flops rest at the corners of a cube; and what a search from 4096 starts takes."""

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
NETWORKS = {
    "24 vanilla units": (jr.cells.elman(3, 24), 24, 5e-3),
    "16 LSTM units": (jr.cells.lstm(3, 16), 16, 1e-2),
}
"""name -> (layer, units, learning rate)."""
SEEDS, UPDATES = 5, 2000
SECONDS = 180.0
OFF = 0.1
"""How far an output may be from its corner, in each bit."""
STARTS, UNITS, SEARCH_SECONDS = 4096, 64, 20.0
REST = np.zeros(3)
"""The input without a pulse."""


def run() -> tuple[str, list[str]]:
    """One row a network, one a search, and the bars that are broken."""
    trained, broken = [], []
    for name, (layer, units, rate) in NETWORKS.items():
        began = time.perf_counter()
        cell = jr.cells.stack(layer, jr.cells.dense(units, 3))
        many, losses = _trained(cell, rate)
        rows = [_row(cell, jax.tree.map(lambda leaf, seed=seed: leaf[seed], many)) for seed in range(SEEDS)]
        seconds = time.perf_counter() - began
        for seed, (corners, off, unstable, between) in enumerate(rows):
            row = (str(corners), f"{off:.3f}", unstable, between)
            trained.append((f"{name}, {seed}", f"{losses[seed]:.1e}", *row))
            if (unstable.split(", ")[0], corners) != ("8", 8) or not off <= OFF or " of " in between:
                broken.append(f"{name}, seed {seed}: {'; '.join(row)}")
        trained.append((f"{name}, all", "", "", "", "", f"{seconds:.0f} s"))
        if seconds > SECONDS:
            broken.append(f"{name}: {seconds:.0f} s")
    searches = []
    for dtype in (jnp.float32, jnp.float64):
        seconds, converged, count = _search(dtype)
        searches.append((jnp.dtype(dtype).name, f"{seconds:.1f}", f"{converged:.1%}", str(count)))
        if seconds > SEARCH_SECONDS:
            broken.append(f"{STARTS} starts in {jnp.dtype(dtype).name}: {seconds:.1f} s")
    header = ("network, seed", "loss", "corners found", "off by", "points by unstable directions", "saddles")
    text = (
        f"{UPDATES} updates of Adam, then 1024 starts along trajectories. To be found are exactly 8 stable "
        f"points, each with the outputs of another corner of the cube within {OFF}; and from each saddle of "
        "one unstable direction the network goes to one stable point along it and to another one against it. "
        f"Training and analysis of {SEEDS} seeds in at most {SECONDS:.0f} s."
    )
    search = (
        f"{STARTS} starts, {UNITS} tanh units of gain 1.5, compiled, in at most {SEARCH_SECONDS:.0f} s:\n\n"
        + table(("dtype", "seconds", "converged", "points"), searches)
    )
    return f"{text}\n\n{table(header, trained)}\n\n{search}", broken


def _trained(cell, rate):
    """Parameters [S, ...], and the mean loss of the last 20 updates."""
    task = jr.tasks.flip_flop(length=50)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, UPDATES))
    )
    full = jr.gradients.full(cell.step, task.step_loss, init_state=cell.init_state)
    result = jr.training.train(
        cell, full, optimizer, task.sample, steps=UPDATES, seeds=SEEDS, key=jax.random.key(1), progress=False
    )
    return result.params, np.asarray(result.history.loss)[:, -20:].mean(axis=1)


@partial(jax.jit, static_argnums=0)
def _searched(cell, params):
    xs = jr.tasks.flip_flop(length=50).sample(jax.random.key(2)).xs
    hs = jax.vmap(lambda xs: jr.unroll(cell.step, params, cell.init_state(params), xs).hs)(xs)
    visited = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), hs)
    starts = dynamics.states_along(visited, count=1024, noise=0.5, key=jax.random.key(3))
    return dynamics.fixed_points(cell.step, params, REST, starts, merge=1e-2)


def _row(cell, params):
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
