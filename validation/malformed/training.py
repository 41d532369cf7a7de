"""Training: the loop, penalties, monitors, callbacks, and streams without end."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrnn import Batch, cells, diagnosis, gradients, losses, tasks, training
from validation.malformed.cells import kind_of, params_of
from validation.malformed.gradients import CELL, T, batch_arguments
from validation.malformed.judge import Call
from validation.malformed.kinds import (
    Choice,
    Count,
    Fixed,
    Function,
    Key,
    Number,
    Opaque,
    refused,
)
from validation.malformed.trees import Tree

__all__ = ["calls"]


def _penalties_and_monitors():
    found, cell = batch_arguments(weighted=False), Opaque(CELL)
    of_loss = {"params": found["params"], "batch": found["batch"]}
    penalties = {
        "pascanu_penalty": (lambda cell: training.pascanu_penalty(cell, losses.squared_error), {}),
        "spectral_norm_penalty": (
            training.spectral_norm_penalty,
            {"lag": Count(2, 1, T), "sequences": Count(1, 1)},
        ),
        "flossing_penalty": (training.flossing_penalty, {"k": Count(1, 1, 3), "sequences": Count(1, 1)}),
    }
    # Penalties on Jacobians read the inputs only.
    inputs = Tree(Batch(found["batch"].kinds.xs, *map(Fixed, found["batch"].value[1:])))
    for name, (make, options) in penalties.items():
        probe = lambda cell, params, batch, make=make, **o: make(cell, **o)(params, batch)  # noqa: E731
        read = of_loss if name == "pascanu_penalty" else of_loss | {"batch": inputs}
        yield Call(f"training.{name}", probe, {"cell": cell} | read | options)
    full = gradients.full(CELL.step, losses.squared_error)

    def penalized(estimator, penalty, weight, params, batch):
        made = training.penalized(estimator, penalty, weight)
        return made.estimate(params, found["h_0"].value, batch, jax.random.key(0))[0]

    penalty = training.pascanu_penalty(CELL, losses.squared_error)
    weighted = {
        "estimator": Opaque(full),
        "penalty": Function(penalty),
        "weight": Number(1.0, lambda x: 0 <= x < np.inf),
    }
    yield Call("training.penalized", penalized, weighted | of_loss)

    def watched(cell, batch, params, **options):
        return training.norm_monitor(cell, batch, **options)(params)

    watch = {"cell": cell, "sequences": Count(1, 1), "lags": Opaque([1], [9], [-1], [1.0], ["a"], 1, [[1]])}
    yield Call("training.norm_monitor", watched, {"params": found["params"], "batch": inputs} | watch)

    def monitored(optimizer, callback, every):
        made = training.monitor(optimizer, callback, every=every)
        params = {"w": jnp.ones(2)}
        return made.update(params, made.init(params), params)[0]

    monitor = {
        "optimizer": Opaque(optax.sgd(0.1)),
        "callback": Function(lambda *_: None),
        "every": Count(2, 1),
    }
    yield Call("training.monitor", monitored, monitor)
    adam = lambda **o: training.clipped_adam(**o).update(  # noqa: E731
        {"w": jnp.ones(2)}, training.clipped_adam(**o).init({"w": jnp.ones(2)})
    )[0]
    yield Call("training.clipped_adam", adam, {"max_norm": Number(1.0, lambda x: x > 0)})


def _train():
    found = batch_arguments(weighted=False)
    batch = found["batch"].value
    full = gradients.full(CELL.step, losses.squared_error)
    call = {
        "cell": Opaque(CELL),
        "estimator": Opaque(full),
        "optimizer": Opaque(optax.sgd(0.1)),
        "data": Opaque([batch] * 2, ["a"], [batch, 3], [batch.xs], [], but=("a function", "a class")),
        "steps": Count(2, 1, optional=True),
        "key": Key(),
        "seeds": Count(1, 1),
        "params": found["params"],
        "chunk": Count(1, 1),
        "monitor": Function(optax.tree.norm, optional=True),
        "monitor_every": Count(1, 1),
        "callbacks": Opaque((), [3], ["a"], but=("an empty list",)),
        "nonfinite": Choice("stop", ("stop", "skip", "keep")),
        "mesh": Opaque(None, optional=True),
        "progress": Fixed(False),
    }
    # No callbacks in any form are none.
    call["callbacks"].bad = call["callbacks"].bad.filter(lambda bad: getattr(bad.value, "size", 1))
    trained = lambda **o: training.train(**o).history.loss  # noqa: E731
    yield Call("training.train", trained, {name: refused(kind) for name, kind in call.items()}, eager=True)


def _streams():
    folder = Path(tempfile.mkdtemp())
    text = folder / "text"
    text.write_text("abc " * 100, encoding="utf-8")
    empty = folder / "empty"
    empty.write_text("", encoding="utf-8")
    call = {
        "path": Opaque(text, folder / "missing", folder, empty, but=("a string", "an empty string")),
        "length": Count(8, 1),
        "batch_size": Count(2, 1),
        "alphabet": Choice("letters", ("letters", "bytes")),
    }
    read = lambda **o: tasks.text_stream(**o)[0].xs  # noqa: E731
    yield Call("tasks.text_stream", read, {name: refused(kind) for name, kind in call.items()}, eager=True)
    cell = cells.elman(2, 3)
    params, xs = params_of(cell), np.random.default_rng(5).normal(size=(T, 2))
    call = {
        "step": Function(cell.step),
        "params": kind_of(params, more=True, nan=False),
        "h_0": kind_of(cell.init_state(params), nan=False),
        "chunks": Opaque([xs], [np.ones((T, 3))], ["a"], [xs, 3], [], [None]),
        "k": Count(2, 1, 3),
    }
    rates = lambda **o: diagnosis.stream_growth_rates(**o).rates  # noqa: E731
    yield Call(
        "diagnosis.stream_growth_rates",
        rates,
        {name: refused(kind) for name, kind in call.items()},
        eager=True,
    )


def _callbacks():
    path = Path(tempfile.mkdtemp()) / "log"
    for name, make in (("jsonl", training.callbacks.jsonl), ("csv", training.callbacks.csv)):
        written = lambda path, make=make: make(path)(0, {"loss": 1.0}) or 0.0  # noqa: E731
        where = refused(Opaque(path, but=("a string", "an empty string")))
        where.bad = where.bad.filter(lambda bad: not isinstance(bad.value, str))
        yield Call(f"training.callbacks.{name}", written, {"path": where}, eager=True)
    numbers = refused(Opaque({"loss": 1.0}, but=("a dict", "an empty dict")))
    flat = lambda metrics: training.callbacks.flat(metrics)["loss"]  # noqa: E731
    yield Call("training.callbacks.flat", flat, {"metrics": numbers}, eager=True)


def calls():
    """Every call of this room."""
    for room in (_penalties_and_monitors, _train, _streams, _callbacks):
        yield from room()
