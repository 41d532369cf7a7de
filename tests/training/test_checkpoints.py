"""A training that is interrupted, killed or out of disk goes on where it was, to the same bits."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import Batch, cells, gradients, training
from jaxrnn._pytree import is_key
from jaxrnn.losses import squared_error
from jaxrnn.training import Checkpoints

CELL = cells.stack(cells.elman(2, 3), cells.dense(3, 1))
KEY = jax.random.key(7)
ADAM = optax.adam(1e-2)
ESTIMATORS = {
    "full": gradients.full(CELL.step, squared_error),
    "chunked": gradients.chunked(CELL.step, squared_error, window=2),
    "randomized": gradients.randomized(CELL.step, squared_error, keep=0.6),
    "rtrl": gradients.rtrl(CELL.step, squared_error),
}


def sample(key):
    xs = jax.random.normal(key, (2, 6, 2))
    return Batch(xs, jnp.cumsum(xs.sum(-1, keepdims=True), axis=1))


def look(params):
    return {"norm": optax.tree.norm(params)}


def train(data=sample, *, estimator="full", optimizer=ADAM, **options):
    options = {"steps": 9, "seeds": 2, "chunk": 2, "progress": False, "key": KEY} | options
    # optax's Adam multiplies numbers of several dtypes.
    with jax.numpy_dtype_promotion("standard"):
        return training.train(CELL, ESTIMATORS[estimator], optimizer, data, **options)


def assert_same_bits(a, b):
    """All but the seconds."""
    a, b = (run._replace(history=run.history._replace(seconds=0, compile_seconds=0)) for run in (a, b))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        x, y = (jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in (x, y))
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=jax.tree_util.keystr(path))
        assert np.asarray(x).dtype == np.asarray(y).dtype


def interrupting(step, number=signal.SIGINT):
    """A callback that sends this process a signal."""
    return lambda done, _: os.kill(os.getpid(), number) if done == step else None


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_resumed_training_ends_in_the_bits_of_an_uninterrupted_one(name, stream, tmp_path):
    options = {"estimator": name, "stream": stream, "monitor": look, "monitor_every": 3}
    whole = train(**options)
    saved = options | {"checkpoints": tmp_path}
    part = train(**saved, callbacks=[interrupting(4)])
    assert part.interrupted and part.history.loss.shape == (2, 5)
    rest = train(**saved, resume=True)
    assert not rest.interrupted
    assert_same_bits(rest, whole)
    seconds = rest.history.seconds
    np.testing.assert_array_equal(seconds[:5], part.history.seconds)
    assert (np.diff(seconds) > 0).all() and seconds.shape == (9,)


def test_checkpoints_change_no_bit_of_a_training(tmp_path):
    assert_same_bits(train(checkpoints=Checkpoints(tmp_path, every=1)), train())


def test_a_complete_training_is_returned_again_and_can_be_prolonged(tmp_path):
    first = train(checkpoints=tmp_path, steps=4)
    assert_same_bits(train(checkpoints=tmp_path, steps=4, resume=True), first)
    assert_same_bits(train(checkpoints=tmp_path, resume=True), train())


def test_resuming_where_nothing_is_saved_begins(tmp_path):
    assert_same_bits(train(checkpoints=tmp_path / "a" / "b", resume=True), train())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_chunk_end_and_saves_it(number, tmp_path, capsys):
    before = signal.getsignal(number)
    result = train(checkpoints=tmp_path, callbacks=[interrupting(3, number)])
    assert result.interrupted and result.history.loss.shape == (2, 4)
    assert f"{number.name}: finishing this chunk" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert_same_bits(train(checkpoints=tmp_path, resume=True), train())


def test_a_second_signal_ends_the_training_at_once(tmp_path):
    def data():
        yield from (sample(jax.random.key(i)) for i in range(3))
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        yield sample(KEY)

    result = train(data(), checkpoints=tmp_path)
    assert result.interrupted and result.history.loss.shape == (2, 2)


def test_the_latest_checkpoints_are_kept(tmp_path):
    train(checkpoints=Checkpoints(tmp_path, every=2, keep=2))
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [8, 9]
    train(checkpoints=Checkpoints(tmp_path / "b", every=5))
    assert sorted(int(path.name) for path in (tmp_path / "b").iterdir()) == [0, 6, 9]
    train(checkpoints=Checkpoints(tmp_path / "c", every=None, minutes=1e-9, keep=9))
    assert len(list((tmp_path / "c").iterdir())) == 6
    train(checkpoints=Checkpoints(tmp_path / "d", every=None, minutes=None))
    assert sorted(int(path.name) for path in (tmp_path / "d").iterdir()) == [0, 9]


class Numbered(Sequence):
    """A sequence of batches that remembers which ones were asked for."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 9

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError
        self.asked.append(i)
        return sample(jax.random.key(i))


@pytest.mark.usefixtures("unchecked_types")  # whose checks look at a batch, too
def test_a_sequence_is_read_from_the_right_batch_on_and_an_iterable_is_skipped_to_it(tmp_path):
    whole = train(Numbered(), steps=None)
    assert whole.history.loss.shape == (2, 9)
    train(Numbered(), checkpoints=tmp_path, steps=4)
    numbered = Numbered()
    assert_same_bits(train(numbered, checkpoints=tmp_path, steps=None, resume=True), whole)
    assert numbered.asked == [0, 4, 5, 6, 7, 8]  # the first for its shape

    train(iter(Numbered()), checkpoints=tmp_path / "b", steps=4)
    rest = train(iter(Numbered()), checkpoints=tmp_path / "b", steps=None, resume=True)
    assert_same_bits(rest, whole)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"key": jax.random.key(8)}, "something else: key is"),
        ({"seeds": 3}, r"something else: .*W_hh.* is float64\[2, 3, 3\] there and float64\[3, 3, 3\] here"),
        ({"nonfinite": "skip"}, r"something else: .*missing"),
        ({"steps": 3}, "steps is 3, but the folder holds 4 steps already; expected steps of at least"),
        ({"resume": False}, "holds a training of 4 steps; pass resume=True to go on with it"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(changed, match, tmp_path):
    train(checkpoints=tmp_path, steps=4)
    with pytest.raises(ValueError, match=f"training.train: .*{match}"):
        train(**{"checkpoints": tmp_path, "resume": True} | changed)


def test_resume_without_a_folder_is_refused():
    with pytest.raises(ValueError, match="resume=True needs checkpoints="):
        train(resume=True)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "match"),
    [({"every": 0}, "every is 0"), ({"keep": 0}, "keep is 0"), ({"minutes": 0}, "minutes is 0")],
)
def test_settings_that_mean_nothing_are_refused(options, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        train(checkpoints=Checkpoints(tmp_path, **options))


def test_a_folder_that_cannot_be_written_is_reported_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"training\.train: checkpoints cannot be written to .*file"):
            train(checkpoints=folder)


def test_a_disk_without_room_is_reported_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"0\.0 MB are free, but 3 checkpoints and one in the making take"):
        train(checkpoints=tmp_path)


def test_keys_and_low_precision_come_back(tmp_path):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), CELL.init(KEY))

    def data(key):
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), sample(key))

    noisy = optax.chain(optax.add_noise(1e-3, 0.5, jax.random.key(3)), optax.sgd(1e-2))
    options = {"params": half, "optimizer": noisy, "seeds": 1}
    train(data, checkpoints=tmp_path, steps=4, **options)
    rest, whole = train(data, checkpoints=tmp_path, resume=True, **options), train(data, **options)
    assert rest.params[0]["W_hh"].dtype == jnp.bfloat16
    assert_same_bits(rest, whole)


BEGIN = """
import resource, signal, sys, time, warnings
sys.path[:0] = sys.argv[2:]
import jax
jax.config.update("jax_enable_x64", True)
import test_checkpoints as t
"""
FILL = """
def fill(step, metrics):
    if step == 6:  # from here on no file may be longer than a few bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    t.train(checkpoints=t.Checkpoints(sys.argv[1], every=2), callbacks=[fill])
print([str(w.message) for w in caught if w.category is RuntimeWarning])
"""
SLOW = """
t.train(checkpoints=t.Checkpoints(sys.argv[1], every=2), callbacks=[lambda *_: time.sleep(0.5)], resume=True)
"""


def process(code, folder):
    here = Path(__file__).parent
    command = [sys.executable, "-c", BEGIN + code, folder, here, here.parent]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_disk_that_fills_up_loses_no_earlier_checkpoint(tmp_path):
    out, err = process(FILL, tmp_path / "run").communicate()
    for step in (6, 8, 9):
        assert f"the checkpoint of step {step} could not be written" in out, err[-2000:]
    assert "that of step 4 and those before it stay" in out
    assert_same_bits(train(checkpoints=tmp_path / "run", resume=True), train())


def test_a_training_that_is_killed_goes_on_to_the_same_bits(tmp_path):
    """Once; `python -m validation killed` does it at 20 random moments for each of four estimators."""
    killed = process(SLOW, tmp_path / "run")
    while killed.poll() is None and not (tmp_path / "run" / "4").exists():
        time.sleep(0.05)
    killed.kill()
    _, err = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, err[-2000:]
    assert_same_bits(train(checkpoints=tmp_path / "run", resume=True), train())
