"""Pictures, page and tables of studies made by hand, and files written whole or not at all."""

import csv
import importlib
import io

import jax
import numpy as np
import pytest

from jaxrnn.diagnosis import Comparison, Diagnosis, Saturation
from jaxrnn.jacobians import GrowthRates, NormByLag, Norms, Spectrum
from jaxrnn.report import CELLS, Settings, Study
from jaxrnn.report.figures import draw
from jaxrnn.report.page import csv_table, page, text_tables
from jaxrnn.report.study import build_cell
from jaxrnn.report.write import all_or_nothing
from jaxrnn.tasks import series
from jaxrnn.training import History, TrainResult

TASK = series(length=4, batch_size=2)
rng = np.random.default_rng(0)


def comparison(labels=("1", "full")):
    W = len(labels)
    history = History(rng.uniform(1, 2, (2, 5)), np.ones((2, 5)), np.arange(1.0, 6), 0.0)
    run = TrainResult(({"W_hh": np.ones((2, 2))}, {}), None, None, history, False)
    error = np.where(np.array(labels)[:, None] == "full", 0.0, np.full((W, 2), 0.5))
    windows = tuple(None if label == "full" else int(label) for label in labels)
    loss = rng.uniform(1, 2, (W, 2))
    return Comparison(labels, windows, (run,) * W, loss, 1 - error, error, np.full(W, 12345.0))


def diagnosis(T=4, n=2, **changes):
    lag = np.arange(T + 1)[:, None] - np.arange(T + 1)[None, :]
    log_norm = np.where(lag >= 0, -1.0 * lag, -np.inf)[None]
    result = Diagnosis(
        verdict="vanishing",
        reason="a <b> & c",
        advice=("Use gates & <i>.",),
        horizon=2,
        lam=0.5,
        gamma=1.0,
        norms=Norms(log_norm, np.zeros_like(log_norm), np.ones(log_norm.shape, bool)),
        norm_by_lag=NormByLag(*[-1.0 * np.arange(T + 1)] * 4),
        growth_rates=GrowthRates(
            np.full((1, n), -1.25),
            np.full((1, n), 0.5),
            np.zeros(1),
            np.ones((1, n), bool),
            np.full((1, 1, n), -1.25),
            np.array([[T]]),
        ),
        fan_lags=np.array([1, T]),
        fan=Spectrum(-np.ones((2, n)), np.zeros((2, n)), np.ones((2, n), bool)),
        lag_profile=np.exp(-np.arange(float(T))),
        window_error=np.linspace(1, 0, T),
        saturation={"0": Saturation(np.ones(4), np.linspace(-1, 1, 5), 0.25)},
    )
    return result._replace(**changes)


UNKNOWN = {"verdict": "unknown", "horizon": None, "lam": None, "gamma": None}
LSTM = {
    "0.h": Saturation(np.ones(4), np.linspace(-1, 1, 5), 0.0),
    "0.c": Saturation(np.ones(2), np.arange(3.0), None),
}
STUDIES = [
    Study("elman", comparison(), diagnosis(), None),
    Study("lstm", comparison(), diagnosis(**UNKNOWN, saturation=LSTM), None),
]
EMPTY = diagnosis(
    **UNKNOWN,
    norms=Norms(np.full((1, 5, 5), np.nan), np.full((1, 5, 5), np.inf), np.zeros((1, 5, 5), bool)),
    norm_by_lag=NormByLag(*np.full((4, 5), np.nan)),
    fan=Spectrum(*np.full((2, 2, 2), np.nan), np.zeros((2, 2), bool)),
    lag_profile=np.full(4, np.nan),
    window_error=np.full(4, np.nan),
)


@pytest.mark.parametrize(
    ("studies", "names"),
    [
        (
            STUDIES,
            ["norm_by_lag", "norms", "gradient_by_lag", "spectrum_fan", "saturation", "window_error", "loss"],
        ),
        ([s._replace(diagnosis=None) for s in STUDIES], ["window_error", "loss"]),
        (
            [s._replace(comparison=None) for s in STUDIES],
            ["norm_by_lag", "norms", "gradient_by_lag", "spectrum_fan", "saturation"],
        ),
        ([Study("gru", comparison(("full",)), None, None)], ["loss"]),
    ],
    ids=["report", "compare", "spectra", "full only"],
)
def test_pictures_are_those_there_are_numbers_for(studies, names):
    pictures = list(draw(studies, TASK))
    assert [picture.name for picture in pictures] == names
    assert all(
        picture.png.startswith(b"\x89PNG") and picture.title and picture.caption for picture in pictures
    )


def test_a_network_without_one_finite_number_is_drawn_all_the_same():
    assert len(list(draw([Study("gru", None, EMPTY, None)], TASK))) == 5
    assert len(list(draw([Study("gru", None, diagnosis(T=1, n=1), None)], TASK))) == 5


def test_csv_holds_every_number_in_full():
    rows = list(csv.DictReader(io.StringIO(csv_table(STUDIES))))
    assert [(row["cell"], row["estimator"]) for row in rows] == [
        ("elman", "1"), ("elman", "full"), ("lstm", "1"), ("lstm", "full")
    ]  # fmt: skip
    for row, study in zip(rows[1::2], STUDIES, strict=True):
        assert float(row["held_out_loss"]) == np.mean(study.comparison.held_out_loss[1])
        assert row["verdict"] == study.diagnosis.verdict and float(row["growth_rate"]) == -1.25
        assert float(row["log10_norm_at_longest_lag"]) == -4 / np.log(10)
    assert rows[0]["verdict"] == "" and rows[3]["horizon"] == rows[3]["lambda"] == ""
    assert rows[1]["horizon"] == "2" and float(rows[1]["lambda"]) == 0.5
    assert (rows[1]["saturated"], rows[3]["saturated"]) == ("0.25", "0.0")


def test_printed_table_is_aligned_and_shows_no_number_that_is_missing():
    text = text_tables(STUDIES)
    verdicts, windows = (block.splitlines() for block in text.strip("\n").split("\n\n"))
    assert verdicts[1].split() == [
        "elman",
        "vanishing",
        "-1.2500",
        "0.5000",
        "-1.7372",
        "2",
        "0.5000",
        "1.0000",
        "25.0%",
    ]
    assert verdicts[2].split() == ["lstm", "unknown", "-1.2500", "0.5000", "-1.7372", "–", "–", "–", "0.0%"]
    assert [line.split()[:2] for line in windows[1:]] == [
        ["elman", "1"], ["elman", "full"], ["lstm", "1"], ["lstm", "full"]
    ]  # fmt: skip
    assert all(line.endswith(" 12") for line in windows[1:])
    assert len({len(line) for line in windows}) == 1


def test_page_escapes_whatever_it_quotes():
    text = page("<title> & more", STUDIES, [next(draw(STUDIES[:1], TASK))], {"Data": "a<b>.txt & c"})
    assert "&lt;title&gt; &amp; more" in text and "a&lt;b&gt;.txt &amp; c" in text
    assert "a &lt;b&gt; &amp; c" in text and "Use gates &amp; &lt;i&gt;." in text
    assert "<b>" not in text and "<i>" not in text


@pytest.mark.parametrize("name", CELLS)
def test_a_reports_network_is_one_layer_and_a_readout(name):
    cell = build_cell(name, TASK, 3)
    params = cell.init(jax.random.key(0))
    _, y = cell.step(params, cell.init_state(params), np.ones(TASK.input_size))
    assert y.shape == (1,) and params[1]["W"].shape == (1, 3)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_cell_is_named():
    with pytest.raises(ValueError, match="cell is 'rnn'; expected one of 'elman', 'gru', 'lstm'"):
        build_cell("rnn", TASK, 3)


def test_interrupted_training_is_no_study(monkeypatch):
    study_module = importlib.import_module("jaxrnn.report.study")
    interrupted = TrainResult(None, None, None, None, interrupted=True)
    monkeypatch.setattr(study_module, "train", lambda *_, **__: interrupted)
    with pytest.raises(KeyboardInterrupt):
        study_module.study("gru", TASK, Settings(2, 3, 1, (None,), 0, True, False), progress=False)


@pytest.mark.parametrize("exists", [True, False])
def test_files_appear_together_at_the_end(tmp_path, exists):
    folder = tmp_path / "a" / "out"
    if exists:
        folder.mkdir(parents=True)
        (folder / "x.png").write_text("old")
    with all_or_nothing(folder) as draft:
        (draft / "x.png").write_text("new")
        (draft / "index.html").write_text("page")
        assert not (folder / "index.html").exists()
        assert not exists or (folder / "x.png").read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "x.png"]
    assert (folder / "x.png").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path, exists, error):
    folder = tmp_path / "a" / "b" / "out"
    if exists:
        folder.mkdir(parents=True)
    with pytest.raises(error), all_or_nothing(folder) as draft:
        (draft / "x.png").write_text("new")
        raise error
    assert list(tmp_path.rglob("*")) == ([tmp_path / "a", tmp_path / "a/b", folder] if exists else [])


def test_a_file_in_the_place_of_the_folder_is_refused_at_once(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NotADirectoryError, match="out is a file"), all_or_nothing(tmp_path / "out"):
        pytest.fail("the body ran")
    assert (tmp_path / "out").read_text() == "mine"
