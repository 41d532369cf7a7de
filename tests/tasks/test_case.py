"""Case restoration: windows with their capitals put back are pieces of the text."""

import hashlib
import math
import string

import jax
import numpy as np
import pytest
from drawing import assert_mean

from jaxrnn.tasks import case_restoration

STORY = "".join(f"The {i}th Fox, jumps -- over\n  Dog McX{i * i}!\n" for i in range(60))
PLAIN = " ".join(STORY.split())
CUT = len(PLAIN) - len(PLAIN) // 10
SYMBOLS = sorted(set(PLAIN.lower()))


def decode(batch, symbols):
    """Lower-case windows, and the same with their capitals put back."""
    for xs, targets in zip(np.asarray(batch.xs), np.asarray(batch.targets), strict=True):
        np.testing.assert_array_equal(xs.sum(axis=1), 1)
        lower = "".join(symbols[i] for i in xs.argmax(axis=1))
        yield lower, "".join(c.upper() if up else c for c, up in zip(lower, targets, strict=True))


def share_of_letters(text):
    return sum(c.isalpha() for c in text) / len(text)


def test_windows_with_their_capitals_are_pieces_of_the_text_and_letters_weigh_alike():
    task = case_restoration(STORY, length=12, batch_size=500)
    batch = task.sample(jax.random.key(0))
    assert batch.xs.shape == (500, 12, len(SYMBOLS)) and task.input_size == len(SYMBOLS)
    for i, (lower, restored) in enumerate(decode(batch, SYMBOLS)):
        assert restored in PLAIN and lower == restored.lower()
        letters = np.array([c in string.ascii_lowercase for c in lower])
        np.testing.assert_allclose(batch.weights[i], letters / (12 * share_of_letters(PLAIN[:CUT])))


def test_weights_of_each_part_add_up_to_one_in_the_mean_though_some_windows_hold_no_letter():
    task = case_restoration("A b 1 2 " * 80 + "C 3 4 5 " * 10, length=2, batch_size=4000)
    for part in (task.sample, task.held_out):
        total = np.asarray(part(jax.random.key(0)).weights).sum(axis=1)
        assert total.min() == 0
        assert_mean(total, 1)


def test_what_is_two_characters_in_lower_case_stays_as_it_is():
    task = case_restoration("İi " * 30, length=2, batch_size=100)
    batch = task.sample(jax.random.key(0))
    assert task.input_size == 3 and batch.targets.max() == 0


def test_held_out_text_is_never_trained_on():
    """The last tenth is written in other letters than the rest, so that any overlap would show."""
    text = "abCde" * 180 + "vWxyz" * 20
    task = case_restoration(text, length=9, batch_size=800)
    symbols = sorted(set(text.lower()))
    train, held_out = (
        {c for _, window in decode(part(jax.random.key(0)), symbols) for c in window}
        for part in (task.sample, task.held_out)
    )
    assert (train, held_out) == (set("abCde"), set("vWxyz"))


def test_baseline_is_the_cross_entropy_of_the_frequency_of_capitals_among_letters():
    train, held_out = ([c for c in part if c.isalpha()] for part in (PLAIN[:CUT], PLAIN[CUT:]))
    frequency = (sum(c.isupper() for c in train) + 1) / (len(train) + 2)
    share = sum(c.isupper() for c in held_out) / len(held_out)
    expected = -share * math.log(frequency) - (1 - share) * math.log(1 - frequency)
    assert case_restoration(STORY, length=8).baseline == pytest.approx(expected, rel=1e-12)


def test_the_default_text_is_cpythons_and_a_text_of_ones_own_has_its_hash():
    task = case_restoration()
    assert "pydoc_data.topics" in str(task.source) and task.source.length > 300_000
    assert 0.05 < task.baseline < 0.2
    source = case_restoration(STORY, length=8).source
    assert source.sha256 == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert (source.name, source.length) == ("characters", len(PLAIN))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("One.", {}, ValueError, "tasks.case_restoration: characters: 4 items are too few for windows of 64"),
        ("", {}, ValueError, "0 items are too few"),
        ("One." + "1" * 100, {"length": 8}, ValueError, "a part of characters holds no letter"),
        (STORY, {"length": 0}, ValueError, "tasks.case_restoration: length is 0; expected at least 1"),
        (STORY, {"batch_size": 0}, ValueError, "tasks.case_restoration: batch_size is 0"),
        (STORY, {"length": 2.5}, TypeError, "tasks.case_restoration: length must be a Python integer"),
    ],
)
def test_bad_options_are_named(text, options, error, message):
    with pytest.raises(error, match=message):
        case_restoration(text, **options)
