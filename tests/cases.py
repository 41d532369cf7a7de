"""What every cell and every estimator is tested on, and how two results are compared."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import Batch, cells, gradients, unroll
from jaxrnn.gradients import influence_pattern
from jaxrnn.jacobians import step_jacobians
from jaxrnn.losses import squared_error

CELLS = {
    **{f"elman_{name}": (cells.elman(3, 4, activation=name), 3) for name in cells.activations.NAMES},
    "elman_learned_h_0": (cells.elman(3, 4, learned_h_0=True), 3),
    "lstm": (cells.lstm(2, 3), 2),
    "lstm_learned_h_0": (cells.lstm(2, 3, learned_h_0=True), 2),
    "gru": (cells.gru(3, 4), 3),
    "gru_learned_h_0": (cells.gru(3, 4, learned_h_0=True), 3),
    "mgu": (cells.mgu(3, 4), 3),
    "coupled_lstm": (cells.coupled_lstm(2, 3), 2),
    "peephole_lstm": (cells.peephole_lstm(2, 3), 2),
    "orthogonal_rnn": (cells.orthogonal_rnn(3, 4), 3),
    "antisymmetric": (cells.antisymmetric(2, 3), 2),
    "leaky": (cells.leaky(2, 3, learned_alpha=True), 2),
    "min_gru": (cells.min_gru(2, 3), 2),
    "lru": (cells.lru(2, 3), 2),
    "elman_layer_norm": (cells.elman(3, 4, normalization=cells.layer_norm()), 3),
    "skip_gru": (cells.skip(cells.gru(2, 2), 2), 2),
    "lstm_dense": (cells.stack(cells.lstm(2, 3), cells.dense(3, 2)), 2),
    "gru_residual_elman": (cells.stack(cells.gru(2, 3), cells.residual(cells.elman(3, 3))), 2),
    "learned_stack": (
        cells.stack(
            cells.gru(2, 3, learned_h_0=True), cells.elman(3, 2, learned_h_0=True), cells.dense(2, 2)
        ),
        2,
    ),
}
"""name -> (cell, input size)."""

LEARNED = [name for name in CELLS if "learned" in name]
FEW = ["elman_tanh", "lstm_dense", "gru_residual_elman", "learned_stack"]
"""Cells that differ in kind, for tests that cost too much for all of them."""

DETERMINISTIC = {
    "full": gradients.full,
    "rtrl": gradients.rtrl,
    **{f"chunked_{K}": partial(gradients.chunked, window=K) for K in (1, 3, 50)},
    **{f"sliding_{K}": partial(gradients.sliding, window=K) for K in (1, 3, 50)},
}
"""name -> constructor(step, step_loss, **options), of estimators whose value a sum of terms gives."""


def snap(step, step_loss, **options):
    """SnAp-1 of one of the cells."""
    return gradients.snap(step, step_loss, pattern=_snap_1_pattern(step), **options)


@cache
def _snap_1_pattern(step):
    cell, input_size = next(item for item in CELLS.values() if item[0].step is step)
    with jax.ensure_compile_time_eval():
        params, h_0, xs = make_sequence(cell, input_size, 4)
        trajectory = unroll(step, params, h_0, xs)
        return influence_pattern(step, params, trajectory, init_state=cell.init_state)


ESTIMATORS = DETERMINISTIC | {
    "adaptive": partial(gradients.adaptive, tolerance=0.2, max_window=4),
    "chunked_3_every_2": partial(gradients.chunked, window=3, every=2),
    "snap": snap,
    "artbp": partial(gradients.artbp, mean_length=3.0),
    "randomized": partial(gradients.randomized, keep=0.7),
    "uoro": gradients.uoro,
    "forward": partial(gradients.forward, directions=2),
}

EPS_12 = 4000
"""4000 eps is 0.9e-12 in float64: the bar that the gradients have to meet."""


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def make_params(cell, seed=0, dtype=jnp.float64, noise=0.1):
    """The cell's own start plus noise in every leaf, so that no bias and no learned h_0 is zero."""
    key, key_noise = jax.random.split(jax.random.key(seed))
    leaves, structure = jax.tree.flatten(cell.init(key))
    keys = jax.random.split(key_noise, len(leaves))
    noisy = [
        leaf + noise * jax.random.normal(k, leaf.shape, leaf.dtype)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return cast(jax.tree.unflatten(structure, noisy), dtype)


def make_sequence(cell, input_size, T, seed=0, dtype=jnp.float64):
    """(params, a random h_0, xs [T, d])."""
    params = make_params(cell, seed, dtype)
    rng = np.random.default_rng(seed + 1)
    h_0 = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), dtype), cell.init_state(params))
    return params, h_0, jnp.asarray(rng.normal(size=(T, input_size)), dtype)


def make_batch(cell, input_size, B, T, seed=0, dtype=jnp.float64, weights=None):
    """(params, random h_0 [B, ...], Batch of real targets)."""
    params = make_params(cell, seed, dtype)
    rng = np.random.default_rng(seed + 2)
    h_0 = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), dtype), cell.initial_states(params, B)
    )
    x = jnp.zeros(input_size, dtype)
    size = jax.eval_shape(lambda: cell.step(params, cell.init_state(params), x)[1]).shape
    xs = jnp.asarray(rng.normal(size=(B, T, input_size)), dtype)
    targets = jnp.asarray(rng.normal(size=(B, T, *size)), dtype)
    return params, h_0, Batch(xs, targets, weights)


@partial(jax.jit, static_argnums=0)
def run(cell, params, h_0, xs):
    """The Trajectory; compiled once a cell and shape, for all tests together."""
    return unroll(cell.step, params, h_0, xs)


@partial(jax.jit, static_argnums=0)
def run_jacobians(cell, params, h_0, xs):
    """(Trajectory, step Jacobians)."""
    trajectory = unroll(cell.step, params, h_0, xs)
    return trajectory, step_jacobians(cell.step, params, trajectory)


@partial(jax.jit, static_argnames=("constructor", "cell", "start", "window", "every"))
def estimate(constructor, cell, params, h_0, batch, *, start=False, window=None, every=None):
    """(GradientEstimate, carry) of one batch under the squared error; `start` passes init_state."""
    options = {"init_state": cell.init_state if start else None, "window": window, "every": every}
    options = {name: value for name, value in options.items() if value is not None}
    estimator = constructor(cell.step, squared_error, **options)
    return estimator.estimate(params, estimator.init(params, h_0), batch, jax.random.key(0))


def adversarial_chains(T=12, n=3, count=40):
    """(kind, chain [T, n, n]): random, graded, re-seeding, cancelling, underflowing and singular."""
    rng = np.random.default_rng(7)

    def orthogonal(seed):
        return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]

    swap = np.eye(n)[::-1]
    for i in range(count):
        A = rng.normal(size=(T, n, n))
        U, V = orthogonal(2 * i), orthogonal(2 * i + 1)
        grade = np.diag(10.0 ** -np.arange(0, 3 * n, 3))
        rank_one = rng.normal(size=(T, n, 1)) * rng.normal(size=(T, 1, n))
        half = np.where((np.arange(T) < T // 2)[:, None, None], grade, np.linalg.inv(grade))
        yield "random", A
        yield "scaled", A * 10.0 ** rng.integers(-30, 30, size=(T, 1, 1))
        yield "graded", U @ grade @ V * np.ones((T, 1, 1))
        yield "contract, then expand", U @ half @ U.T
        yield "crossing", np.where((np.arange(T) % 4 < 2)[:, None, None], grade, swap @ grade @ swap)
        yield "nearly singular", rank_one + 1e-6 * A
        yield "triangular", np.triu(A) + 10 * np.triu(np.ones((n, n)), 1)
        yield "cancelling", A - np.where(np.arange(T) % 2, 1, -1)[:, None, None] * A[:, ::-1]


def tolerance(dtype, factor):
    """`factor` units of rounding in that dtype."""
    return factor * float(jnp.finfo(dtype).eps)


def assert_close(actual, expected, factor=100):
    """Trees agree to `factor` eps of the coarser dtype, relative to the largest expected entry of each leaf.

    Infinities and integers must match exactly, and NaN agrees with nothing.
    """
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        name = jax.tree_util.keystr(path)
        assert a.shape == b.shape, f"{name}: shape {a.shape}, expected {b.shape}"
        floating = [x.dtype for x in (a, b) if np.issubdtype(x.dtype, np.floating)]
        if not floating:
            assert np.array_equal(a, b), f"{name}: {a}, expected {b}"
            continue
        eps = max(tolerance(dtype, 1) for dtype in floating)
        finite = np.isfinite(b)
        assert np.array_equal(a[~finite], b[~finite]), f"{name}: {a}, expected {b}"
        if not finite.any():
            continue
        error = np.abs(a[finite] - b[finite])
        allowed = factor * eps * max(np.abs(b[finite]).max(), np.finfo(np.float64).tiny)
        assert (error <= allowed).all(), f"{name}: off by {error.max():.3e}, allowed {allowed:.3e}"
