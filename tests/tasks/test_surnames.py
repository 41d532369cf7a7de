"""Surnames: names and classes against Faker's lists, padding, the split, and the baseline."""

import hashlib
import math
from collections import Counter

import jax
import numpy as np
import pytest
from faker.providers.person import cs_CZ, fi_FI, it_IT, sv_SE

from jaxrnn.tasks import surnames

FINNISH, ITALIAN, SWEDISH = (
    {name.lower() for name in module.Provider.last_names} for module in (fi_FI, it_IT, sv_SE)
)
NAMES = [FINNISH - ITALIAN, ITALIAN - FINNISH]
"""By class, of the task with the locales fi_FI and it_IT."""


def decode(batch, symbols):
    """Strings, from the one-hot steps; what is not one-hot must be zeros at the end."""
    xs = np.asarray(batch.xs)
    lengths = xs.sum(axis=(1, 2), dtype=int)
    np.testing.assert_array_equal(xs.sum(axis=2), np.arange(xs.shape[1]) < lengths[:, None])
    for tokens, length in zip(xs.argmax(axis=2).tolist(), lengths, strict=True):
        yield "".join(symbols[i] for i in tokens[:length])


def symbols_of(names, length=16):
    return sorted(set("".join(name for part in names for name in part if len(name) <= length)))


def test_names_are_fakers_and_their_last_letter_is_asked_for_the_locale():
    task = surnames(locales=["fi_FI", "it_IT"], batch_size=300)
    batch = task.sample(jax.random.key(0))
    symbols = symbols_of(NAMES)
    assert batch.xs.shape == (300, 16, len(symbols)) and (task.input_size, task.output_size) == (
        len(symbols),
        2,
    )
    for i, name in enumerate(decode(batch, symbols)):
        assert name in NAMES[batch.targets[i, len(name) - 1]]
        np.testing.assert_array_equal(batch.weights[i], np.eye(16)[len(name) - 1])


def test_no_name_is_in_both_parts_and_every_name_is_in_one():
    task = surnames(locales=["fi_FI", "it_IT"], batch_size=30_000)
    symbols = symbols_of(NAMES)
    train, held_out = (set(decode(part(jax.random.key(0)), symbols)) for part in (task.sample, task.held_out))
    assert not train & held_out
    assert train | held_out == {name for part in NAMES for name in part if len(name) <= 16}
    assert task.source.length == len(train | held_out) and 0.06 < len(held_out) / task.source.length < 0.14


def test_names_of_several_locales_are_dropped():
    shared = FINNISH & SWEDISH | FINNISH & ITALIAN | ITALIAN & SWEDISH
    names = [part - shared for part in (FINNISH, ITALIAN, SWEDISH)]
    assert len(shared) > 5
    task = surnames(locales=["fi_FI", "it_IT", "sv_SE"], length=20, batch_size=20_000)
    seen = set(decode(task.sample(jax.random.key(0)), symbols_of(names, 20)))
    assert not seen & shared
    assert task.source.length == sum(map(len, names))


def test_longer_names_are_left_out():
    task = surnames(locales=["fi_FI", "it_IT"], length=5, batch_size=5000)
    seen = set(decode(task.sample(jax.random.key(0)), symbols_of(NAMES, 5)))
    assert {len(name) for name in seen} <= {1, 2, 3, 4, 5}
    assert task.source.length == sum(len(name) <= 5 for part in NAMES for name in part)


def test_names_of_women_and_men_count_where_a_language_tells_them_apart():
    provider = cs_CZ.Provider
    expected = {name.lower() for name in (*provider.last_names_female, *provider.last_names_male)}
    task = surnames(locales=["fi_FI", "cs_CZ"], length=30)
    assert task.source.length == len(expected ^ FINNISH)


def test_baseline_is_the_cross_entropy_of_the_classes_frequencies():
    def is_held_out(name):
        return int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) < 0.1 * 2**64

    items = [(name, i) for i, part in enumerate(NAMES) for name in part if len(name) <= 16]
    train = Counter(i for name, i in items if not is_held_out(name))
    held_out = [i for name, i in items if is_held_out(name)]
    total = sum(train.values()) + 2
    expected = -sum(math.log((train[i] + 1) / total) for i in held_out) / len(held_out)
    assert surnames(locales=["fi_FI", "it_IT"]).baseline == pytest.approx(expected, rel=1e-12)


def test_the_default_is_ten_locales_and_the_order_of_locales_is_that_of_the_classes():
    task = surnames()
    assert task.output_size == 10 and task.source.length > 4000
    assert 2 < task.baseline < math.log(10)
    turned = surnames(locales=["it_IT", "fi_FI"], batch_size=300).sample(jax.random.key(0))
    for i, name in enumerate(decode(turned, symbols_of(NAMES))):
        assert name in NAMES[1 - turned.targets[i, 0]]


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"locales": ["fi_FI", "xx"]},
            ValueError,
            "tasks.surnames: locales is 'xx'; expected one of 'ar_AA'",
        ),
        ({"locales": ["fi_FI"]}, ValueError, r"locales is \('fi_FI',\); expected two or more, each once"),
        ({"locales": ["fi_FI", "fi_FI", "it_IT"]}, ValueError, "expected two or more, each once"),
        ({"locales": ["fi_FI", "fr_CA", "fr_QC"]}, ValueError, "locales has fr_CA, for which Faker holds no"),
        ({"locales": ["fi_FI", "pl_PL"]}, ValueError, "locales has pl_PL, for which Faker holds no names"),
        ({"length": 0}, ValueError, "tasks.surnames: length is 0; expected at least 1"),
        ({"length": 1}, ValueError, "holds no names of its own of up to 1 characters. Leave it out"),
        ({"batch_size": 0}, ValueError, "tasks.surnames: batch_size is 0"),
        ({"length": 2.5}, TypeError, "tasks.surnames: length must be a Python integer"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        surnames(**options)
