"""One training loop for every estimator: a host loop over jitted chunks of steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree
from tqdm.auto import tqdm

from jaxrnn import _checks
from jaxrnn.training.batches import Batches
from jaxrnn.training.callbacks import Callback
from jaxrnn.training.checkpoint import Checkpoints, opened
from jaxrnn.training.history import Recorder, TrainResult, describe, nonfinite_step
from jaxrnn.training.interrupt import noticed
from jaxrnn.training.mesh import Layout, layout_on
from jaxrnn.training.nonfinite import POLICIES, Failure, stopped
from jaxrnn.training.optimizers import Optimizer
from jaxrnn.training.processes import together
from jaxrnn.training.update import Programs, Update
from jaxrnn.types import Batch, Cell, Estimator, Key, Params

__all__ = ["train"]


@_checks.signature("training.train")
def train(
    cell: Cell,
    estimator: Estimator,
    optimizer: Optimizer,
    data: Callable[[Key], Batch] | Iterable[Batch],
    *,
    steps: int | None,
    key: Key,
    seeds: int = 1,
    params: Params | None = None,
    stream: bool = False,
    chunk: int = 20,
    monitor: Callable[[Params], PyTree] | None = None,
    monitor_every: int = 100,
    callbacks: Sequence[Callback] = (),
    checkpoints: str | Path | Checkpoints | None = None,
    resume: bool = False,
    nonfinite: str = "stop",
    mesh: Mesh | None = None,
    progress: bool | str = True,
) -> TrainResult:
    """Minimise a loss by ``θ ← θ - update(ĝ)`` with any estimator and any optax optimizer (E22).

    Parameters
    ----------
    cell : for its initial parameters and states.
    estimator : of the gradient, built from ``cell.step`` and a loss.
    optimizer : such as ``optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))`` (E21).
    data : a pure function ``key -> Batch``, which is compiled into the loop, or batches of one shape, which
        all seeds share: a sequence with ``len`` and ``[]``, such as `tasks.text_stream`, or any iterable.
    steps : how many updates, counted from the very beginning; fewer if an iterable ends before. None for as
        many as it has.
    key : splits into one key a seed, and further into initialisation, data and estimator. The same key
        gives the same seeds and data whatever the estimator, so that runs can be compared.
    seeds : S, trained at once by `jax.vmap`.
    params : start here (one seed's tree, for all seeds) instead of at ``cell.init``.
    stream : whether a batch continues the sequences of the one before. By default every batch starts at
        ``cell.init_state(params)``; build the estimator with ``init_state=`` to train a learned h_0, and
        without it for a stream.
    chunk : steps a compiled call runs before the host sees the loss.
    monitor : a pure function of one seed's parameters, such as `norm_monitor`, compiled apart.
    monitor_every : how many steps lie between two looks; the first is before training.
    callbacks : each is called as ``callback(step, metrics)``: after every chunk for each of its steps, with
        ``loss`` and ``grad_norm`` [S] and ``seconds``, and with ``monitored`` whenever the monitor has
        looked; `training.callbacks` has writers. After a resumption they hear of new steps only.
    checkpoints : a folder, or `Checkpoints` with how often and how many. Saved are parameters, optimizer,
        carry, history and position, before the first step, every so often, and at the end.
    resume : go on from the latest checkpoint, if there is one, and begin anew if not; so the same command
        may be given again and again until the training is complete. A resumed training ends in the same
        bits as one that was never interrupted. A sequence is read from the right batch on, any other
        iterable from its beginning, past the batches that were used.
    nonfinite : what a NaN or infinity in loss or gradient does: ``"stop"`` raises `NonFiniteError`, which
        can reproduce it; ``"skip"`` leaves parameters, optimizer and carry of that seed as they were
        (`optax.apply_if_finite`, whose state counts them); ``"keep"`` goes on with what there is.
    mesh : train on all of its devices: each has its part of every batch, and parameters and optimizer as a
        whole; one reduction an update. One axis, of any name and kind, is for the batch; if there is another
        one, it is called ``seeds``, and seeds are apart along it. With `jax.distributed`, every process makes
        the same call, over devices of all; see Notes.
    progress : whether to show a bar with loss and gradient norm, averaged over the seeds; a string is its
        title.

    Returns
    -------
    TrainResult
        ``params`` with leading axis [S], ``history``, and what is needed to go on. Ctrl-C and SIGTERM let the
        chunk that runs come to its end, save a checkpoint and end the training; ``interrupted`` says so. A
        second one ends it at once, with the chunks that are done.

    Raises
    ------
    ValueError
        If steps, seeds, chunk or monitor_every is below 1, the data holds no batch or batches of different
        shapes or of a size that the mesh does not divide, or the folder holds checkpoints that `resume` does
        not want or that are of something else.
    OSError
        If the folder cannot be written or the disk is full, before the first step. Later that is a
        RuntimeWarning, and training goes on with the earlier checkpoints in place.
    NonFiniteError
        See `nonfinite`.
    ConnectionError
        If another process of the run is gone. Where JAX ends the process first, the message is on standard
        error.

    Notes
    -----
    One compilation for a chunk, and one for every other length of a last chunk or of one that the monitor
    cuts short; none is timed. The same seed on the same machine with the same versions gives the same bits;
    another `chunk`, another number of threads or devices changes the last ones.

    On a mesh the result is the same to rounding, and its arrays lie as without one. Of an iterable, every
    process gives the whole batch and keeps its own sequences of it; who has only those makes the batch with
    `jax.make_array_from_process_local_data`. Callbacks and the bar run in process 0; a signal to any process
    ends all of them together; `checkpoints` is a folder that all of them reach.

    Example
    -------
    >>> import optax
    >>> from jaxrnn import cells, gradients, losses, tasks
    >>> task = tasks.series(length=8, batch_size=4)
    >>> cell = cells.stack(cells.elman(4, 4), cells.dense(4, 1))
    >>> estimator = gradients.full(cell.step, losses.squared_error)
    >>> key = jax.random.key(0)
    >>> result = train(cell, estimator, optax.adam(1e-2), task.sample, steps=4, key=key, progress=False)
    >>> result.history.loss.shape
    (1, 4)
    """
    counts = {"steps": steps, "seeds": seeds, "chunk": chunk, "monitor_every": monitor_every}
    for name, value in counts.items():
        if name != "steps" or value is not None:
            _checks.at_least("training.train", name, value, 1)
    _checks.choice("training.train", "nonfinite", nonfinite, POLICIES)
    callbacks = tuple(_checks.iterated("training.train", "callbacks", callbacks, "functions"))
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(
                f"training.train: callbacks holds a {type(callback).__name__}; expected functions."
            )
    source = Batches(data, steps)
    layout = layout_on(mesh, source.first, seeds)
    update = Update(cell, estimator, optimizer, data, stream=stream, skip=nonfinite == "skip", layout=layout)
    keys = jax.random.split(key, seeds)
    state = layout.state(jax.vmap(lambda k: update.start(source.first, params, k))(keys))
    look = monitor and jax.jit(jax.vmap(monitor))
    with closing(opened(checkpoints, resume)) as store, together(layout.processes, store.newest):
        state, history = store.begun(state, key, look)
        training = _Training(update, key, keys, state, Recorder(history), look, callbacks, store, layout)
        chunks = source.chunks(training.recorder.done, chunk, monitor_every if monitor else None)
        title = progress if isinstance(progress, str) else "training"
        silent = not (progress and layout.main)
        bar = tqdm(
            total=source.steps, initial=training.recorder.done, disable=silent, unit="step", desc=title
        )
        with bar:
            interrupted = training.run(chunks, bar, monitor_every, stop=nonfinite == "stop")
        training.save()
        return training.result(interrupted=interrupted)


class _Training:
    """A training under way: where it is, and how it goes on."""

    def __init__(self, update, key, keys, state, recorder, look, callbacks, store, layout):
        self.state, self.recorder = state, recorder
        self._update, self._key, self._keys, self._look = update, key, layout.keys(keys), look
        self._callbacks = callbacks if layout.main else ()
        self._store, self._layout, self._programs = store, layout, Programs(update.chunk, layout)

    def run(self, chunks, bar, monitor_every, *, stop):
        """All chunks of steps; whether it was interrupted before their end."""
        with noticed(_say) as stopping:
            try:
                if self.recorder.done == 0:
                    self.look()
                for size, batches in chunks:
                    loss, grad_norm = self.advance(size, batches, stop=stop)
                    bar.set_postfix(loss=f"{loss:.4f}", grad=f"{grad_norm:.3g}", refresh=False)
                    bar.update(size)
                    if self.recorder.done % monitor_every == 0:
                        self.look()
                    due = self._store.due(self.recorder.done)
                    interrupted, due = self._layout.any_process(stopping(), due)
                    if interrupted:
                        return True
                    if due:
                        self.save()
            except KeyboardInterrupt:
                if (
                    self._layout.processes > 1
                ):  # the others are elsewhere, and nothing can be saved without them
                    raise
                return True
        return False

    def save(self):
        self._store.save(self.state, self.history(), self._key)

    def history(self):
        return self.recorder.history(self._programs.compile_seconds)

    def result(self, *, interrupted):
        return TrainResult(*self._layout.plain(self.state), self.history(), interrupted)

    def look(self):
        """Let the monitor see the parameters."""
        if self._look:
            seen = jax.tree.map(np.asarray, self._look(self._layout.plain(self.state.params)))
            self.recorder.look(seen)
            self._tell(self.recorder.done, {"monitored": seen})

    def advance(self, size, batches, *, stop):
        """A chunk of steps; returns the last loss and gradient norm, averaged over the seeds."""
        done = self.recorder.done
        numbers = jnp.arange(done, done + size)
        state, (loss, grad_norm), seconds = self._programs.run(self.state, self._keys, numbers, batches)
        bad = nonfinite_step(loss, grad_norm) if stop else None
        if bad:
            raise self._stopped(*bad, loss, grad_norm, numbers, batches)
        self._record(state, loss, grad_norm, seconds)
        return loss[:, -1].mean(), grad_norm[:, -1].mean()

    def _record(self, state, loss, grad_norm, seconds):
        done, self.state = self.recorder.done, state
        for i, time in enumerate(self.recorder.add(loss, grad_norm, seconds)):
            self._tell(done + i + 1, {"loss": loss[:, i], "grad_norm": grad_norm[:, i], "seconds": time})

    def _tell(self, step, metrics):
        for callback in self._callbacks:
            callback(step, metrics)

    def _stopped(self, seed, index, loss, grad_norm, numbers, batches):
        """The error at that step of the chunk, after the finite ones before it are done again."""
        if index:
            part = jax.tree.map(lambda leaf: leaf[:index], (numbers, batches))
            state, rows, seconds = self._programs.run(self.state, self._keys, *part)
            self._record(state, *rows, seconds)
        batch = self._layout.plain(jax.tree.map(lambda leaf: leaf[index], batches))
        of_seed = jax.tree.map(lambda leaf: leaf[seed], self._layout.plain((self.state, self._keys)))
        step = int(numbers[index])
        arguments = jax.jit(partial(self._update.arguments, layout=Layout()))(*of_seed, step, batch)
        seen = describe(loss, grad_norm, seed, index, step + 1)
        failure = Failure(step + 1, seed, *arguments)
        folder = self._store.folder if self._layout.main else None
        return stopped(seen, failure, self.result(interrupted=False), folder)


def _say(message):
    tqdm.write(f"jaxrnn: {message}", file=sys.stderr)
