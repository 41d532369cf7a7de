"""One training loop for every estimator: a host loop over jitted chunks of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Float, Int, PyTree
from tqdm.auto import tqdm

from jaxrnn import _checks
from jaxrnn._pytree import tree_norm
from jaxrnn._result_type import result_type
from jaxrnn.training.callbacks import Callback
from jaxrnn.training.optimizers import Optimizer
from jaxrnn.types import Batch, Carry, Cell, Estimator, Key, Params

__all__ = ["History", "TrainResult", "train"]


@result_type
class History(NamedTuple):
    """What happened at every training step, for each of S seeds."""

    loss: Float[np.ndarray, "S steps"]
    """Of the step's batch, before the update."""
    grad_norm: Float[np.ndarray, "S steps"]
    """‖ĝ‖ as the estimator gave it, before clipping."""
    seconds: Float[np.ndarray, " steps"]
    """Wall time since the start of training, all seeds together, without compilation and monitor."""
    compile_seconds: float
    monitored: PyTree = None
    """What the monitor returned, leaves [S, M, ...]; None without one."""
    monitored_steps: Int[np.ndarray, " M"] | None = None
    """How many steps were done when it looked: 0, m, 2m, ..."""

    def raise_if_bad(self) -> History:
        """The history itself; NumericalError at the first step whose loss or gradient is not finite."""
        bad = ~(np.isfinite(self.loss) & np.isfinite(self.grad_norm))
        if bad.any():
            seed, step = np.argwhere(bad)[np.argwhere(bad)[:, 1].argmin()]
            raise _checks.NumericalError(
                f"train: loss {self.loss[seed, step]} and gradient norm {self.grad_norm[seed, step]} at "
                f"step {step + 1} of seed {seed}. Clip the gradient (optax.clip_by_global_norm) or lower the "
                "learning rate."
            )
        return self


@result_type
class TrainResult(NamedTuple):
    """Trained parameters with a leading axis [S] of seeds, and how they got there."""

    params: Params
    opt_state: Any
    carry: Carry
    history: History
    interrupted: bool

    def seed(self, index: int = 0) -> Params:
        """The parameters of one seed, without the leading axis."""
        return jax.tree.map(lambda leaf: leaf[index], self.params)


def train(
    cell: Cell,
    estimator: Estimator,
    optimizer: Optimizer,
    data: Callable[[Key], Batch] | Iterable[Batch],
    *,
    steps: int,
    key: Key,
    seeds: int = 1,
    params: Params | None = None,
    stream: bool = False,
    chunk: int = 20,
    monitor: Callable[[Params], PyTree] | None = None,
    monitor_every: int = 100,
    callbacks: Sequence[Callback] = (),
    progress: bool | str = True,
) -> TrainResult:
    """Minimise a loss by ``θ ← θ - update(ĝ)`` with any estimator and any optax optimizer (E22).

    Parameters
    ----------
    cell : for its initial parameters and states.
    estimator : of the gradient, built from ``cell.step`` and a loss.
    optimizer : such as ``optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))`` (E21).
    data : a pure function ``key -> Batch``, which is compiled into the loop, or an iterable of batches of
        one shape, which all seeds share.
    steps : how many updates; fewer if an iterable ends before.
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
        looked; `training.callbacks` has writers.
    progress : whether to show a bar with loss and gradient norm, averaged over the seeds; a string is its
        title.

    Returns
    -------
    TrainResult
        ``params`` with leading axis [S], ``history``, and what is needed to go on. Ctrl-C ends training and
        keeps the chunks that are done; ``interrupted`` says so.

    Raises
    ------
    ValueError
        If steps, seeds, chunk or monitor_every is below 1, or the data holds no batch.

    Notes
    -----
    One compilation for a chunk, and one for every other length of a last chunk or of one that the monitor
    cuts short; none is timed.

    Example
    -------
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
        _checks.at_least("training.train", name, value, 1)
    watch = _Watch(monitor, monitor_every, callbacks)
    chunks = _Chunks(data, steps, chunk, monitor_every if monitor else steps)
    seed_keys = jax.random.split(key, seeds)
    start = jax.vmap(lambda k: _start(cell, estimator, optimizer, chunks.first, params, k))(seed_keys)
    programs = _Programs(_chunk_program(cell, estimator, optimizer, data, stream))

    state, rows, interrupted, seconds = start, [], False, [0.0]
    title = progress if isinstance(progress, str) else "training"
    bar = tqdm(total=steps, disable=not progress, unit="step", desc=title)
    try:
        watch.look(0, state[0])
        for size, batches in chunks:
            done = len(seconds) - 1
            numbers = jnp.arange(done, done + size)
            program = programs.compiled(state, seed_keys, numbers, batches)
            began = time.perf_counter()
            state, row = jax.block_until_ready(program(state, seed_keys, numbers, batches))
            row = jax.tree.map(np.asarray, row)
            seconds.extend(seconds[-1] + (time.perf_counter() - began) * np.arange(1, size + 1) / size)
            rows.append(row)
            for i in range(size if callbacks else 0):
                metrics = {"loss": row[0][:, i], "grad_norm": row[1][:, i], "seconds": seconds[done + i + 1]}
                _tell(callbacks, done + i + 1, metrics)
            bar.set_postfix(
                loss=f"{row[0][:, -1].mean():.4f}", grad=f"{row[1][:, -1].mean():.3g}", refresh=False
            )
            bar.update(size)
            watch.look(done + size, state[0])
    except KeyboardInterrupt:
        interrupted = True
    finally:
        bar.close()
    if rows:
        loss, grad_norm = (np.concatenate(column, axis=1) for column in zip(*rows, strict=True))
    else:
        loss, grad_norm = np.zeros((2, seeds, 0))
    history = History(loss, grad_norm, np.array(seconds[1:]), programs.compile_seconds, *watch.seen())
    return TrainResult(*state, history, interrupted)


def _tell(callbacks, step, metrics):
    for callback in callbacks:
        callback(step, metrics)


def _start(cell, estimator, optimizer, batch, params, key):
    """(params, opt_state, carry) of one seed, before the first step."""
    params = cell.init(jax.random.fold_in(key, 0)) if params is None else params
    return params, optimizer.init(params), _fresh_carry(cell, estimator, params, batch)


def _fresh_carry(cell, estimator, params, batch):
    size, _ = _checks.batch_shape("training.train", batch)
    return estimator.init(params, cell.initial_states(params, size))


def _chunk_program(cell, estimator, optimizer, data, stream):
    """(state, key, numbers [K], batches [K] or None) -> (state, (loss [K], grad_norm [K])), of one seed."""

    def one_step(state, key, number, batch):
        params, opt_state, carry = state
        data_key, estimator_key = jax.random.split(jax.random.fold_in(key, number + 1))
        batch = data(data_key) if callable(data) else batch
        if not stream:
            carry = _fresh_carry(cell, estimator, params, batch)
        estimate, carry = estimator.estimate(params, carry, batch, estimator_key)
        updates, opt_state = optimizer.update(estimate.grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, opt_state, carry), (estimate.loss, tree_norm(estimate.grads))

    def run(state, key, numbers, batches):
        return lax.scan(lambda state, inputs: one_step(state, key, *inputs), state, (numbers, batches))

    return run


class _Programs:
    """The chunk program, vmapped over seeds and compiled once a chunk length, outside the timing."""

    def __init__(self, program):
        # Batches of an iterable are shared by all seeds; a sampler makes each seed's own from its key.
        self._jitted = jax.jit(jax.vmap(program, in_axes=(0, 0, None, None)))
        self._compiled = {}
        self.compile_seconds = 0.0

    def compiled(self, state, keys, numbers, batches):
        if len(numbers) not in self._compiled:
            began = time.perf_counter()
            self._compiled[len(numbers)] = self._jitted.lower(state, keys, numbers, batches).compile()
            self.compile_seconds += time.perf_counter() - began
        return self._compiled[len(numbers)]


class _Watch:
    """The monitor's results, at the steps where it is due."""

    def __init__(self, monitor, every, callbacks):
        self._monitor, self._every = monitor and jax.jit(jax.vmap(monitor)), every
        self._callbacks, self._steps, self._rows = callbacks, [], []

    def look(self, done, params):
        if self._monitor and done % self._every == 0:
            self._rows.append(jax.tree.map(np.asarray, self._monitor(params)))
            self._steps.append(done)
            _tell(self._callbacks, done, {"monitored": self._rows[-1]})

    def seen(self):
        if not self._rows:
            return None, None
        return jax.tree.map(lambda *rows: np.stack(rows, axis=1), *self._rows), np.array(self._steps)


class _Chunks:
    """(size, stacked batches or None) for every chunk, from a sampler or from an iterable.

    No chunk reaches over a multiple of `stop`.
    """

    def __init__(self, data, steps, chunk, stop):
        self._steps, self._chunk, self._stop = steps, chunk, stop
        if callable(data):
            self._batches = None
            self.first = jax.eval_shape(data, jax.random.key(0))
            return
        self._batches = islice(data, steps)
        self._ahead = list(islice(self._batches, 1))
        if not self._ahead:
            raise ValueError("training.train: data holds no batch; expected an iterable of Batch.")
        self.first = self._ahead[0]

    def __iter__(self):
        done = 0
        while done < self._steps:
            size = min(self._chunk, self._steps - done, self._stop - done % self._stop)
            if self._batches is None:
                yield size, None
            else:
                group, self._ahead = self._ahead + list(islice(self._batches, size - len(self._ahead))), []
                if not group:
                    return
                size = len(group)
                yield size, jax.tree.map(lambda *leaves: jnp.stack(leaves), *group)
            done += size
