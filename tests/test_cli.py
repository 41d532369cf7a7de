"""The command line: whole reports on good input, one line and exit code 2 on bad input."""

import argparse
import csv
import functools
import importlib
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import chex
import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import jaxrnn
from jaxrnn import data_options, tasks
from jaxrnn.cli import main

study_module = importlib.import_module("jaxrnn.report.study")
TINY = "--hidden 4 --length 8 --steps 2 --batch 2 --quiet".split()
COMPARED = "--seeds 1 --windows 2,full".split()
SPECTRA = {"norm_by_lag", "norms", "gradient_by_lag", "spectrum_fan", "saturation"}
COMPARE = {"window_error", "loss"}
PICTURES = {"report": SPECTRA | COMPARE, "spectra": SPECTRA, "compare": COMPARE}


@functools.cache
def cell_of(name, input_size, output_size, hidden):
    recurrent = study_module.CELLS[name](input_size, hidden)
    return jaxrnn.cells.stack(recurrent, jaxrnn.cells.dense(hidden, output_size))


@pytest.fixture(autouse=True)
def _as_a_user_would(monkeypatch, tmp_path):
    """In a folder of one's own; optax's Adam promotes dtypes; and equal networks compile once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        study_module,
        "build_cell",
        lambda name, task, hidden: cell_of(name, task.input_size, task.output_size, hidden),
    )
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def files(tmp_path):
    """Input of every kind, outside the folder in which the command runs."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "ok.txt").write_text("the quick brown fox jumps over the lazy dog " * 9)
    prices = np.cumsum(np.random.default_rng(0).normal(size=60)).tolist()
    (folder / "ok.csv").write_text("day,price\n" + "".join(f"d{i},{p!r}\n" for i, p in enumerate(prices)))
    (folder / "words.csv").write_text("day,price\n1,2\n2,many\n")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "binary.bin").write_bytes(bytes(range(256)))
    (folder / "short.txt").write_text("abc")
    js = np.random.default_rng(0).normal(size=(6, 2, 2))
    np.save(folder / "js.npy", js)
    np.save(folder / "flat.npy", js[0])
    np.save(folder / "whole.npy", np.ones((2, 2, 2), int))
    np.save(folder / "nan.npy", np.full((2, 2, 2), np.nan))
    np.savez(folder / "two.npz", a=js, b=js)
    return folder


class Page(HTMLParser):
    """Every tag, and every attribute that could refer to something else."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.images, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)
        self.references += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check_page(folder, pictures):
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and text.startswith("<!doctype html>")
    assert len(page.images) == len(pictures)
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert all(image["alt"] for image in page.images)
    assert "default-src 'none'" in text, "and the browser holds it to that"
    names_of_formats = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(|<link", names_of_formats)
    return " ".join(page.text)


def check_numbers(folder, command, cells, out):
    """table.csv, results.npz and the printed table tell the same."""
    rows = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text(encoding="utf-8"))))
    results = jaxrnn.load(folder / "results.npz")
    assert list(results["studies"]) == cells == list(dict.fromkeys(row["cell"] for row in rows))
    for name, study in results["studies"].items():
        own = [row for row in rows if row["cell"] == name]
        assert (study.diagnosis is None) == (command == "compare")
        assert (study.comparison is None) == (command == "spectra")
        if study.diagnosis:
            assert own[-1]["verdict"] == study.diagnosis.verdict
            assert float(own[-1]["growth_rate"]) == np.median(study.diagnosis.growth_rates.rates[:, 0])
            assert f"{float(own[-1]['growth_rate']):.4f}" in out
        if study.comparison:
            assert tuple(row["estimator"] for row in own) == study.comparison.labels == ("2", "full")
            for row, losses in zip(own, study.comparison.held_out_loss, strict=True):
                assert float(row["held_out_loss"]) == np.mean(losses)
                assert f"{np.mean(losses):.4f}" in out
    return results


CASES = [
    (command, data, cells)
    for command in ("report", "spectra", "spectra --steps 0", "compare")
    for data, cells in (("--text", "elman"), ("--csv", "elman"), ("--task", "elman"))
]
CASES[-1] = ("compare", "--task", "gru,elman,gru")


@pytest.mark.parametrize(("command", "data", "cells"), CASES)
def test_every_command_writes_a_whole_report_on_every_kind_of_data(
    files, tmp_path, capsys, command, data, cells
):
    kind, *more = command.split()
    where = {
        "--text": ["--text", str(files / "ok.txt")],
        "--csv": ["--csv", str(files / "ok.csv"), "--column", "price"],
        "--task": ["--task", "series"],
    }[data]
    more += [] if kind == "spectra" else COMPARED
    assert main([kind, *TINY, *more, *where, "--cell", cells, "--out", "made/new"]) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "made" / "new"
    pictures = PICTURES[kind]
    expected = {"index.html", "table.csv", "results.npz", *(f"{name}.png" for name in pictures)}
    assert {path.name for path in folder.iterdir()} == expected
    assert all((folder / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert os.listdir(folder.parent) == ["new"] and not plt.get_fignums()
    text = check_page(folder, pictures)
    results = check_numbers(folder, kind, list(dict.fromkeys(cells.split(","))), out)
    assert results["source"].sha256[:16] in text and results["facts"]["Command"].startswith(f"jaxrnn {kind}")
    assert err == "" and os.path.join("made/new", "index.html") in out
    if kind != "spectra":
        assert results["studies"]["elman"].comparison.results[0].history.loss.shape == (1, 2)


BAD = {
    "an unknown option": ("report --colour red", "unrecognized arguments: --colour red"),
    "an unknown command": ("paint", "invalid choice: 'paint'"),
    "no command": ("", "required: COMMAND"),
    "an unknown cell": (
        "report --cell elman,rnn",
        "--cell 'rnn' is unknown; expected some of elman,gru,lstm",
    ),
    "no cell": ("report --cell ,", "',' names nothing"),
    "a window of 0": ("compare --windows 1,0", "'0' is not an integer of at least 1"),
    "a window that is a word": ("compare --windows 1,all", "'all' is not an integer of at least 1"),
    "no window": ("compare --windows ,", "',' names nothing"),
    "windows where nothing is compared": ("spectra --windows 4", "unrecognized arguments: --windows 4"),
    "no hidden unit": ("report --hidden 0", "'0' is not an integer of at least 1"),
    "half a unit": ("report --hidden 2.5", "'2.5' is not an integer"),
    "negative steps": ("report --steps -1", "'-1' is not an integer of at least 0"),
    "no step to compare": ("compare --steps 0", "--steps 0 trains nothing to compare"),
    "a seed beyond 32 bits": ("report --seed 99999999999999999999", "is larger than 4294967295"),
    "an unknown task": ("report --task tea", "invalid choice: 'tea'"),
    "text and CSV": ("report --text in/ok.txt --csv in/ok.csv", "not allowed with argument"),
    "a column without CSV": (
        "report --text in/ok.txt --column price",
        "--column needs --csv FILE or --task series",
    ),
    "inputs without CSV": ("report --inputs a b", "--inputs needs --csv FILE or --task series"),
    "a setting of another task": (
        "report --task delayed_copy --with bits=2",
        "--with bits: delayed_copy has no such setting; expected delay or symbols.",
    ),
    "a setting of a task without": (
        "report --task adding --with length=9",
        "--with length: adding has no such setting; expected none.",
    ),
    "a setting of a file": ("report --text in/ok.txt --with alphabet=all", "text has no such setting"),
    "a setting without a value": ("report --task flip_flop --with bits=", "'bits=' is not NAME=VALUE"),
    "half a bit": ("report --task flip_flop --with bits=2.5", "--with bits=2.5: expected an integer."),
    "pulses in words": ("report --task flip_flop --with pulses=few", "--with pulses=few: expected a number."),
    "a delay beyond the end": (
        "report --task delayed_copy --with delay=30 --length 20",
        "tasks.delayed_copy: length is 20; expected",
    ),
    "an input that is missing": (
        "report --task series --column high --inputs close cost",
        "goog.npz of matplotlib has no column 'cost'; its columns are open, high, low, close, volume",
    ),
    "a missing text": ("report --text in/none.txt", "tasks.text: there is no file 'in/none.txt'"),
    "a missing CSV": ("report --csv in/none.csv --column a", "tasks.series: there is no file 'in/none.csv'"),
    "a folder as text": ("report --text in", "tasks.text: 'in' is a folder; expected a file"),
    "an empty text": ("report --text in/empty.txt", "empty.txt is empty"),
    "an empty CSV": ("report --csv in/empty.txt", "empty.txt is empty"),
    "a binary text": ("report --text in/binary.bin", "binary.bin is not UTF-8 text"),
    "a binary CSV": ("report --csv in/binary.bin", "binary.bin is not UTF-8 text"),
    "a short text": ("report --text in/short.txt", "3 items are too few"),
    "a CSV of many columns": ("report --csv in/ok.csv", "ok.csv has the columns day, price; choose one"),
    "a missing column": (
        "report --csv in/ok.csv --column cost",
        "no column 'cost'; its columns are day, price",
    ),
    "a column of words": ("report --csv in/words.csv --column price", "line 3: 'price' holds 'many'"),
    "a file as output": (
        "spectra --text in/ok.txt --length 8 --out in/ok.csv",
        "ok.csv is a file; expected a folder",
    ),
    "output below a file": ("spectra --text in/ok.txt --length 8 --out in/ok.csv/a/b", "ok.csv"),
    "output where nobody writes": (
        "spectra --text in/ok.txt --length 8 --out /proc/jaxrnn/a",
        "/proc/jaxrnn",
    ),
    "no Jacobians": ("oracle", "required: FILE"),
    "missing Jacobians": ("oracle in/none.npy", "in/none.npy: No such file or directory"),
    "a text of Jacobians": ("oracle in/ok.txt", "in/ok.txt is no .npy or .npz file of numbers"),
    "empty Jacobians": ("oracle in/empty.txt", "in/empty.txt is no .npy or .npz file of numbers"),
    "Jacobians without a name": ("oracle in/two.npz", "in/two.npz holds a, b; expected `js`, or one array"),
    "one Jacobian": ("oracle in/flat.npy", "in/flat.npy: js has shape (2, 2); expected [T, n, n]"),
    "whole numbers as Jacobians": ("oracle in/whole.npy", "js has dtype int64; expected a floating dtype"),
    "Jacobians of NaN": ("oracle in/nan.npy", "between k = 0 and t = 2 is not finite"),
    "a step too far": ("oracle in/js.npy --t 7", "t is 7; expected 0 <= t <= T = 6"),
    "a pair the wrong way": ("oracle in/js.npy --t 1 --k 2", "k = 2 > t = 1"),
    "a negative step": ("oracle in/js.npy --k -1", "'-1' is not an integer of at least 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line_exit_code_2_and_leaves_nothing(files, tmp_path, capsys, name):
    line, message = BAD[name]
    before = sorted(tmp_path.rglob("*"))
    try:
        code = main(line.split())
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("jaxrnn") and "error: " in err
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before and files.exists()


def broken(error):
    def study(*_, **__):
        raise error

    return study


@pytest.mark.parametrize("stage", ["study", "draw", "page", "save"])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; no report was written"),
        (OSError(28, "No space left"), 2, "No space"),
    ],
)
def test_a_failure_on_the_way_leaves_the_earlier_report_and_nothing_else(
    files, tmp_path, capsys, monkeypatch, stage, error, code, message
):
    build_module = importlib.import_module("jaxrnn.report.build")
    monkeypatch.setattr(build_module, "study", lambda *_, **__: study_module.Study("elman", None, None, None))
    monkeypatch.setattr(build_module, stage, broken(error))
    earlier = tmp_path / "out" / "index.html"
    for folder in ("out", "new/deep/er"):
        if folder == "out":
            earlier.parent.mkdir()
            earlier.write_text("an earlier report")
        before = sorted(tmp_path.rglob("*"))
        assert main(["spectra", *TINY, "--text", str(files / "ok.txt"), "--out", folder]) == code
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and message in err
        assert sorted(tmp_path.rglob("*")) == before
    assert earlier.read_text() == "an earlier report"


def test_ctrl_c_while_training_is_exit_code_130(files, tmp_path, capsys, monkeypatch):
    """The training loop keeps what is done; a report of a half-trained network is not written."""
    train = jaxrnn.training.TrainResult(None, None, None, None, interrupted=True)
    monkeypatch.setattr(study_module, "train", lambda *_, **__: train)
    assert main(["spectra", *TINY, "--text", str(files / "ok.txt")]) == 130
    assert capsys.readouterr().err == "jaxrnn spectra: interrupted; no report was written.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_new_report_replaces_an_earlier_one_and_shows_progress_on_standard_error(files, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("an earlier report")
    (tmp_path / "out" / "mine.txt").write_text("keep")
    options = [option for option in TINY if option != "--quiet"] + COMPARED
    assert (
        main(["compare", *options, "--cell", "elman", "--text", str(files / "ok.txt"), "--out", "out"]) == 0
    )
    check_page(tmp_path / "out", COMPARE)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    assert not list(tmp_path.rglob(".*"))
    out, err = capsys.readouterr()
    assert "ok.txt: 395 characters, 27 symbols" in err and "elman window 2" in err and "elman full" in err
    assert out.startswith("cell")


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("delayed_copy --with delay=3 --with symbols=4", lambda: tasks.delayed_copy(delay=3, symbols=4)),
        ("linear_process --with decay=0.5 noise=2", lambda: tasks.linear_process(decay=0.5, noise=2.0)),
        (
            "sequential_parity --with targets=every",
            lambda: tasks.sequential_parity(targets="every", length=20),
        ),
    ],
)
def test_settings_are_those_of_the_task(line, same):
    parser = argparse.ArgumentParser()
    data_options.add(parser)
    got = data_options.task(parser.parse_args(["--batch", "32", "--task", *line.split()]))
    key = jax.random.key(0)
    chex.assert_trees_all_equal(got.sample(key), same().sample(key))
    assert (got.baseline, got.optimum) == (same().baseline, same().optimum)


def test_a_task_without_a_file_is_reported_by_its_name_optimum_and_reference(tmp_path, capsys):
    line = "compare --hidden 2 --length 10 --batch 1 --steps 1 --seeds 1 --windows full --cell elman"
    assert main([*line.split(), "--task", "temporal_order", "--out", "out"]) == 0
    text = check_page(tmp_path / "out", COMPARE - {"window_error"})
    assert "elman on temporal_order" in text
    assert "Data: temporal_order: drawn from random numbers" in text
    assert "Naive baseline: 1.3863 nats" in text and "Optimum: 0.0000 nats" in text
    assert "Reference: Hochreiter & Schmidhuber 1997" in text
    assert jaxrnn.load(tmp_path / "out" / "results.npz")["source"] is None
    assert "temporal_order: drawn from random numbers" in capsys.readouterr().err


def test_windows_longer_than_the_sequence_and_one_step_of_three_seeds_still_report(files, tmp_path, capsys):
    line = "compare --hidden 1 --length 1 --steps 1 --seeds 3 --batch 1 --windows full,7,full --cell elman"
    assert main([*line.split(), "--quiet", "--csv", str(files / "ok.csv"), "--column", "price"]) == 0
    check_page(tmp_path / "jaxrnn-report", COMPARE - {"window_error"})
    assert "full" in capsys.readouterr().out


@pytest.fixture
def asked(monkeypatch):
    """What the study asks of `compare`, which ends there."""
    calls = []

    def compare(cell, _step_loss, data, _optimizer, **options):
        batch = data(jax.random.key(0))
        calls.append(options | {"xs": batch.xs.shape, "params": cell.init(jax.random.key(0))})
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "compare", compare)
    return calls


def test_every_option_reaches_the_study(files, capsys, asked):
    line = (
        "compare --cell elman --hidden 5 --length 6 --batch 3 --steps 7 --seeds 9 --seed 8 --windows 4,full,2"
    )
    text = ["--text", str(files / "ok.txt")]
    assert main([*line.split(), *text, "--alphabet", "all", "--quiet"]) == 130
    assert main([*line.split(), *text, "--seed", "1"]) == 130
    first, second = asked
    assert (first["steps"], first["seeds"], first["windows"]) == (7, 9, (4, None, 2))
    assert first["xs"] == (3, 6, 27) and second["xs"] == (3, 6, 27)
    assert first["params"][0]["W_hh"].shape == (5, 5)
    assert (first["progress"], second["progress"]) == (False, "elman")
    assert not np.array_equal(jax.random.key_data(first["key"]), jax.random.key_data(second["key"]))
    (files / "ok.txt").write_text("A-B " * 50)
    assert main([*line.split(), *text, "--alphabet", "all"]) == 130
    assert asked[-1]["xs"] == (3, 6, 4)
    assert main([*line.split(), "--task", "series", "--x64"]) == 130
    assert asked[-1]["xs"] == (3, 6, 4)
    capsys.readouterr()


def test_every_task_of_the_command_line_has_its_own_length(asked, capsys):
    for task, (size, length) in {
        "adding": (2, 100),
        "delayed_copy": (8, 100),
        "temporal_order": (6, 100),
        "linear_process": (1, 100),
        "copying": (10, 120),
        "sequential_parity": (1, 20),
        "flip_flop": (3, 100),
        "sine_generator": (1, 100),
        "case_restoration": (tasks.case_restoration().input_size, 64),
        "hyphenation": (26, 16),
        "surnames": (tasks.surnames().input_size, 16),
    }.items():
        assert main(["compare", "--cell", "elman", "--length", "24", "--batch", "2", "--task", task]) == 130
        assert main(["compare", "--cell", "elman", "--task", task]) == 130
        assert [call["xs"] for call in asked[-2:]] == [(2, 24, size), (16, length, size)]
    capsys.readouterr()


def test_a_task_whose_package_is_missing_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyphen", None)
    assert main(["compare", "--cell", "elman", "--task", "hyphenation"]) == 2
    assert "pip install 'jaxrnn[tasks]'" in capsys.readouterr().err


def test_module_runs_as_a_program_and_says_its_version():
    run = subprocess.run(
        [sys.executable, "-m", "jaxrnn", "--version"], capture_output=True, text=True, check=False,
        cwd=os.path.dirname(os.path.dirname(jaxrnn.__file__)),
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"jaxrnn {jaxrnn.__version__}, jax {jax.__version__}\n"


def test_pictures_of_an_earlier_report_that_the_new_one_lacks_are_removed(files, tmp_path):
    line = ["--cell", "elman", "--hidden", "1", "--length", "2", "--steps", "1", "--quiet"]
    text = ["--text", str(files / "ok.txt")]
    assert main(["compare", *line, *text, "--seeds", "1", "--windows", "1"]) == 0
    kept = tmp_path / "jaxrnn-report" / "mine.png"
    kept.write_bytes(b"the user's own")
    assert main(["spectra", *line, *text]) == 0
    assert {p.stem for p in kept.parent.glob("*.png")} == SPECTRA | {"mine"}


def test_a_fault_of_the_program_is_not_called_bad_input(files, monkeypatch):
    def broken(*_args, **_options):
        raise ValueError("a fault")

    monkeypatch.setattr(study_module, "compare", broken)
    with pytest.raises(ValueError, match="a fault"):
        main(["compare", "--quiet", "--text", str(files / "ok.txt")])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_oracle_prints_exact_values_beside_the_library_s(files, capsys, dtype):
    js = np.broadcast_to(np.diag([1.0, 2.0**-100, 0.0]), (50, 3, 3)).astype(dtype)
    np.savez(files / "graded.npz", other=np.ones(3), js=js)
    assert main(["oracle", str(files / "graded.npz"), "--t", "45", "--k", "5"]) == 0
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert title == f"∂h_45/∂h_5, n = 3, {dtype}; log10 of the singular values"
    assert header.split() == ["i", "exact", "spectrum", "error", "bound", "certified"]
    values = np.array([[float(x) for x in row.split()[:4]] for row in rows])
    expected = [0, -4000 * np.log10(2), -np.inf]
    np.testing.assert_allclose(values[:, 0], [1, 2, 3])
    np.testing.assert_allclose(values[:, 1], expected, atol=1e-9)
    np.testing.assert_allclose(values[:, 2], expected, rtol=1e-6)
    assert [row.split()[-1] for row in rows] == ["yes", "yes", "yes"]


def test_oracle_takes_a_plain_array_and_flags_what_rounding_has_spoilt(files, capsys):
    there = np.linalg.qr(np.random.default_rng(5).normal(size=(9, 3, 3)))[0] @ np.diag([1, 1e-2, 1e-4])
    js = np.concatenate([there, np.linalg.inv(there)[::-1]])
    np.save(files / "there_and_back.npy", js.astype(np.float32))
    assert main(["oracle", str(files / "there_and_back.npy")]) == 0
    assert {row.split()[-1] for row in capsys.readouterr().out.splitlines()[2:]} >= {"no"}


def test_oracle_without_mpmath_names_the_extra(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpmath", None)
    assert main(["oracle", str(files / "js.npy")]) == 2
    assert capsys.readouterr().err.count("needs mpmath: pip install 'jaxrnn[oracle]'") == 1
