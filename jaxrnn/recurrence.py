"""The recurrence: one step function, scanned over time, with its exact gradient in large matrix products."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import PyTree

from jaxrnn import _checks
from jaxrnn._sharding import where_it_lies
from jaxrnn._stages import Staged, block_size
from jaxrnn.types import Params, State, StepFn, Trajectory

__all__ = ["scan", "unroll"]

_BLOCK_ENTRIES, _BLOCK_STEPS, _SEGMENT_STEPS = 3 * 2**18, 64, 256
# What a block may hold of states and pre-activations: its intermediate values then fit into the cache, and
# stay few. A segment that is computed again may have more steps: longer ones begin again less often.
_KEEP_BYTES = 2**28
# What the forward pass may keep for the backward pass; beyond, states are computed again, segment by segment.
_CHEAP_BYTES, _LONG_SUM = 12 * 2**20, 384
# Pre-activations are kept up to so many bytes, or if they are sums of so many terms, or if what is kept then
# takes no more room than the states. Other ones cost hardly more time to compute again, as products of
# many steps, than fresh memory does.


@_checks.signature("unroll")
@where_it_lies
def unroll(
    step: StepFn,
    params: Params,
    h_0: State,
    xs: PyTree,
    *,
    length: int | None = None,
    segment: int | None = None,
) -> Trajectory:
    """Run ``h_t, y_t = step(params, h_{t-1}, x_t)`` for t = 1..T (E1, general form).

    Parameters
    ----------
    step : the recurrence of one sequence.
    params : its parameters, a pytree of floating arrays.
    h_0 : the state before the first input, any pytree of floating arrays.
    xs : inputs, leaves [T, ...]; any pytree, also of tokens or PRNG keys.
    length : T, needed only where `xs` has no leaves (an autonomous map, ``xs=None``).
    segment : how many steps to compute again at a time in the backward pass, from the state at their start.
        By default the states are kept, or, where it saves time, the pre-activations and what does not follow
        from them, unless they take more than 256 MB. Any T will do, also one that segments do not divide.

    Returns
    -------
    Trajectory
        ``(h_0, hs [T, ...], ys [T, ...], xs)``; row i belongs to t = i + 1.

    Raises
    ------
    TypeError
        If the state has a non-floating leaf, or a step changes its dtype or structure.
    ValueError
        If a step changes the shape of a state leaf, T is unknown or ambiguous, or segment < 1.

    Notes
    -----
    Cost: T steps in time; memory T states and outputs. Use `jax.vmap` over a batch.

    What does not wait for the state is computed for many steps at once: products with the inputs ahead of
    the scan, a readout behind it. The backward scan carries ``∂L/∂h_t`` and hands out ``δ_t = ∂L/∂z_t`` of
    the pre-activations; the gradient of the weights is a product over many steps, ``Σ_t δ_t h_{t-1}ᵀ`` (E8).
    This holds for any step: its trace says what waits for what. `jax.grad`, `jax.jvp`, `jax.vmap` and higher
    derivatives work as usual. A step with a `jax.custom_vjp` inside has no forward mode and goes through a
    plain `lax.scan`.

    Example
    -------
    >>> traj = unroll(lambda w, h, x: (w * h + x, h), 0.5, jnp.array(0.0), jnp.ones(3))
    >>> traj.hs
    Array([1.  , 1.5 , 1.75], dtype=float32)
    """

    def step_and_state(params, h_tm1, x_t):
        h_t, y_t = _checks.stepped("unroll", step(params, h_tm1, x_t))
        return h_t, (h_t, y_t)

    h_0 = jax.tree.map(jnp.asarray, h_0)
    _, (hs, ys) = scan(step_and_state, params, h_0, xs, length=length, segment=segment)
    return Trajectory(h_0, hs, ys, xs)


def scan(
    step: StepFn,
    params: Params,
    h_0: State,
    xs: PyTree,
    *,
    length: int | None = None,
    segment: int | None = None,
) -> tuple[State, PyTree]:
    """``(h_T, ys)`` of `unroll`, for a caller that needs no states in between."""
    length = _length(xs, length)
    segment = None if segment is None else _checks.at_least("unroll", "segment", segment, 1)
    x_t = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x)[1:], x.dtype), xs)
    h_t, y_t = _checks.step_keeps_state("unroll", step, params, h_0, x_t)
    # lax.scan, too, gives a weakly typed state the dtype that it has after a step.
    state = [
        lax.convert_element_type(before, after.dtype)
        for before, after in zip(jax.tree.leaves(h_0), jax.tree.leaves(h_t), strict=True)
    ]
    fixed, params_tree = jax.tree.flatten(params)
    rows, xs_tree = jax.tree.flatten(xs)

    def flat_step(fixed, rows, state):
        unflatten = jax.tree.unflatten
        stepped = step(
            unflatten(params_tree, fixed), unflatten(jax.tree.structure(h_t), state), unflatten(xs_tree, rows)
        )
        return tuple(map(jax.tree.leaves, stepped))

    program = Staged(flat_step, fixed, jax.tree.leaves(x_t), state, arrange=True)
    if program.reverse_only or not length:
        state, ys = lax.scan(lambda state, rows: flat_step(fixed, rows, state), state, rows, length=length)
    else:
        state, ys = _in_blocks(program, program.prepare(fixed), state, rows, length, segment)
    return jax.tree.unflatten(jax.tree.structure(h_t), state), jax.tree.unflatten(jax.tree.structure(y_t), ys)


def _length(xs, length):
    found = _checks.leading_axis("unroll", "xs", xs)
    if length is not None:
        length = _checks.at_least("unroll", "length", length, 0)
    if found is None and length is None:
        raise ValueError("unroll: xs has no arrays, so T is unknown; give length=T.")
    if None not in (found, length) and found != length:
        raise ValueError(f"unroll: length is {length} but xs has T = {found} steps.")
    return length if found is None else found


def _in_blocks(program, fixed, state, rows, length, segment):
    """(h_T, ys) from blocks of steps, each with its own derivative."""
    held = program.kept(products=True)
    state_bytes, kept_bytes = (length * _itemsize(state) * _entries(some) for some in (program.late, held))
    again = segment is not None or state_bytes > _KEEP_BYTES
    most_of = _BLOCK_ENTRIES, _SEGMENT_STEPS if again else _BLOCK_STEPS
    size = min(length, segment or block_size(length, _entries(program.late + program.products), *most_of))
    # Within a segment that is computed again anyway, products cost nothing.
    pays = again or _products_pay(program, kept_bytes, state_bytes)
    keep = held if pays else program.kept(products=False)

    def block(size):
        run = _block(program, size, keep)
        run = jax.checkpoint(run) if again else run
        return lambda state, rows: run(fixed, state, rows)

    n_blocks, rest = divmod(length, size)
    if (n_blocks, rest) == (1, 0):
        return block(size)(state, rows)
    whole = [leaf[: n_blocks * size].reshape(n_blocks, size, *leaf.shape[1:]) for leaf in rows]
    state, ys = lax.scan(block(size), state, whole, length=n_blocks)
    ys = [leaf.reshape(n_blocks * size, *leaf.shape[2:]) for leaf in ys]
    if rest:
        state, last = block(rest)(state, [leaf[n_blocks * size :] for leaf in rows])
        ys = [jnp.concatenate(parts) for parts in zip(ys, last, strict=True)]
    return state, ys


def _products_pay(program, kept_bytes, state_bytes):
    """Whether keeping pre-activations, `kept_bytes` with all that is then kept, saves time."""
    most = _KEEP_BYTES if program.summed >= _LONG_SUM else _CHEAP_BYTES
    return kept_bytes <= max(most, state_bytes)


def _entries(places):
    return sum(math.prod(place.shape) for place in places)


def _itemsize(state):
    return max((leaf.dtype.itemsize for leaf in state), default=0)


def _block(program, length, keep):
    """``(fixed, state, rows) -> (state, ys)``: `length` steps, differentiated together.

    The tangents follow ``dh_t = J_t dh_{t-1} + u_t``. All factors of J_t and all terms u_t, which hold the
    tangents of parameters and inputs, are known ahead of that linear scan; transposed by JAX, it carries
    ∂L/∂h_t backward and hands out the cotangents of u_t: the δ_t of E6, from which E8 is one product.
    """
    saved = [value for value in keep if value in program.products]

    @jax.custom_jvp
    def run(fixed, state, rows):
        return program.block(fixed, rows, state, length)

    def run_jvp(primals, tangents):
        fixed, state, rows = primals
        fixed_moves, rows_move = (
            [not isinstance(d, SymbolicZero) for d in d_leaves] for d_leaves in tangents[::2]
        )
        d_fixed, d_rows = _where(tangents[0], fixed_moves), _where(tangents[2], rows_move)
        d_state = [jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d for d in tangents[1]]
        floats = [jnp.issubdtype(y.dtype, jnp.inexact) for y in program.outputs]

        def tangent_step(all_fixed, all_rows, d_state):
            fixed, d_fixed = _split(all_fixed, len(fixed_moves))
            state, products, x_t, d_x_t = _split(all_rows, len(d_state), len(saved), len(rows_move))
            at_places = dict(zip(saved, products, strict=True))

            def moved(some_fixed, some_x_t, state):
                state, y_t = program.apply(
                    _merge(fixed, fixed_moves, some_fixed), _merge(x_t, rows_move, some_x_t), state, at_places
                )
                return state, _where(y_t, floats)

            at = _where(fixed, fixed_moves), _where(x_t, rows_move), state
            return jax.jvp(moved, at, (d_fixed, d_x_t, d_state))[1]

        # Only what is handed in is kept for the backward pass: the factors of J_t are computed there.
        @jax.checkpoint
        def tangents_of_block(fixed, state, kept, rows, d_fixed, d_state, d_rows):
            by_place = dict(zip(keep, kept, strict=True))
            states = program.states(fixed, rows, state, by_place, length)
            ahead = [*states, *(by_place[value] for value in saved), *rows, *d_rows]
            row = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in ahead]
            tangent = Staged(tangent_step, [*fixed, *d_fixed], row, d_state)
            return tangent.block(tangent.prepare([*fixed, *d_fixed]), ahead, d_state, length)

        end, found = program.block(fixed, rows, state, length, keep=keep)
        ys, kept = _split(found, len(floats))
        d_state, d_floats = tangents_of_block(fixed, state, kept, rows, d_fixed, d_state, d_rows)
        d_ys = [np.zeros(y.shape, jax.dtypes.float0) for y in ys]
        return (end, ys), (d_state, _merge(d_ys, floats, d_floats))

    run.defjvp(run_jvp, symbolic_zeros=True)
    return run


def _where(items, mask):
    return [item for item, chosen in zip(items, mask, strict=True) if chosen]


def _merge(items, mask, chosen):
    """The items, those of the mask replaced in their order."""
    rest = iter(chosen)
    return [next(rest) if new else item for item, new in zip(items, mask, strict=True)]


def _split(items, *sizes):
    """Consecutive parts of these sizes, and the rest."""
    ends = np.cumsum(sizes)
    return [items[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True)]
