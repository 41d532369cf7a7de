"""Forecasting a series: the values of a CSV column, standardised, in windows; and what a CSV must be."""

import hashlib
import itertools

import jax
import numpy as np
import pytest
from cases import assert_close

from jaxrnn.tasks import series

VALUES = np.cumsum(np.random.default_rng(0).normal(size=200))


@pytest.fixture
def csv_of(tmp_path):
    def write(content, name="s.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows(values=VALUES, header="price"):
    return "\n".join([header, *(repr(float(v)) for v in values)]) + "\n"


def standardised(values, length):
    """(train, held out) as the docstring says: by mean and deviation of the first nine tenths."""
    cut = len(values) - max(len(values) // 10, length + 1)
    mean = sum(values[:cut]) / cut
    deviation = (sum((v - mean) ** 2 for v in values[:cut]) / cut) ** 0.5
    scaled = (values - mean) / deviation
    return scaled[:cut], scaled[cut:]


def windows_of(values, length):
    return {tuple(np.round(values[i : i + length + 1], 9)) for i in range(len(values) - length)}


def test_batches_are_standardised_windows_and_targets_come_one_step_later(csv_of):
    task = series(csv_of(rows()), length=7, batch_size=300)
    for sample, part in zip((task.sample, task.held_out), standardised(VALUES, 7), strict=True):
        batch = sample(jax.random.key(0))
        assert batch.xs.shape == batch.targets.shape == (300, 7, 1)
        drawn = np.concatenate([batch.xs[:, :, 0], batch.targets[:, -1:, 0]], axis=1)
        np.testing.assert_array_equal(batch.xs[:, 1:], batch.targets[:, :-1])
        assert {tuple(np.round(window, 9)) for window in drawn} <= windows_of(part, 7)


def test_held_out_windows_reach_the_last_value_and_training_ends_before_them(csv_of):
    task = series(csv_of(rows()), length=7, batch_size=3000)
    train, held_out = standardised(VALUES, 7)
    drawn, kept = (sample(jax.random.key(0)).targets for sample in (task.sample, task.held_out))
    assert_close(np.unique(drawn), np.unique(train[1:]))
    assert_close(np.unique(kept), np.unique(held_out[1:]))


def test_baseline_is_persistence_in_all_held_out_windows(csv_of):
    _, held_out = standardised(VALUES, 7)
    errors = [0.5 * (b - a) ** 2 for a, b in itertools.pairwise(held_out)]
    windows = [errors[start : start + 7] for start in range(len(held_out) - 7)]
    expected = sum(map(sum, windows)) / (7 * len(windows))
    assert series(csv_of(rows()), length=7).baseline == pytest.approx(expected, rel=1e-10)


def test_default_prices_are_google_and_have_a_hash():
    task = series(length=30, batch_size=2)
    assert task.source.name == "goog.npz of matplotlib, high from open, high, low, adj_close"
    assert task.input_size == 4
    assert task.source.length > 900 and len(task.source.sha256) == 64
    assert 0 < task.baseline < 0.1
    assert series(column="volume").source.name == "goog.npz of matplotlib, volume"
    with pytest.raises(ValueError, match="no column 'date'; its columns are open, high"):
        series(column="date")
    again, first = (task.sample(jax.random.key(0)).xs for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_source_is_the_files_own_hash(csv_of):
    path = csv_of(rows())
    source = series(path, length=7).source
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.name, source.length, source.unit) == ("s.csv, price", 200, "values")


@pytest.mark.parametrize(
    "dress",
    [
        lambda v: "\ufeff" + rows(v),
        lambda v: rows(v).replace("\n", "\r\n"),
        lambda v: rows(v).replace("\n", "\n\n"),
        lambda v: rows(v, header=" price "),
        lambda v: "date,price\n" + "".join(f"d{i},{x!r}\n" for i, x in enumerate(v.tolist())),
        lambda v: '"a, b",price\n' + "".join(f'"1, {i}","{x!r}"\n' for i, x in enumerate(v.tolist())),
        lambda v: "price,note\n" + "".join(f"{x!r}\n" for x in v.tolist()),
        lambda v: "price\n" + "".join(f"  {x!r} \n" for x in v.tolist()),
        lambda v: "price,note\n" + "".join(f"{x!r},a\u2028b\x0cc\n" for x in v.tolist()),
    ],
    ids=[
        "BOM",
        "CRLF",
        "blank lines",
        "spaces",
        "two columns",
        "quoted commas",
        "ragged",
        "padded",
        "white space",
    ],
)
def test_every_dress_of_a_csv_gives_the_same_task(csv_of, dress):
    plain, dressed = (
        series(csv_of(content), column="price", length=7).sample(jax.random.key(1)).xs
        for content in (rows(), dress(VALUES))
    )
    np.testing.assert_array_equal(plain, dressed)


def test_column_chooses_the_values(csv_of):
    path = csv_of("a,b\n" + "".join(f"{x},{x * x}\n" for x in VALUES.tolist()))
    a, b = (series(path, column=name, length=7) for name in ("a", "b"))
    assert a.baseline != b.baseline
    assert (a.source.name, b.source.name) == ("s.csv, a", "s.csv, b")


def test_inputs_choose_what_is_read_each_standardised_by_itself(csv_of):
    path = csv_of("a,b\n" + "".join(f"{x},{x * x}\n" for x in VALUES.tolist()))
    a, b, both = (
        series(path, column="a", inputs=inputs, length=7, batch_size=300) for inputs in ("a", "b", ["b", "a"])
    )
    xs, targets = both.sample(jax.random.key(0))[:2]
    assert both.input_size == 2 and xs.shape == (300, 7, 2) and targets.shape == (300, 7, 1)
    for i, one in enumerate((b, a)):
        np.testing.assert_array_equal(xs[..., i], one.sample(jax.random.key(0)).xs[..., 0])
    np.testing.assert_array_equal(xs[:, 1:, 1], targets[:, :-1, 0])
    expected = {window[:-1] for window in windows_of(standardised(VALUES**2, 7)[0], 7)}
    assert {tuple(np.round(window, 9).tolist()) for window in np.asarray(xs[..., 0])} <= expected
    assert a.baseline == both.baseline
    assert both.source.name == "s.csv, a from b, a"


def test_inputs_that_are_missing_constant_or_none_are_refused(csv_of):
    path = csv_of("a,b\n" + "".join(f"{x},1.0\n" for x in VALUES.tolist()))
    for inputs, message in (
        (["a", "c"], "s.csv has no column 'c'; its columns are a, b"),
        ("b", "s.csv, b is constant; there is nothing to forecast"),
        ([], "inputs is empty; expected at least one column"),
    ):
        with pytest.raises(ValueError, match=message):
            series(path, column="a", inputs=inputs)


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("", None, "s.csv is empty"),
        ("\n\n", None, "s.csv is empty"),
        ("a,b\n1,2\n", None, "s.csv has the columns a, b; choose one with column="),
        ('a\n"' + "1" * 200_000, "a", "s.csv, line 2: field larger than"),
        ("a\n1\n\0\n", "a", "line 3: 'a' holds"),
        ("a,b\n1,2\n", "c", "no column 'c'; its columns are a, b"),
        ("a\n1\n2\nx\n", "a", "s.csv, line 4: 'a' holds 'x'; expected a finite number"),
        ('d,a\n"1\n2",3\n4,nan\n', "a", "s.csv, line 4: 'a' holds 'nan'"),
        ("a\n1\ninf\n", "a", "line 3: 'a' holds 'inf'"),
        ("b,a\n1,2\n3\n", "a", "line 3: 'a' holds ''"),
        (b"a\n\xff\xfe\n", "a", "s.csv is not UTF-8 text"),
        ("a\n" + "3.5\n" * 90, "a", "s.csv, a is constant"),
        ("a\n1\n2\n", "a", "2 items are too few for windows of 30 steps; expected at least 62"),
        ("a\n", "a", "0 items are too few"),
    ],
)
def test_what_is_not_a_usable_csv_says_why_and_where(csv_of, content, column, message):
    with pytest.raises(ValueError, match=message):
        series(csv_of(content), column=column)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        series(tmp_path / "none.csv")


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("name", "value", "error"), [("length", 0, ValueError), ("batch_size", 1.5, TypeError)]
)
def test_bad_sizes_are_named(name, value, error):
    with pytest.raises(error, match=f"tasks.series: {name}"):
        series(**{name: value})
