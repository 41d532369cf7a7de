"""Items and their split, and what is said when a package is missing."""

import math
import sys

import numpy as np
import pytest

from jaxrnn import tasks
from jaxrnn.tasks._items import frequency_loss, padded, split_items

NAMES = [f"item {i}" for i in range(5000)]


def test_every_item_is_in_one_part_and_about_a_tenth_is_held_out():
    train, held_out = split_items("f", NAMES)
    assert sorted([*train, *held_out]) == list(range(5000))
    assert abs(len(held_out) - 500) < 4 * math.sqrt(5000 * 0.1 * 0.9)


def test_an_item_stays_on_its_side_whatever_the_others_and_equal_items_stay_together():
    _, held_out = split_items("f", NAMES)
    again = NAMES[::-1][:3000] + NAMES
    _, shuffled = split_items("f", again)
    expected = {NAMES[i] for i in held_out}
    assert {again[i] for i in shuffled} == expected
    assert not expected & {again[i] for i in split_items("f", again)[0]}


def test_text_and_its_bytes_fall_on_the_same_side():
    parts = [split_items("f", items) for items in (NAMES, [name.encode() for name in NAMES])]
    np.testing.assert_array_equal(parts[0][1], parts[1][1])


@pytest.mark.parametrize("items", [[], NAMES[:1], [NAMES[0]] * 50])
def test_a_part_without_items_is_refused(items):
    with pytest.raises(ValueError, match=rf"tasks.f: {len(items)} items are too few.*Give more data"):
        split_items("tasks.f", items)


@pytest.mark.parametrize(
    ("left", "expected"), [(False, [[0, 1, 1], [2, -1, -1]]), (True, [[0, 1, 1], [-1, -1, 2]])]
)
def test_padding_is_minus_one_on_its_side(left, expected):
    np.testing.assert_array_equal(padded(["abb", "c"], "abc", 3, left=left), expected)


def test_frequency_loss_is_a_weighted_mean_under_add_one_frequencies():
    found, weight = np.array([[0, 1], [1, 2]]), np.array([[1.0, 2.0], [0.5, 0.0]])
    asked, asked_weight = np.array([1, 0, 2]), np.array([3.0, 1.0, 0.0])
    expected = -(3 * math.log(3.5 / 6.5) + math.log(2 / 6.5)) / 4
    assert frequency_loss((found, weight), (asked, asked_weight), 3) == pytest.approx(expected, rel=1e-12)
    plain = -(math.log(3 / 7) + math.log(2 / 7) + math.log(2 / 7)) / 3
    assert frequency_loss(found, asked, 3) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize(
    ("constructor", "module", "package"),
    [
        (tasks.digits, "sklearn", "scikit-learn"),
        (tasks.surnames, "faker", "Faker"),
        (tasks.hyphenation, "pyphen", "Pyphen"),
        (tasks.dates, "babel", "Babel"),
    ],
)
def test_a_missing_package_says_who_needs_it_and_how_to_install_it(monkeypatch, constructor, module, package):
    for name in [module, *(name for name in sys.modules if name.startswith(module + "."))]:
        monkeypatch.setitem(sys.modules, name, None)
    message = rf"tasks.{constructor.__name__} needs {package}: pip install 'jaxrnn\[tasks\]'"
    with pytest.raises(ImportError, match=message):
        constructor()
