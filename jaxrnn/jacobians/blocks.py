"""Which part of the state, or of the input, the gradient passes through: blocks of ∂h_t/∂h_k (E16)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn import _checks
from jaxrnn._pytree import leaf_paths, ravel, state_step
from jaxrnn._sharding import where_it_lies
from jaxrnn.jacobians._products import View
from jaxrnn.jacobians.norms import Norms, norms_of_views
from jaxrnn.types import Params, State, StepFn, Trajectory

__all__ = ["block_norms", "input_jacobians", "input_norms"]


@_checks.signature("jacobians.block_norms")
def block_norms(
    js: Float[Array, "T n n"],
    state: State,
    *,
    by: str = "leaf",
    at: Sequence[int] | None = None,
    lags: Sequence[int] | None = None,
) -> dict[str, dict[str, Norms]]:
    """Norms of the blocks ∂(part of h_t)/∂(part of h_k), such as ∂c_t/∂c_k of an LSTM (E16).

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`.
    state : a state of that network, for example ``trajectory.h_0``; only its structure is read.
    by : ``"leaf"`` takes each leaf of the state as a part, named by its path: ``h``, ``c``, ``0.h``.
        ``"layer"`` takes what shares the first entry of the path, the layers of a `cells.stack`: the map of
        depth against time.
    at, lags : as for `norms`.

    Returns
    -------
    dict
        ``result["c"]["h"]`` are the `Norms` of ∂c_t/∂h_k; parts in the order of the state.

    Raises
    ------
    ValueError
        If js is not [T, n, n], `by` is unknown, or `state` has not n entries.
    IndexError
        If a time or a lag lies outside 0..T.

    Notes
    -----
    Blocks are cut from the whole product, since a path may leave a part of the state and come back. Each
    has the error bound of the whole product relative to its own norm. Time: one sweep as for `norms`, with a
    largest singular value for every block.

    Example
    -------
    >>> from jaxrnn.cells.lstm import LSTMState
    >>> js = jnp.broadcast_to(jnp.array([[0.5, 0.25], [0.0, 1.0]]), (2, 2, 2))
    >>> norms_of = block_norms(js, LSTMState(h=jnp.zeros(1), c=jnp.zeros(1)))
    >>> norms_of["c"]["c"].log_norm[2, 0], norms_of["c"]["h"].log_norm[2, 0]
    (Array(0., dtype=float32), Array(-inf, dtype=float32))
    """
    _, n = _checks.jacobian_chain("jacobians.block_norms", js)
    _checks.choice("jacobians.block_norms", "by", by, ("leaf", "layer"))
    _checks.floating_leaves("jacobians.block_norms", "state", state, "It is h_0, or its shapes and dtypes.")
    parts = _parts(state, by)
    total = sum(part.stop - part.start for part in parts.values())
    if total != n:
        raise ValueError(
            f"jacobians.block_norms: the state has {total} entries in {list(parts)}; js is of n = {n}."
        )
    views = tuple(View(rows, cols) for rows in parts.values() for cols in parts.values())
    _, *blocks = norms_of_views("jacobians.block_norms", js, views, at, lags)
    found = iter(blocks)
    # jax.jit sorts the keys of a plain dict, and layer 10 would come before layer 2.
    return OrderedDict((to, OrderedDict((of, next(found)) for of in parts)) for to in parts)


def _parts(state, by):
    """name -> slice of the raveled state, in order; empty leaves have no part."""
    names = [path if by == "leaf" else path.partition(".")[0] for path in leaf_paths(state)]
    parts, start = {}, 0
    for name, group in groupby(zip(names, jax.tree.leaves(state), strict=True), key=lambda pair: pair[0]):
        size = sum(jnp.size(leaf) for _, leaf in group)
        if size:
            parts[name or "h"] = slice(start, start + size)
        start += size
    return parts


@_checks.signature("jacobians.input_jacobians")
@where_it_lies
def input_jacobians(step: StepFn, params: Params, trajectory: Trajectory) -> Float[Array, "T n d"]:
    """``bs[i] = ∂h_{i+1}/∂x_{i+1}`` of the raveled state and input, for every step of one sequence.

    Parameters
    ----------
    step, params, trajectory : as for `step_jacobians`; the inputs are floating arrays.

    Returns
    -------
    [T, n, d], in the state's dtype.

    Raises
    ------
    TypeError
        If an input is not a floating array: there is no derivative with respect to a token.
    ValueError
        If the trajectory is a batch, or state or input have no entries.

    Notes
    -----
    Forward mode, all steps at once: d tangents a step in time, T·n·d in memory.

    Example
    -------
    >>> from jaxrnn.recurrence import unroll
    >>> linear = lambda w, h, x: (w * h + 3 * x, h)
    >>> trajectory = unroll(linear, 0.5, jnp.zeros(1), jnp.ones((2, 1)))
    >>> input_jacobians(linear, 0.5, trajectory).ravel()
    Array([3., 3.], dtype=float32)
    """
    _checks.trajectory("jacobians.input_jacobians", trajectory)
    if not sum(jnp.size(leaf) for leaf in jax.tree.leaves(trajectory.xs)):
        raise ValueError("jacobians.input_jacobians: the network has no input (d = 0) to differentiate by.")
    _checks.floating_leaves(
        "jacobians.input_jacobians",
        "trajectory.xs",
        trajectory.xs,
        "Tokens have no derivative; feed them one-hot or embedded.",
    )

    def at_step(h_tm1, x_t):
        flat_x, unravel = jax.flatten_util.ravel_pytree(x_t)

        def of_input(flat_x):
            return state_step(step, params, trajectory.h_0)(ravel(h_tm1), unravel(flat_x))

        return jax.jacfwd(of_input)(flat_x)

    return jax.vmap(at_step)(trajectory.h_tm1s, trajectory.xs)


@_checks.signature("jacobians.input_norms")
@where_it_lies
def input_norms(
    js: Float[Array, "T n n"],
    bs: Float[Array, "T n d"],
    *,
    at: Sequence[int] | None = None,
    lags: Sequence[int] | None = None,
) -> Norms:
    """``ln ‖∂h_t/∂x_k‖₂ = ln ‖∂h_t/∂h_k · ∂h_k/∂x_k‖₂``: how far back an input is felt.

    Parameters
    ----------
    js : [T, n, n] of `step_jacobians`.
    bs : [T, n, d] of `input_jacobians`.
    at, lags : as for `norms`.

    Returns
    -------
    Norms
        Tables as those of `norms`, at [t, k] with x_k the input of step k = 1..T; -inf where k > t or k = 0.

    Raises
    ------
    ValueError, IndexError
        If js and bs do not belong together, or a time or a lag lies outside 0..T.

    Notes
    -----
    The norms of a block of the chain ``[[J_t, B_t], [0, 0]]`` of (h, x), whose product from step k on holds
    ∂h_t/∂x_k. Time: as for `norms` of states of n + d entries.

    Example
    -------
    >>> js, bs = jnp.full((3, 1, 1), 0.5), jnp.full((3, 1, 1), 4.0)
    >>> input_norms(js, bs).log_norm[3, 1]  # ln(0.5² · 4)
    Array(0., dtype=float32)
    """
    T, n = _checks.jacobian_chain("jacobians.input_norms", js)
    if jnp.ndim(bs) != 3 or jnp.shape(bs)[:2] != (T, n) or not jnp.shape(bs)[2]:
        raise ValueError(
            f"jacobians.input_norms: bs has shape {jnp.shape(bs)} and js {jnp.shape(js)}; expected [T, n, d] "
            "and [T, n, n] of the same sequence, as input_jacobians and step_jacobians return them."
        )
    d = bs.shape[2]
    both = jnp.pad(jnp.concatenate([js, bs.astype(js.dtype)], axis=2), ((0, 0), (0, d), (0, 0)))
    times = _checks.indices("jacobians.input_norms", "at", at, T)
    view = (View(slice(0, n), slice(n, n + d)),)
    if lags is not None:
        later = [lag + 1 for lag in _checks.indices("jacobians.input_norms", "lags", lags, T)]
        # x_0 does not exist: ask for lag T where the chain has no longer one, and cut it off below.
        found = norms_of_views("jacobians.input_norms", both, view, at, [min(lag, T) for lag in later])[1]
        return _without(found, times[:, None] < jnp.asarray(later)[None, :])
    found = norms_of_views("jacobians.input_norms", both, view, at, None)[1]
    # ∂h_t/∂x_k is the product from step k on, which stands at k - 1.
    shifted = jax.tree.map(lambda table: jnp.roll(table, 1, axis=-1), found)
    return _without(shifted, (jnp.arange(T + 1)[None, :] == 0) & (times[:, None] >= 0))


def _without(found, missing):
    """The norms with -inf, certified, where `missing`."""
    return Norms(
        jnp.where(missing, -jnp.inf, found.log_norm),
        jnp.where(missing, 0.0, found.log_error),
        found.certified | missing,
    )
