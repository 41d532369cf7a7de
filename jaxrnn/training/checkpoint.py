"""Checkpoints of a training, by orbax."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn import _checks
from jaxrnn._pytree import is_key
from jaxrnn.training.history import History, empty_history
from jaxrnn.training.processes import is_lost
from jaxrnn.training.update import TrainState
from jaxrnn.types import Key

__all__ = ["Checkpoints", "Nowhere", "Store", "opened"]


class Checkpoints(NamedTuple):
    """Where and how often `train` saves: parameters, optimizer, carry, history and position in the data.

    Each checkpoint is written beside the earlier ones and appears complete or not at all, so that neither a
    kill nor a full disk loses what is there. Needs the extra ``checkpoint`` (orbax).
    """

    folder: str | Path
    """Of this training alone; it is made where it is missing."""
    every: int | None = 1000
    """Save at the first chunk's end after so many steps; None for never."""
    minutes: float | None = 10.0
    """Save at the first chunk's end after so much time; None for never."""
    keep: int = 3
    """So many checkpoints stay, the latest."""


def opened(checkpoints: str | Path | Checkpoints | None, resume: bool) -> Nowhere | Store:
    """Where a training saves.

    Raises
    ------
    ValueError
        If there are checkpoints from which the training is not to go on, or it is and there is no folder.
    """
    if checkpoints is None:
        if resume:
            raise ValueError("training.train: resume=True needs checkpoints=, the folder to go on from.")
        return Nowhere()
    store = Store(checkpoints if isinstance(checkpoints, Checkpoints) else Checkpoints(checkpoints))
    if store.latest is not None and not resume:
        store.close()
        raise ValueError(
            f"training.train: {store.folder} holds a training of {store.latest} steps; pass resume=True to "
            "go on with it, or another folder."
        )
    return store


class Nowhere:
    """A training that saves nothing."""

    folder = None

    def begun(self, state: TrainState, key: Key, look) -> tuple[TrainState, History]:
        """The state itself and no history."""
        del key, look
        return state, empty_history(state)

    def newest(self) -> int | None:
        """None."""

    def due(self, done: int) -> bool:
        """Never."""
        del done
        return False

    def save(self, state: TrainState, history: History, key: Key) -> None:
        """Nothing is saved."""

    def close(self) -> None:
        """There is nothing to close."""


class Store:
    """The checkpoints of one training in their folder."""

    def __init__(self, settings: Checkpoints):
        for name in ("every", "keep"):
            value = getattr(settings, name)
            if name == "keep" or value is not None:
                _checks.at_least("training.Checkpoints", name, value, 1)
        if settings.minutes is not None and not settings.minutes > 0:
            raise ValueError(
                f"training.Checkpoints: minutes is {settings.minutes}; expected more than 0, or None."
            )
        with _checks.installed("training.train(checkpoints=)", "orbax-checkpoint", "checkpoint"):
            import orbax.checkpoint as ocp
        options = ocp.CheckpointManagerOptions(
            max_to_keep=settings.keep,
            enable_async_checkpointing=False,  # so that a failure is known before the next step
            cleanup_tmp_directories=True,
        )
        self.folder = Path(settings.folder).absolute()
        self._ocp, self._settings = ocp, settings
        try:
            self._manager = ocp.CheckpointManager(
                self.folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
            )
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self.latest = self._manager.latest_step()
        self._saved_at = time.monotonic()

    def begun(self, state: TrainState, key: Key, look) -> tuple[TrainState, History]:
        """(state, history) of the latest checkpoint, or these at the beginning, which are written."""
        if self.latest is not None:
            # Without where they lie: the monitor sees parameters off the mesh.
            shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state.params)
            return self._restored(self.latest, state, key, jax.eval_shape(look, shapes) if look else None)
        needed = (self._settings.keep + 1) * sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise _unwritable(
                self.folder,
                f"{free / 1e6:.1f} MB are free, but {self._settings.keep} checkpoints and one in the making "
                f"take {needed / 1e6:.1f} MB",
            )
        history = empty_history(state)
        try:
            self._write(state, history, key)
        except Exception as error:
            raise _unwritable(self.folder, error) from error
        return state, history

    def newest(self) -> int | None:
        """The latest step in the folder, also if another process has just put it there."""
        steps = [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]
        return max(steps, default=None)

    def due(self, done: int) -> bool:
        """Whether enough steps or time have passed since the last one."""
        every, minutes = self._settings.every, self._settings.minutes
        if every is not None and done // every > (self.latest or 0) // every:
            return True
        return minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

    def save(self, state: TrainState, history: History, key: Key) -> None:
        """A checkpoint after the steps of that history; a warning if it cannot be written."""
        done = history.loss.shape[1]
        if done == self.latest:
            return
        try:
            self._write(state, history, key)
        except Exception as error:  # whatever the file system and orbax have to say
            if jax.process_count() > 1 and is_lost(error):
                raise
            self._saved_at = time.monotonic()
            warnings.warn(
                f"training.train: the checkpoint of step {done} could not be written to {self.folder} "
                f"({_reason(error)}); that of step {self.latest} and those before it stay.",
                RuntimeWarning,
                stacklevel=3,
            )

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()

    def _write(self, state, history, key):
        rows = {name: np.asarray(leaf) for name, leaf in _arrays(history).items()}
        rows["key"] = np.asarray(jax.random.key_data(key))
        tree = {"state": _arrays(state), "history": rows}
        done = history.loss.shape[1]
        self._manager.save(done, args=self._ocp.args.StandardSave(tree))
        self.latest, self._saved_at = done, time.monotonic()

    def _restored(self, step, state, key, monitored):
        """(state, history) of the latest checkpoint; ValueError if it is of something else."""
        found = self._manager.item_metadata(step)
        expected = _arrays(state)
        self._compare(_kinds(found["state"]), _kinds(expected))
        template = {
            "state": {
                name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
                for name, leaf in expected.items()
            },
            "history": {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in found["history"].items()},
        }
        restored = self._manager.restore(step, args=self._ocp.args.StandardRestore(template))
        rows = restored["history"]
        self._compare({"key": rows.pop("key").tolist()}, {"key": jax.random.key_data(key).tolist()})
        history = empty_history(state)
        if ".monitored_steps" in rows:
            history = history._replace(monitored=monitored, monitored_steps=rows[".monitored_steps"])
        history = _filled(history, rows)
        history = history._replace(compile_seconds=float(history.compile_seconds))
        return _filled(state, restored["state"]), history

    def _compare(self, saved, here):
        for name in [*here, *saved]:
            if saved.get(name) != here.get(name):
                raise ValueError(
                    f"training.train: {self.folder} holds a training of something else: {name} is "
                    f"{saved.get(name, 'missing')} there and {here.get(name, 'missing')} here. Give what it "
                    "was begun with, or another folder."
                )


def _arrays(tree) -> dict[str, Any]:
    """The leaves by their path, keys as numbers, without empty ones, which orbax does not take."""
    leaves = jax.tree.leaves_with_path(jax.tree.map(_numbers, tree))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if np.size(leaf)}


def _numbers(leaf):
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _filled(tree, arrays):
    """The tree with the leaves that `_arrays` took out of one like it."""

    def fill(path, leaf):
        found = arrays.get(jax.tree_util.keystr(path), leaf)
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf)) if is_key(leaf) else found

    return jax.tree.map_with_path(fill, tree)


def _kinds(arrays):
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in arrays.items()}


def _reason(error):
    return " ".join(str(error).split())[:300] or type(error).__name__


def _unwritable(folder, reason):
    return OSError(f"training.train: checkpoints cannot be written to {folder}: {_reason(reason)}.")
