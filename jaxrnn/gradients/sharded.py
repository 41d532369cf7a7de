"""Estimates where the sequences lie: each device its own, and one reduction at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax
from jax.sharding import PartitionSpec as Spec
from jaxtyping import PyTree

from jaxrnn._sharding import axes_of, explicit_mesh, on_auto_axes, place
from jaxrnn.types import Batch, Carry, Params, State, StepFn

__all__ = ["by_sequence"]

Found = TypeVar("Found")
"""What is a mean over the sequences: a loss, or a `GradientEstimate`."""


def by_sequence(
    local: Callable[[Params, Carry, Batch, Any, PyTree], tuple[Found, Carry]],
    step: StepFn,
    states: Callable[[Params, Carry, Batch], State],
    draw: Callable[[Params, Carry, Batch, Any], PyTree] = lambda *_: (),
) -> Callable[[Params, Carry, Batch, Any], tuple[Found, Carry]]:
    """An estimator's estimate of a batch from ``local(params, carry, batch, key, noise)``, of some sequences.

    Where the type of the batch says that its sequences are sharded, each device computes the estimate of its
    own, and their mean is taken once, of the loss and all leaves together. Left to itself, the compiler would
    gather the states of every block of steps, since a product's rows are steps and sequences as one axis.

    Parameters
    ----------
    local : a mean over its sequences, and a carry with leaves [B, ...].
    step : of the network; one that looks at the whole batch is not taken apart.
    states : ``(params, carry, batch) -> h_0 [B, ...]``.
    draw : noise with leaves [T, B, ...], the same however the batch is sharded.
    """

    def estimate(params, carry, batch, key):
        mesh = explicit_mesh((params, carry, batch, key))
        if mesh is None:
            return local(params, carry, batch, key, draw(params, carry, batch, key))
        axes = axes_of(batch, 0)
        rows = Spec(axes)
        noise = on_auto_axes(mesh, draw, params, carry, batch, key)
        if axes is None or _looks_at_the_batch(step, states, params, carry, batch):
            return on_auto_axes(mesh, local, params, carry, batch, key, noise, spec=(Spec(), rows))

        def of_device(*args):
            found, carry = local(*args)
            return lax.pmean(found, axes), carry

        specs = (Spec(), rows, rows, Spec(), Spec(None, axes))
        args = zip((params, carry, batch, key, noise), specs, strict=True)
        run = jax.shard_map(of_device, mesh=mesh, in_specs=specs, out_specs=(Spec(), rows), check_vma=False)
        return run(*(place(arg, mesh, spec) for arg, spec in args))

    return estimate


def _looks_at_the_batch(step, states, params, carry, batch):
    """Whether the step uses the name of the batch's axis (`cells.batch_norm`), which it then misses."""

    def first_step(params, carry, batch):
        h_0, xs = states(params, carry, batch), batch.xs
        h_0, xs = jax.tree.map(lambda leaf: leaf[0], (h_0, xs))
        return step(params, h_0, jax.tree.map(lambda leaf: leaf[0], xs))

    shapes = jax.tree.map(_shape, (params, carry, batch))
    try:
        jax.eval_shape(first_step, *shapes)
    except (NameError, ValueError):
        return True
    return False


def _shape(leaf):
    kind = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype)
