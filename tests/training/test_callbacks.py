"""What a running training tells, to whom, and when; the writers' files."""

import csv as csv_module
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close, make_batch
from jax import lax
from tensorboardX import SummaryWriter

import jaxrnn as jr
from jaxrnn import cells, gradients, training
from jaxrnn.losses import squared_error
from jaxrnn.training import callbacks, monitor, norm_monitor

CELL = cells.stack(cells.elman(2, 3), cells.dense(3, 2))
PARAMS, _, BATCH = make_batch(CELL, 2, 3, 5)
FULL = gradients.full(CELL.step, squared_error, init_state=CELL.init_state)


def train(**options):
    options = {"steps": 7, "progress": False, "key": jax.random.key(0), "chunk": 3} | options
    return training.train(CELL, FULL, optax.sgd(0.1), lambda _: BATCH, **options)


def recorder():
    seen = []
    return seen, lambda step, metrics: seen.append((step, metrics))


def test_train_tells_every_step_in_order_as_its_history_has_it():
    seen, callback = recorder()
    history = train(callbacks=[callback], seeds=2).history
    assert [step for step, _ in seen] == list(range(1, 8))
    for i, (_, metrics) in enumerate(seen):
        assert_close(metrics["loss"], history.loss[:, i])
        assert_close(metrics["grad_norm"], history.grad_norm[:, i])
        assert metrics["seconds"] == history.seconds[i]


def test_train_tells_what_its_monitor_saw_and_nothing_else_changes():
    seen, callback = recorder()
    told = train(callbacks=[callback], monitor=lambda params: params[1]["b"], monitor_every=2)
    looks = [(step, metrics["monitored"]) for step, metrics in seen if "monitored" in metrics]
    assert [step for step, _ in looks] == [0, 2, 4, 6]
    for i, (_, found) in enumerate(looks):
        assert_close(found[0], told.history.monitored[0, i])
    silent = train(monitor=lambda params: params[1]["b"], monitor_every=2)
    assert_close(told.params, silent.params)


def test_flat_gives_every_number_a_name():
    look = jax.jit(norm_monitor(CELL, BATCH, lags=[1, 2]))(PARAMS)
    named = callbacks.flat({"a": np.float32(2), "b": np.arange(4.0).reshape(2, 2), "monitored": look})
    assert named["a"] == 2 and named["b/1/0"] == 2
    assert named["monitored/by_lag/median/1"] == look.by_lag.median[1]
    assert named["monitored/certified"] == look.certified
    assert all(type(value) is float for value in named.values())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv_module.DictReader(file))


def test_jsonl_has_a_line_for_each_call_and_null_for_what_is_not_finite(tmp_path):
    path = tmp_path / "log.jsonl"
    history = train(callbacks=[callbacks.jsonl(path)]).history
    callbacks.jsonl(path)(8, {"loss": np.array([np.nan]), "grad_norm": np.inf})
    *lines, last = map(json.loads, path.read_text().splitlines())
    assert [line["step"] for line in lines] == list(range(1, 8))
    assert [line["loss"] for line in lines] == history.loss[0].tolist()
    assert last == {"step": 8, "loss": None, "grad_norm": None}


def test_csv_gets_a_column_for_every_name_and_leaves_blank_what_is_missing(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("what was here before")
    history = train(
        callbacks=[callbacks.csv(path)], monitor=lambda params: params[1]["b"][0], monitor_every=3
    ).history
    rows = rows_of(path)
    assert list(rows[0]) == ["step", "monitored", "loss", "grad_norm", "seconds"]
    losses = {int(row["step"]): float(row["loss"]) for row in rows if row["loss"]}
    assert losses == dict(zip(range(1, 8), history.loss[0].tolist(), strict=True))
    looks = {int(row["step"]): float(row["monitored"]) for row in rows if row["monitored"]}
    assert looks == dict(zip([0, 3, 6], history.monitored[0].tolist(), strict=True))


def test_tensorboard_gets_the_names(tmp_path):
    with SummaryWriter(str(tmp_path / "own")) as writer:
        train(callbacks=[callbacks.tensorboard(writer)], seeds=2, steps=2)
    (events,) = (tmp_path / "own").iterdir()
    assert all(name in events.read_bytes() for name in (b"loss/0", b"loss/1", b"grad_norm/0", b"seconds"))
    callbacks.tensorboard(tmp_path / "runs")(1, {"loss": 0.5})
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_tensorboard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"needs tensorboardX: pip install 'jaxrnn\[tensorboard\]'"):
        callbacks.tensorboard(tmp_path)


def test_wandb_gets_the_numbers_through_its_run():
    class Run:
        logged = ()

        def log(self, numbers, step):
            self.logged += ((step, numbers),)

    run = Run()
    history = train(callbacks=[callbacks.wandb(run)], steps=2).history
    assert [step for step, _ in run.logged] == [1, 2]
    assert run.logged[1][1]["loss"] == history.loss[0, 1]


def gradient(params):
    carry = FULL.init(params)
    return FULL.estimate(params, carry, BATCH, jax.random.key(0))[0].grads


def updated(optimizer, steps, loop):
    """Parameters after some updates, in a Python loop of compiled steps or in one compiled scan."""

    def step(state, _):
        params, opt_state = state
        updates, opt_state = optimizer.update(gradient(params), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    state = PARAMS, optimizer.init(PARAMS)
    if loop == "scan":
        state, _ = jax.jit(lambda state: lax.scan(step, state, None, length=steps))(state)
    else:
        compiled = jax.jit(step)
        for _ in range(steps):
            state, _ = compiled(state, None)
    jax.effects_barrier()
    return state[0]


@pytest.mark.parametrize("loop", ["python", "scan"])
def test_a_monitored_optimizer_makes_the_same_updates_and_tells_now_and_then(loop):
    seen, callback = recorder()
    clipped = optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(0.5))
    look = norm_monitor(CELL, BATCH, lags=[1, 3])
    found = updated(monitor(clipped, callback, look=look, every=3), 7, loop)
    assert_close(found, updated(clipped, 7, loop))
    assert sorted(step for step, _ in seen) == [0, 3, 6]
    # Arrays of JAX would tempt callbacks to compute with JAX inside of a running program, and hang.
    assert {type(leaf) for leaf in jax.tree.leaves(seen)} == {int, np.ndarray}
    first = dict(seen)[0]
    assert_close(first["grad_norm"], np.asarray(optax.tree.norm(gradient(PARAMS))))
    assert_close(first["update_norm"], np.asarray(0.005))
    assert_close(first["monitored"], jax.tree.map(np.asarray, look(PARAMS)))


def test_a_monitored_optimizer_of_several_seeds_tells_of_each_when_it_is_due():
    seen, callback = recorder()
    training.train(
        CELL, FULL, monitor(optax.sgd(0.1), callback, every=2), lambda _: BATCH,
        steps=5, seeds=2, key=jax.random.key(0), progress=False,
    )  # fmt: skip
    jax.effects_barrier()
    assert sorted(step for step, _ in seen) == [0, 0, 2, 2, 4, 4]


def test_a_monitored_optimizer_hands_on_what_others_need():
    seen, callback = recorder()
    backtracking = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(5))

    def value(w):
        return jnp.sum(w**2)

    w = jnp.array([1.0, -2.0])
    for optimizer in (backtracking, jr.monitor(backtracking, callback)):
        updates, _ = optimizer.update(
            jax.grad(value)(w), optimizer.init(w), w, value=value(w), grad=jax.grad(value)(w), value_fn=value
        )
        assert value(w + updates) < value(w)
    jax.effects_barrier()
    assert len(seen) == 1


def test_what_a_monitor_needs_is_named():
    with pytest.raises(ValueError, match=r"training\.monitor: every is 0; expected at least 1"):
        monitor(optax.sgd(1.0), print, every=0)
    optimizer = monitor(optax.sgd(1.0), print, look=lambda params: params)
    with pytest.raises(ValueError, match=r"training\.monitor: look needs params"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
