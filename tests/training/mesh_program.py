"""Trainings that `test_mesh` and `validation/distributed.py` run in processes of their own.

Each prints one line of JSON. ``python mesh_program.py devices CASES [FOLDER]`` on 4 virtual devices: for each
[dtype, estimator, data, stream, mesh] how far a training on a mesh is from one without, and the collectives
of its program; with a folder, also resumptions. The other kinds are one of two processes.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from collectives import collectives
from jax.sharding import AxisType

import jaxrnn as jr
from jaxrnn.training import Checkpoints, update

CELL = jr.cells.stack(jr.cells.elman(2, 3), jr.cells.dense(3, 1))
OPTIONS = {"chunked": {"window": 2}, "sliding": {"window": 2}, "randomized": {"keep": 0.6}}
STEPS, LATER, KILLED_AT = 6, 12, 9
MESHES = {
    "explicit": lambda: jax.make_mesh((jax.device_count(),), ("batch",)),
    "auto": lambda: jax.make_mesh((jax.device_count(),), ("rows",), axis_types=(AxisType.Auto,)),
    "with seeds": lambda: jax.make_mesh((2, jax.device_count() // 2), ("seeds", "batch")),
    "one seed": lambda: jax.make_mesh((1, jax.device_count()), ("seeds", "batch")),
}


def sample(key):
    xs = jax.random.normal(key, (8, 6, 2))
    return jr.Batch(xs, jnp.cumsum(xs.sum(-1, keepdims=True), axis=1) / 4)


class Sequence:
    """Batches on the host; at one of them a signal comes to this process."""

    def __init__(self, length=LATER, at=None, number=signal.SIGKILL):
        self._length, self._at, self._number = length, at, number

    def __len__(self):
        return self._length

    def __getitem__(self, i):
        if i == self._at:
            os.kill(os.getpid(), self._number)
        return jax.tree.map(np.asarray, sample(jax.random.key(i)))


def train(estimator="full", data=sample, **options):
    make = getattr(jr.gradients, estimator)
    options = {"steps": STEPS, "seeds": 2, "chunk": 2, "progress": False, "key": jax.random.key(7)} | options
    with jax.numpy_dtype_promotion("standard"):
        return jr.training.train(
            CELL,
            make(CELL.step, jr.losses.squared_error, **OPTIONS.get(estimator, {})),
            optax.adam(1e-2),
            data,
            **options,
        )


def relative(found, expected):
    """The largest difference of a leaf, relative to its largest entry."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(outcome(found)), jax.tree.leaves(outcome(expected)), strict=True):
        if np.size(b):
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)))
    return worst


def outcome(result):
    history = result.history
    return result.params, result.opt_state, result.carry, history.loss, history.grad_norm, history.monitored


def same_bits(a, b):
    pairs = zip(jax.tree.leaves(outcome(a)), jax.tree.leaves(outcome(b)), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def compiled_texts():
    """A list that gets the text of every program that training compiles from here on."""
    texts, program = [], update.Programs._program

    def kept(self, *arguments):
        found = program(self, *arguments)
        texts.append(found.as_text())
        return found

    update.Programs._program = kept
    return texts


def devices(cases, folder=None):
    texts, results = compiled_texts(), []
    for dtype, estimator, data, stream, mesh in cases:
        jax.config.update("jax_enable_x64", dtype == "float64")
        options = {"data": sample if data == "sampler" else Sequence(), "stream": stream}
        options["seeds"] = 1 if mesh == "one seed" else 2
        expected = train(estimator, **options)
        texts.clear()
        found = train(estimator, **options, mesh=MESHES[mesh]())
        results.append([relative(found, expected), [name for name, _ in collectives(texts[0])]])
    return {"cases": results} | (resumptions(Path(folder)) if folder else {})


def resumptions(folder):
    """A training saved on one layout and resumed on another, against one that is never interrupted."""
    jax.config.update("jax_enable_x64", True)
    mesh = MESHES["explicit"]()
    options = {"stream": True, "monitor": optax.tree.norm, "monitor_every": 2}
    whole = {on: train(mesh=on, **options) for on in (None, mesh)}
    found = {}
    for name, first, second in (("same", mesh, mesh), ("from", mesh, None), ("to", None, mesh)):
        saved = options | {"checkpoints": folder / name}
        train(mesh=first, steps=4, **saved)
        result = train(mesh=second, resume=True, **saved)
        kind = {type(leaf.sharding).__name__ for leaf in jax.tree.leaves(result[:3])}
        found[name] = [relative(result, whole[second]), same_bits(result, whole[second]), sorted(kind)]
    return {"resumed": found}


def process(number, port, folder, steps, dies=None, dtype="float64"):
    """Trains on two processes; killed itself if it is the one that dies, in the middle."""
    number, steps, folder = int(number), int(steps), Path(folder)
    jax.distributed.initialize(
        f"127.0.0.1:{port}", 2, number, heartbeat_timeout_seconds=10, shutdown_timeout_seconds=10
    )
    jax.config.update("jax_enable_x64", dtype == "float64")
    mesh = MESHES["explicit"]()
    data = Sequence(steps, KILLED_AT if dies == str(number) else None)
    saved = {"checkpoints": Checkpoints(folder / "run", every=4), "resume": True, "steps": None}
    heard = []
    callbacks = [lambda step, _: heard.append(step)]
    began = time.monotonic()
    result = train(data=data, mesh=mesh, stream=True, callbacks=callbacks, **saved)
    if number == 0:
        result.save(folder / "trained.npz")
    return {"heard": len(heard), "seconds": time.monotonic() - began, "loss": result.history.loss.tolist()}


def compared(number, port, estimators):
    """{dtype: {estimator: how far two processes are from one device}}, each of which they have, too."""
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(number))
    found = {}
    for dtype in ("float64", "float32"):
        jax.config.update("jax_enable_x64", dtype == "float64")
        mesh = MESHES["explicit"]()
        found[dtype] = {name: relative(train(name, mesh=mesh), train(name)) for name in estimators.split(",")}
    return found


def pair(number, port, folder, estimators, dtype="float64"):
    """Trainings of two processes that nothing happens to but a signal to the second."""
    number, folder = int(number), Path(folder)
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, number)
    jax.config.update("jax_enable_x64", dtype == "float64")
    mesh, found = MESHES["explicit"](), {}
    for name in estimators.split(","):
        result = train(name, mesh=mesh)
        found[name] = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), jax.tree.leaves(outcome(result)))
    data = Sequence(STEPS, 3 if number == 1 else None, signal.SIGTERM)
    saved = {"data": data, "mesh": mesh, "checkpoints": folder / "signalled", "resume": True}
    interrupted = train(**saved)
    return {
        "trained": found,
        "interrupted": [interrupted.interrupted, interrupted.history.loss.shape[1]],
        "steps saved": sorted(int(path.name) for path in (folder / "signalled").iterdir()),
    }


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind == "devices":
        arguments[0] = json.loads(arguments[0])
    programs = {"devices": devices, "process": process, "pair": pair, "compared": compared}
    print(json.dumps(programs[kind](*arguments)), flush=True)
