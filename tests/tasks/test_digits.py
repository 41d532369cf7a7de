"""Digits: pixels and classes against scikit-learn's own, the split, and the baseline."""

import hashlib
import math
from collections import Counter

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxrnn.tasks import digits

DATA = load_digits(return_X_y=True)
CLASSES = {tuple(image): int(digit) for image, digit in zip(*DATA, strict=True)}


def images(batch):
    """Images as tuples of 64 grey values 0..16."""
    return [tuple(16 * xs.ravel()) for xs in np.asarray(batch.xs)]


@pytest.mark.parametrize(("by", "shape"), [("pixel", (64, 1)), ("row", (8, 8))])
def test_images_are_scikit_learns_and_only_the_end_is_asked_for_the_digit(by, shape):
    batch = digits(by=by, batch_size=200).sample(jax.random.key(0))
    assert batch.xs.shape == (200, *shape)
    assert 0 == batch.xs.min() and batch.xs.max() == 1
    for image, targets in zip(images(batch), batch.targets, strict=True):
        assert CLASSES[image] == targets[-1]
    np.testing.assert_array_equal(batch.weights, np.eye(shape[0])[[-1] * 200])


def test_pixels_and_rows_are_the_same_images():
    pixel, row = (digits(by=by, batch_size=3).sample(jax.random.key(1)).xs for by in ("pixel", "row"))
    np.testing.assert_array_equal(pixel.reshape(3, 8, 8), row)


def test_no_image_is_in_both_parts_and_every_image_is_in_one():
    task = digits(by="row", batch_size=30_000)
    train, held_out = (set(images(part(jax.random.key(0)))) for part in (task.sample, task.held_out))
    assert not train & held_out
    assert train | held_out == set(CLASSES)
    assert 130 < len(held_out) < 230


def test_baseline_is_the_cross_entropy_of_the_digits_frequencies():
    def is_held_out(image):
        digest = hashlib.sha256(bytes(int(grey) for grey in image)).hexdigest()
        return int(digest[:16], 16) < 0.1 * 2**64

    train = Counter(digit for image, digit in zip(*DATA, strict=True) if not is_held_out(image))
    held_out = [digit for image, digit in zip(*DATA, strict=True) if is_held_out(image)]
    total = sum(train.values()) + 10
    expected = -sum(math.log((train[digit] + 1) / total) for digit in held_out) / len(held_out)
    task = digits()
    assert task.baseline == pytest.approx(expected, rel=1e-12)
    assert (task.source.length, task.output_size) == (1797, 10)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"by": "column"}, ValueError, "tasks.digits: by is 'column'; expected one of 'pixel', 'row'"),
        ({"batch_size": 0}, ValueError, "tasks.digits: batch_size is 0; expected at least 1"),
        ({"batch_size": 2.5}, TypeError, "tasks.digits: batch_size must be a Python integer"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        digits(**options)
