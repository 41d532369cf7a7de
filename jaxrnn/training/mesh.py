"""Where a training's arrays lie: on one device, or on the user's mesh with each batch's sequences apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import PyTree

from jaxrnn import _checks
from jaxrnn._pytree import is_key
from jaxrnn._sharding import on_auto_axes
from jaxrnn.training.processes import any_process

__all__ = ["Layout", "layout_on"]

SEEDS = "seeds"
"""The name of a mesh's axis along which seeds lie."""


def layout_on(mesh: Mesh | None, batch: PyTree, seeds: int) -> Layout:
    """The layout on that mesh.

    Raises
    ------
    ValueError
        If the mesh has other axes than one for the batch and, if any, one called ``seeds``, or the batch or
        the seeds cannot be divided evenly among them.
    """
    if mesh is None:
        return Layout()
    others = [name for name in mesh.axis_names if name != SEEDS]
    if len(others) != 1:
        raise ValueError(
            f"training.train: mesh has the axes {mesh.axis_names}; expected one, over which the batch is "
            "divided, and beside it at most one called 'seeds', such as "
            "jax.make_mesh((jax.device_count(),), ('batch',))."
        )
    size, _ = _checks.batch_shape("training.train", batch)
    for what, count, axis in (("a batch of data has", size, others[0]), ("seeds is", seeds, SEEDS)):
        parts = mesh.shape.get(axis, 1)
        if count % parts:
            raise ValueError(
                f"training.train: {what} {count}, and mesh has {parts} devices along {axis!r}; expected a "
                f"multiple of {parts}. Change the size, or give fewer devices: jax.make_mesh(..., devices=)."
            )
    return Layout(mesh, others[0])


class Layout:
    """Where everything lies: without a mesh, where JAX puts it.

    On one, parameters and optimizer are on every device, and of batches and carries each device has its
    sequences. The axes are made Explicit, since the type of a batch then says where its sequences lie, which
    is what the estimators go by. What the user wrote (sampler, initial states, optimizer) runs with Auto
    axes: with Explicit ones JAX refuses a scan that starts from a constant.
    """

    def __init__(self, mesh: Mesh | None = None, axis: str | None = None):
        self._mesh, self._axis, self._seeds, self.processes = None, axis, None, 1
        if mesh is not None:
            explicit = (AxisType.Explicit,) * len(mesh.shape)
            self._mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=explicit)
            self._seeds = SEEDS if SEEDS in mesh.shape else None
            self.processes = len({device.process_index for device in mesh.devices.flat})
        self.main = self.processes == 1 or jax.process_index() == 0
        """Whether this process is the one that talks."""

    def context(self) -> AbstractContextManager[Any]:
        """Within it programs are compiled."""
        return nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

    def any_process(self, *flags: bool) -> Sequence[bool]:
        """Whether each holds in some process; all of them ask at the same time."""
        return flags if self.processes == 1 else any_process(*flags)

    def state(self, state):
        """A `TrainState` with leaves [S, ...] of parameters and optimizer, and [S, B, ...] of the carry."""
        params, opt_state = self._put((state.params, state.opt_state), self._seeds)
        carry = self._put(state.carry, self._seeds, self._axis)
        return state._replace(params=params, opt_state=opt_state, carry=carry)

    def keys(self, keys):
        """[S]."""
        return self._put(keys, self._seeds)

    def steps(self, tree: PyTree) -> PyTree:
        """Leaves [K, ...] that every device needs."""
        return self._put(tree)

    def batches(self, batches: PyTree) -> PyTree:
        """Leaves [K, B, ...]."""
        return self._put(batches, None, self._axis)

    def plain(self, tree: PyTree) -> PyTree:
        """Arrays that lie as if there were no mesh, the same in every process."""
        mesh = self._mesh
        if mesh is None:
            return tree

        def fetch(leaf):
            if is_key(leaf):
                data = fetch(jax.random.key_data(leaf))
                return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
            if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
                leaf = jax.device_put(leaf, NamedSharding(mesh, Spec()))
            return jnp.asarray(np.asarray(leaf))

        return jax.tree.map(fetch, tree)

    def whole(self, fn: Callable, *args: PyTree) -> PyTree:
        """``fn(*args)`` while tracing, on every device."""
        return on_auto_axes(self._traced, fn, *args)

    def rows(self, fn: Callable, *args: PyTree) -> PyTree:
        """``fn(*args)`` while tracing, each device what belongs to its sequences of leaves [B, ...]."""
        return on_auto_axes(self._traced, fn, *args, spec=Spec(self._axis))

    @property
    def _traced(self):
        return self._mesh and self._mesh.abstract_mesh

    def _put(self, tree, *spec):
        if self._mesh is None:
            return tree
        sharding = NamedSharding(self._mesh, Spec(*spec))
        return jax.tree.map(lambda leaf: self._put_leaf(leaf, sharding), tree)

    def _put_leaf(self, leaf, sharding):
        everywhere = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        if self.processes == 1 or everywhere:
            return jax.device_put(leaf, sharding)
        if is_key(leaf):
            data = self._put_leaf(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        # device_put would send everything to everybody, to see whether all have the same.
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index], dtype=leaf.dtype)
