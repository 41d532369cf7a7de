"""Character language modelling: what comes out of a file, and what a file must be."""

import hashlib
import math
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from jaxrnn.tasks import text

LETTERS = " abcdefghijklmnopqrstuvwxyz"
STORY = "".join(f"The {i}th Fox, jumps -- over Dog {i * i}!\n" for i in range(60))


def clean(raw):
    """Every run of anything but a-z becomes one space, character by character."""
    out = ""
    for c in raw.lower():
        if c in LETTERS[1:]:
            out += c
        elif out and out[-1] != " ":
            out += " "
    return out.strip(" ")


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(STORY, encoding="utf-8")
    return path


def decode(tokens, symbols):
    return "".join(symbols[i] for i in np.asarray(tokens))


@pytest.mark.parametrize("alphabet", ["letters", "all"])
def test_windows_are_pieces_of_the_text_and_targets_come_one_step_later(story, alphabet):
    characters = clean(STORY) if alphabet == "letters" else STORY
    symbols = LETTERS if alphabet == "letters" else sorted(set(STORY))
    task = text(story, length=12, batch_size=5, alphabet=alphabet)
    batch = task.sample(jax.random.key(3))
    assert batch.xs.shape == (5, 12, len(symbols)) and batch.targets.shape == (5, 12)
    assert batch.weights is None and np.issubdtype(batch.targets.dtype, np.integer)
    np.testing.assert_array_equal(batch.xs.sum(axis=-1), 1)
    for xs, targets in zip(batch.xs, batch.targets, strict=True):
        inputs, later = decode(xs.argmax(axis=-1), symbols), decode(targets, symbols)
        assert inputs[1:] == later[:-1]
        assert inputs + later[-1] in characters


def test_alphabet_changes_the_task(story):
    letters, everything = text(story), text(story, alphabet="all")
    assert (letters.input_size, letters.output_size) == (27, 27)
    assert everything.input_size == len(set(STORY)) != 27
    assert letters.source.length == len(clean(STORY)) < everything.source.length == len(STORY)


def test_default_text_is_real_and_long():
    task = text(length=8, batch_size=2)
    assert task.source.length > 300_000 and task.input_size == 27
    assert 2.5 < task.baseline < math.log(27)
    assert "pydoc_data.topics" in str(task.source)


def test_source_names_hash_length_and_file(story):
    source = text(story).source
    assert source.name == "story.txt"
    assert source.sha256 == hashlib.sha256(story.read_bytes()).hexdigest()
    assert source.sha256[:16] in str(source) and f"{source.length:,}" in str(source)


def test_the_same_key_gives_the_same_batch_and_another_key_another(story):
    task = text(story, length=12, batch_size=4)
    for sample in (task.sample, task.held_out):
        first, again, other = (sample(jax.random.key(k)).targets for k in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_held_out_text_is_never_trained_on(tmp_path):
    """The last tenth is written in other letters than the rest, so that any overlap would show."""
    path = tmp_path / "two.txt"
    path.write_text("abcde" * 180 + "vwxyz" * 20)
    task = text(path, length=9, batch_size=400)
    train = set(np.unique(task.sample(jax.random.key(0)).targets))
    held_out = set(np.unique(task.held_out(jax.random.key(0)).targets))
    assert train == {LETTERS.index(c) for c in "abcde"}
    assert held_out == {LETTERS.index(c) for c in "vwxyz"}


def test_every_place_of_both_parts_is_drawn(tmp_path):
    """The first and the last window as well: no place is cut off by an index that is one too small."""
    path = tmp_path / "places.txt"
    symbols = "".join(chr(0x4E00 + i) for i in range(100))
    path.write_text(symbols, encoding="utf-8")
    task = text(path, length=5, batch_size=3000, alphabet="all")
    train, held_out = (sample(jax.random.key(0)) for sample in (task.sample, task.held_out))
    assert set(np.unique(train.xs.argmax(-1))) == set(range(89))
    assert set(np.unique(train.targets)) == set(range(1, 90))
    assert set(np.unique(held_out.targets)) == set(range(91, 100))


def test_baseline_is_the_cross_entropy_of_add_one_frequencies(story):
    characters = clean(STORY)
    cut = len(characters) - len(characters) // 10
    counts = Counter(characters[:cut])
    total = cut + 27
    expected = -sum(math.log((counts[c] + 1) / total) for c in characters[cut:]) / len(characters[cut:])
    assert text(story, length=8).baseline == pytest.approx(expected, rel=1e-12)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"abc " * 50)
    assert text(path, length=8, alphabet="all").input_size == 4


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "t.txt is empty"),
        (b"\xff\xfe\x00a" * 50, {}, r"t.txt is not UTF-8 text \(byte 0\)"),
        (b"abc\xff" * 50, {}, r"not UTF-8 text \(byte 3\)"),
        (b"abc\0" * 50, {}, "holds NUL bytes"),
        (b"1234 5678 " * 50, {}, "holds no letters a-z"),
        (b"abc", {"length": 8}, "3 items are too few for windows of 8 steps; expected at least 18"),
    ],
)
def test_what_is_not_a_usable_text_says_why(tmp_path, content, options, message):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        text(path, **options)


@pytest.mark.parametrize("length", [1, 4, 17])
def test_the_shortest_usable_text_has_two_windows(tmp_path, length):
    path = tmp_path / "t.txt"
    path.write_text("a" * (2 * length + 2))
    task = text(path, length=length, batch_size=1)
    assert task.sample(jax.random.key(0)).targets.shape == (1, length)
    assert task.held_out(jax.random.key(0)).targets.shape == (1, length)
    path.write_text("a" * (2 * length + 1))
    with pytest.raises(ValueError, match="too few"):
        text(path, length=length)


def test_a_missing_file_and_a_folder_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tasks.text: there is no file '.*none.txt'"):
        text(tmp_path / "none.txt")
    with pytest.raises(IsADirectoryError, match=r"tasks.text: '.*' is a folder; expected a file"):
        text(tmp_path)


def test_a_pipe_is_a_text(tmp_path):
    pipe, letters = tmp_path / "pipe", "where does the gradient go? " * 40
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as writer:
        writer.submit(pipe.write_text, letters, encoding="utf-8")
        found = text(pipe, length=8, batch_size=2, alphabet="all").source
    assert found.length == len(letters)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"length": 0}, ValueError, "tasks.text: length is 0"),
        ({"batch_size": 0}, ValueError, "tasks.text: batch_size is 0"),
        ({"length": 2.5}, TypeError, "length must be a Python integer"),
        ({"alphabet": "greek"}, ValueError, "alphabet is 'greek'; expected one of 'all', 'letters'"),
    ],
)
def test_bad_options_are_named(story, options, error, message):
    with pytest.raises(error, match=message):
        text(story, **options)
