"""Dates: the answer parsed by datetime against Babel's text, the border, the split, and the baseline."""

import datetime
import hashlib
import math
from collections import Counter

import jax
import numpy as np
import pytest
from babel.dates import format_date

from jaxrnn.tasks import dates

ISO = "0123456789-"
DAYS = [datetime.date(1999, 1, 1) + datetime.timedelta(i) for i in range(365 + 366)]
OPTIONS = {"locales": ("en", "de"), "years": (1999, 2000)}


def texts(locales=("en", "de"), days=DAYS):
    return {format_date(day, "long", locale): day for locale in locales for day in days}


def symbols_of(texts):
    return [*ISO, "^", *sorted({c for text in texts for c in text} - set(ISO))]


def decode(batch, symbols):
    """(what the encoder reads, what the decoder reads, what it has to write), as strings."""
    characters, in_decoder = (np.asarray(x) for x in batch.xs)
    border = characters.shape[1] - 10
    np.testing.assert_array_equal(in_decoder, np.tile([0] * border + [1] * 10, (len(characters), 1)))
    lengths = characters[:, :border].sum(axis=(1, 2), dtype=int)
    full = np.arange(border + 10) >= border - lengths[:, None]
    np.testing.assert_array_equal(characters.sum(axis=2), full)
    rows = zip(characters.argmax(axis=2).tolist(), batch.targets.tolist(), lengths, strict=True)
    for tokens, targets, length in rows:
        read = "".join(symbols[i] for i in tokens[border - length :])
        yield read[:length], read[length:], "".join(ISO[i] for i in targets[border:])


def test_the_answer_is_the_date_of_babels_text_and_the_decoder_reads_it_one_step_late():
    task = dates(**OPTIONS, batch_size=300)
    batch, expected = task.sample(jax.random.key(0)), texts()
    symbols = symbols_of(expected)
    length = max(map(len, expected)) + 10
    assert batch.xs[0].shape == (300, length, len(symbols)) and task.input_size == len(symbols)
    assert batch.targets.shape == (300, length) and task.output_size == 11
    for text, read, written in decode(batch, symbols):
        assert datetime.date.fromisoformat(written) == expected[text]
        assert read == "^" + written[:-1]
    np.testing.assert_allclose(batch.weights, np.tile([0] * (length - 10) + [0.1] * 10, (300, 1)))


def test_no_date_is_in_both_parts_in_any_language_and_every_text_is_in_one():
    task = dates(**OPTIONS, batch_size=30_000)
    symbols = symbols_of(texts())
    batches = (part(jax.random.key(0)) for part in (task.sample, task.held_out))
    train, held_out = (list(decode(batch, symbols)) for batch in batches)
    assert {row[0] for row in train + held_out} == set(texts())
    assert not {row[2] for row in train} & {row[2] for row in held_out}
    assert 0.06 < len({row[2] for row in held_out}) / len(DAYS) < 0.14
    assert task.source.length == 2 * len(DAYS)


def test_locales_and_years_choose_the_texts():
    task = dates(locales=["fr"], years=(1999, 1999), batch_size=5000)
    expected = texts(["fr"], DAYS[:365])
    seen = {row[0] for row in decode(task.sample(jax.random.key(0)), symbols_of(expected))}
    assert seen <= set(expected) and len(seen) > 300
    assert task.source.length == 365 and "1999 to 1999 by Babel, fr" in str(task.source)


def test_baseline_is_the_cross_entropy_of_the_frequencies_of_characters_at_each_place():
    words = [day.isoformat() for day in DAYS]
    held_out = {w for w in words if int(hashlib.sha256(w.encode()).hexdigest()[:16], 16) < 0.1 * 2**64}
    train = [w for w in words if w not in held_out]
    total = 0.0
    for i in range(10):
        counts = Counter(w[i] for w in train)
        total -= sum(math.log((counts[w[i]] + 1) / (len(train) + 11)) for w in held_out) / len(held_out)
    assert dates(**OPTIONS).baseline == pytest.approx(total / 10, rel=1e-12)


def test_the_default_is_a_century_in_english():
    task = dates()
    assert task.source.length == 36525 and 1 < task.baseline < 1.5


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"locales": ["en", "xx"]}, ValueError, "tasks.dates: locales has 'xx', which Babel does not know"),
        (
            {"locales": ["en", "en"]},
            ValueError,
            r"\('en', 'en'\); expected one or more, each once",
        ),
        ({"locales": []}, ValueError, r"locales is \(\); expected one or more"),
        (
            {"years": (2000, 1999)},
            ValueError,
            r"years is \(2000, 1999\); expected 1000 <= first <= last",
        ),
        ({"years": (1999,)}, ValueError, "expected 1000 <= first <= last"),
        ({"years": (999, 1000)}, ValueError, "expected 1000 <= first"),
        ({"years": (9999, 10_000)}, ValueError, "last <= 9999"),
        ({"years": (1999.5, 2000)}, TypeError, "tasks.dates: years must be a Python integer"),
        ({"batch_size": 0}, ValueError, "tasks.dates: batch_size is 0; expected at least 1"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        dates(**options)
