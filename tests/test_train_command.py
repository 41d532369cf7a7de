"""``jaxrnn train``: saves, ends and resumes as its help says."""

import os
import signal

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cli import main

SMALL = ["--hidden", "3", "--length", "6", "--batch", "2", "--quiet", "--steps", "30"]


@pytest.fixture(autouse=True)
def promotion():
    """As users have it, whom the command is for; optax's Adam needs it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def train(out, *options, data=("--task", "adding")):
    return main(["train", *data, *SMALL, "--out", str(out), *options])


def arrays(out):
    """All but the times, of which one stands in the file's structure."""
    with np.load(out / "trained.npz") as file:
        return {name: file[name] for name in file.files if "seconds" not in name and name != "__structure__"}


def test_a_training_that_is_interrupted_and_resumed_ends_as_one_that_is_not(tmp_path, capsys, monkeypatch):
    assert train(tmp_path / "a") == 0
    assert "30 steps; the loss of the last 20 is 0." in capsys.readouterr().out
    real = jaxrnn.training.train

    def interrupted(*arguments, **options):
        def kill(step, metrics):
            del metrics
            if step == 5:
                os.kill(os.getpid(), signal.SIGTERM)

        return real(*arguments, callbacks=[kill], **options)

    monkeypatch.setattr(jaxrnn.training, "train", interrupted)
    assert train(tmp_path / "b") == 130
    assert "interrupted after step 20, which is saved" in capsys.readouterr().err
    assert not (tmp_path / "b" / "trained.npz").exists()
    monkeypatch.undo()
    assert train(tmp_path / "b") == 2
    assert "error: training.train: " in (message := capsys.readouterr().err) and "pass resume=True" in message
    assert train(tmp_path / "b", "--resume") == 0
    first, second = arrays(tmp_path / "a"), arrays(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "options",
    [
        ("--estimator", "chunked", "--window", "2"),
        ("--estimator", "sliding", "--window", "2"),
        ("--estimator", "randomized", "--keep", "0.5"),
        ("--estimator", "rtrl"),
        ("--estimator", "uoro"),
        ("--cell", "gru", "--seeds", "2", "--seed", "3", "--x64", "--learning-rate", "0.1"),
    ],
)
def test_every_option_changes_what_is_trained(options, tmp_path, capsys):
    assert train(tmp_path / "plain", "--cell", "elman") == 0
    assert train(tmp_path / "with", *(() if "--cell" in options else ("--cell", "elman")), *options) == 0
    first, second = arrays(tmp_path / "plain"), arrays(tmp_path / "with")
    names = first.keys() & second.keys()
    assert any(
        first[name].shape != second[name].shape or (first[name] != second[name]).any() for name in names
    )
    capsys.readouterr()


def test_a_stream_is_read_once_to_its_end(tmp_path, capsys):
    (tmp_path / "text").write_text("where does the gradient go? " * 100)
    options = [
        "--stream",
        str(tmp_path / "text"),
        "--hidden",
        "3",
        "--length",
        "50",
        "--batch",
        "4",
        "--quiet",
    ]
    assert main(["train", *options, "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith("13 steps;")
    result = jaxrnn.load(tmp_path / "run" / "trained.npz")
    assert np.abs(result.carry[0].h).max() > 0


def test_a_nan_ends_the_command_with_a_line_and_exit_code_1(tmp_path, capsys):
    assert train(tmp_path, "--learning-rate", "1e300") == 1
    message = capsys.readouterr().err
    assert message.startswith(
        "jaxrnn train: training.train: loss inf and gradient norm nan at step 2 of seed 0"
    )
    assert (tmp_path / "checkpoints" / "failure_at_step_2.npz").exists()
    assert train(tmp_path / "kept", "--learning-rate", "1e300", "--nonfinite", "keep") == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cell", "vanilla"), "error: --cell 'vanilla' is unknown; expected one of elman,gru,lstm."),
        (("--keep", "2", "--estimator", "randomized"), "keep is 2.0; expected"),
        (("--column", "high"), "--column needs --csv FILE or --task series."),
        (("--with", "delay=3"), "--with delay: adding has no such setting; expected none."),
        (("--processes", "2"), "--processes needs --distributed."),
        (("--distributed", "--process", "0"), "expected all of --coordinator, --processes and --process, or"),
        (
            ("--distributed", "--coordinator", "a:1", "--processes", "2", "--process", "2"),
            "--process is 2; expected 0 to 1.",
        ),
        (("--minutes", "0"), "minutes is 0.0; expected more than 0"),
    ],
)
def test_bad_options_get_one_line_and_exit_code_2(options, message, tmp_path, capsys):
    assert train(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("jaxrnn train: error: ") and error.count("\n") == 1


@pytest.mark.parametrize("option", [("--with", "delay=3"), ("--column", "high"), ("--inputs", "high")])
def test_a_stream_has_no_columns_and_no_settings(option, tmp_path, capsys):
    assert train(tmp_path, *option, data=("--stream", __file__)) == 2
    assert f"error: {option[0]} " in capsys.readouterr().err
