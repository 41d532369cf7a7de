"""Hyphenation: words with their hyphens put back against Pyphen, padding, the split, and the baseline."""

import hashlib
import math

import jax
import numpy as np
import pyphen
import pytest

from jaxrnn.tasks import hyphenation

WORDS = sorted(
    {
        stem + ending
        for stem in ("recur", "hyphen", "gradient", "memor", "network", "translat", "vanish", "explod")
        for ending in ("e", "ing", "ation", "able", "er", "ed", "s", "ity", "ment", "ist")
    }
)


def decode(batch, symbols):
    """Words with a hyphen behind each letter whose target is 1; what is not one-hot must be zeros."""
    xs = np.asarray(batch.xs)
    lengths = xs.sum(axis=(1, 2), dtype=int)
    np.testing.assert_array_equal(xs.sum(axis=2), np.arange(xs.shape[1]) < lengths[:, None])
    rows = zip(xs.argmax(axis=2).tolist(), batch.targets.tolist(), lengths, strict=True)
    for tokens, hyphens, length in rows:
        yield "".join(symbols[i] + "-" * n for i, n in zip(tokens[:length], hyphens[:length], strict=True))


@pytest.mark.parametrize("language", ["en_US", "de_DE"])
def test_hyphens_are_pyphens_and_letters_weigh_alike(language):
    task = hyphenation(WORDS, language=language, batch_size=500)
    batch = task.sample(jax.random.key(0))
    insert = pyphen.Pyphen(lang=language).inserted
    divided = 0
    for i, word in enumerate(decode(batch, sorted(set("".join(WORDS))))):
        plain = word.replace("-", "")
        assert plain in WORDS and insert(plain, "-") == word
        np.testing.assert_allclose(batch.weights[i], [1 / len(plain)] * len(plain) + [0] * (16 - len(plain)))
        divided += "-" in word
    assert divided > 300


def test_a_known_word_is_divided_as_liang_does():
    task = hyphenation([*WORDS, "hyphenation"], batch_size=2000)
    symbols = sorted(set("".join(WORDS)))
    parts = (task.sample(jax.random.key(0)), task.held_out(jax.random.key(0)))
    assert "hy-phen-ation" in {word for part in parts for word in decode(part, symbols)}


def test_the_default_words_are_real_english_words_and_no_names_of_pythons():
    symbols = "abcdefghijklmnopqrstuvwxyz"
    task = hyphenation(batch_size=40_000)
    parts = [set(decode(part(jax.random.key(0)), symbols)) for part in (task.sample, task.held_out)]
    words = {word.replace("-", "") for part in parts for word in part}
    assert not parts[0] & parts[1]
    assert len(words) == task.source.length > 2000 and task.input_size == 26
    assert {"expression", "statement", "whether", "python"} <= words
    assert not {"getattr", "isinstance", "str", "the", "are"} & words
    assert {len(word) for word in words} <= set(range(4, 17))
    assert 0.2 < task.baseline < math.log(2)


def test_no_word_is_in_both_parts_and_every_word_is_in_one():
    task = hyphenation(WORDS, batch_size=5000)
    symbols = sorted(set("".join(WORDS)))
    train, held_out = (
        {word.replace("-", "") for word in decode(part(jax.random.key(0)), symbols)}
        for part in (task.sample, task.held_out)
    )
    assert not train & held_out and train | held_out == set(WORDS)


def test_case_and_repetition_of_words_change_nothing_and_longer_words_are_left_out():
    plain = hyphenation(WORDS, length=9)
    assert hyphenation([*map(str.upper, WORDS), *WORDS], length=9).source == plain.source
    assert plain.source.length == sum(len(word) <= 9 for word in WORDS) < len(WORDS)


def test_language_changes_the_answers():
    english, german = (hyphenation(WORDS, language=language) for language in ("en_US", "de_DE"))
    assert english.source.sha256 != german.source.sha256 and english.baseline != german.baseline
    assert "(de_DE)" in str(german.source)


def test_baseline_is_the_cross_entropy_of_the_frequency_of_hyphens_where_every_word_counts_once():
    places = pyphen.Pyphen(lang="en_US").positions
    shares = {word: len(places(word)) / len(word) for word in WORDS}
    held_out = {w for w in WORDS if int(hashlib.sha256(w.encode()).hexdigest()[:16], 16) < 0.1 * 2**64}
    train = set(WORDS) - held_out
    frequency = (sum(shares[w] for w in train) + 1) / (len(train) + 2)
    share = sum(shares[w] for w in held_out) / len(held_out)
    expected = -share * math.log(frequency) - (1 - share) * math.log(1 - frequency)
    assert hyphenation(WORDS).baseline == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("words", "options", "error", "message"),
    [
        (WORDS, {"language": "xx"}, ValueError, "language is 'xx'; expected one of 'af'"),
        ([*WORDS, "two words"], {}, ValueError, "words holds 'two words'; expected letters only"),
        ([*WORDS, ""], {}, ValueError, "words holds ''; expected letters only"),
        (np.ones(()), {}, TypeError, "words is a ndarray; expected strings, a word each"),
        ([*WORDS, 1], {}, TypeError, "words holds what is no string"),
        (["one"], {}, ValueError, "tasks.hyphenation: 1 items are too few"),
        (WORDS, {"length": 2}, ValueError, "tasks.hyphenation: 0 items are too few"),
        (WORDS, {"length": 0}, ValueError, "tasks.hyphenation: length is 0; expected at least 1"),
        (WORDS, {"batch_size": 0}, ValueError, "tasks.hyphenation: batch_size is 0"),
        (WORDS, {"length": 2.5}, TypeError, "tasks.hyphenation: length must be a Python integer"),
    ],
)
def test_bad_options_are_named(words, options, error, message):
    with pytest.raises(error, match=message):
        hyphenation(words, **options)
