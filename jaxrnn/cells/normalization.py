"""Layer and batch normalisation of pre-activations, and how to run one sequence without its batch (E20)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PyTree

from jaxrnn import _checks
from jaxrnn.types import BATCH_AXIS, Params, State, StepFn

__all__ = [
    "Moments",
    "Normalization",
    "added_shapes",
    "batch_norm",
    "batch_statistics",
    "layer_norm",
    "with_statistics",
]


class Normalization(NamedTuple):
    """How a cell normalises its pre-activations: ``z -> gain⊙(z - μ)/√(σ² + ε)``, each gate [H] by itself.

    The gain is a parameter of the cell, ``params["gain"]``, and its bias is added afterwards. A cell with
    memory shows the memory normalised too, ``h_t = o⊙tanh(gain_c⊙(c_t - μ)/√(σ² + ε) + b_c)``; c_t itself is
    carried as it is.
    """

    name: str
    standardize: Callable[[Float[Array, "gates H"]], Float[Array, "gates H"]]
    initial_gain: float

    def start(self, shapes: dict[str, tuple[int, ...]], dtype: DTypeLike) -> dict[str, Float[Array, " rows"]]:
        """Gains and biases of these shapes at their start."""
        return {
            name: jnp.full(shape, self.initial_gain if name.startswith("gain") else 0, dtype)
            for name, shape in shapes.items()
        }

    def __call__(self, gain: Float[Array, " rows"], z: Float[Array, " rows"], gates: int = 1) -> Array:
        """The normalised ``z`` [gates·H]."""
        return gain * self.standardize(z.reshape(gates, -1)).reshape(z.shape)


class Moments(NamedTuple):
    """Mean and variance over a batch, of the pre-activations that one normalisation takes."""

    mean: Float[Array, "*T gates H"]
    variance: Float[Array, "*T gates H"]


@_checks.signature("layer_norm")
def layer_norm(*, initial_gain: float = 1.0, epsilon: float = 1e-5) -> Normalization:
    """Mean and variance over the units of a layer, of one sequence at one step (Ba, Kiros & Hinton 2016).

    >>> from jaxrnn.cells import elman
    >>> cell = elman(3, 4, normalization=layer_norm())
    >>> sorted(cell.init(jax.random.key(0)))
    ['W_hh', 'W_hx', 'b_h', 'gain']
    """
    _not_negative("layer_norm", epsilon)

    def standardize(z):
        moments = Moments(jnp.mean(z, -1, keepdims=True), jnp.var(z, -1, keepdims=True))
        return _standardized(z, moments, epsilon)

    return Normalization("layer_norm", standardize, initial_gain)


@_checks.signature("batch_norm")
def batch_norm(
    axis_name: str = BATCH_AXIS, *, initial_gain: float = 0.1, epsilon: float = 1e-5
) -> Normalization:
    """Mean and variance over the sequences of a batch, of every unit at every step (Cooijmans et al. 2017).

    Each step has its own statistics, of the batch that is being trained on: the axis of `jax.vmap` with that
    name, as `gradients.full`, `chunked` and `sliding` have it. For one sequence, in evaluation or for
    Jacobians, they are fixed by `batch_statistics` and `with_statistics`. Gains near 0.1 keep tanh away from
    saturation; at 1 its gradient vanishes (section 4 there).

    Raises
    ------
    ValueError
        In a step without that axis and without statistics.

    Example
    -------
    >>> from jaxrnn.cells import elman
    >>> cell = elman(3, 4, normalization=batch_norm())
    >>> params = cell.init(jax.random.key(0))
    >>> xs = jax.random.normal(jax.random.key(1), (8, 5, 3))  # 8 sequences of 5 steps
    >>> seen = batch_statistics(cell.step, params, cell.initial_states(params, 8), xs)
    >>> step = with_statistics(cell.step)  # for one sequence
    >>> step(params, cell.init_state(params), (xs[0, 0], jax.tree.map(lambda leaf: leaf[0], seen)))[1].shape
    (4,)

    Reference
    ---------
    Ioffe & Szegedy, Batch normalization, 2015; Cooijmans et al., Recurrent batch normalization, 2017.
    """
    _not_negative("batch_norm", epsilon)

    def standardize(z):
        return _standardized(z, _moments(z, axis_name), epsilon)

    return Normalization("batch_norm", standardize, initial_gain)


@_checks.signature("batch_statistics")
def batch_statistics(
    step: StepFn, params: Params, h_0: State, xs: PyTree, *, axis_name: str = BATCH_AXIS
) -> PyTree:
    """The mean and variance that batch normalisation takes from a batch, at every step.

    Parameters
    ----------
    step, params : of a cell with `batch_norm`, alone or anywhere in a stack.
    h_0, xs : of B sequences, leaves [B, ...] and [B, T, ...].
    axis_name : as it was given to `batch_norm`.

    Returns
    -------
    One `Moments` for each normalisation of a step, leaves [T, gates, H]; for `with_statistics`. Averaged over
    many batches, or running (``optax.incremental_update``), they are those of the population.

    Raises
    ------
    ValueError
        If the step normalises nothing over a batch.
    """

    def observed(params, h_tm1, x_t):
        with _exchange(_Seen([])) as seen:
            h_t, _ = step(params, h_tm1, x_t)
        if not seen.moments:
            raise ValueError("batch_statistics: step has no batch_norm; there is nothing to observe.")
        return h_t, tuple(seen.moments)

    size = _checks.leading_axis("batch_statistics", "xs", xs)
    if size is None or not _checks.leading_axis("batch_statistics", "xs", xs, 1) or not size:
        raise ValueError("batch_statistics: xs is empty; expected leaves [B, T, ...].")
    _checks.states_of_batch("batch_statistics", h_0, size)
    batched = jax.vmap(observed, in_axes=(None, 0, 0), axis_name=axis_name)
    time_major = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), xs)
    x_t = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), time_major)
    _checks.step_keeps_state("batch_statistics", batched, params, h_0, x_t)
    _, seen = lax.scan(lambda h, x: batched(params, h, x), h_0, time_major)
    return jax.tree.map(lambda leaf: leaf[:, 0], seen)  # the same for every sequence


@_checks.signature("with_statistics")
def with_statistics(step: StepFn) -> StepFn:
    """The step of ONE sequence, of inputs ``(x_t, moments_t)`` with those of `batch_statistics`.

    With it ``∂h_t/∂h_k`` is that of one sequence; in a training batch it has a share of all others too.
    """

    def fixed(params, h_tm1, x_t):
        x_t, moments = _checks.input_pair("with_statistics", x_t, "moments_t")
        if not isinstance(moments, tuple | list):
            raise TypeError(
                f"with_statistics: moments_t is a {type(moments).__name__}; expected a tuple of Moments."
            )
        with _exchange(_Given(list(moments))) as given:
            stepped = step(params, h_tm1, x_t)
        if given.moments:
            raise ValueError(
                f"with_statistics: the step left {len(given.moments)} of {len(moments)} moments over."
            )
        return stepped

    return fixed


def added_shapes(
    function: str, normalization: Normalization | None, **rows: int
) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters that a normalisation adds, by name; TypeError if it is something else."""
    if normalization is None:
        return {}
    if not isinstance(normalization, Normalization):
        raise TypeError(
            f"{function}: normalization is a {type(normalization).__name__}; expected layer_norm(), "
            "batch_norm() or None."
        )
    return {name: (count,) for name, count in rows.items()}


class _Seen(NamedTuple):
    moments: list


class _Given(NamedTuple):
    moments: list


_exchanged: ContextVar[_Seen | _Given | None] = ContextVar("exchanged", default=None)


@contextmanager
def _exchange(exchanged) -> Generator:
    """While a step is traced: where its normalisations report their moments to, or take them from."""
    token = _exchanged.set(exchanged)
    try:
        yield exchanged
    finally:
        _exchanged.reset(token)


def _moments(z, axis_name):
    exchanged = _exchanged.get()
    if isinstance(exchanged, _Given):
        if not exchanged.moments:
            raise ValueError("with_statistics: the step normalises more often than there are moments_t.")
        given = _checks.instance("with_statistics", "moments_t", exchanged.moments.pop(0), Moments)
        for name, leaf in zip(Moments._fields, given, strict=True):
            _checks.shape(
                "with_statistics", f"moments_t.{name}", leaf, z.shape, "batch_statistics gives them."
            )
        return given
    try:
        mean = lax.pmean(z, axis_name)
    except NameError as error:
        raise ValueError(
            f"batch_norm: there is no batch axis {axis_name!r} here. Estimators of whole batches (full, "
            "chunked, sliding) have it; for one sequence use batch_statistics and with_statistics."
        ) from error
    # Not the mean of squares less the square of the mean, which cancels.
    moments = Moments(mean, lax.pmean(jnp.square(z - mean), axis_name))
    if isinstance(exchanged, _Seen):
        exchanged.moments.append(moments)
    return moments


def _not_negative(function, epsilon):
    if not 0 <= epsilon < float("inf"):
        raise ValueError(f"{function}: epsilon is {epsilon}; expected a finite number of at least 0.")


def _standardized(z, moments, epsilon):
    return (z - moments.mean) * lax.rsqrt(moments.variance + epsilon)
