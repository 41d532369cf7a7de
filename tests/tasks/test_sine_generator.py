"""The sine generator: what the input says, and the baseline."""

import numpy as np
import pytest
from drawing import draw

from jaxrnn.tasks import sine_generator


def test_the_input_says_the_frequency():
    batch = draw(sine_generator(frequencies=5, lowest=0.02, highest=0.1, length=30, batch_size=200))
    assert (batch.xs == batch.xs[:, :1]).all()
    index = np.round((batch.xs[:, 0, 0] - 0.25) * 5)
    assert set(index) == set(range(5))
    f = 0.02 + 0.02 * index
    expected = np.sin(2 * np.pi * f[:, None] * np.arange(1, 31))
    np.testing.assert_allclose(batch.targets[..., 0], expected, atol=1e-6)


def test_the_baseline_is_the_loss_of_the_best_constant_for_each_input():
    task = sine_generator(frequencies=3, length=17, batch_size=300)
    batch = draw(task)
    waves = np.unique(batch.targets[..., 0], axis=0)
    assert len(waves) == 3
    losses = 0.5 * ((waves - waves.mean(axis=1, keepdims=True)) ** 2).mean(axis=1)
    np.testing.assert_allclose(losses.mean(), task.baseline, rtol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequencies": 0}, "frequencies is 0"),
        ({"lowest": 0.0}, "lowest is 0.0 and highest 0.1; expected 0 < lowest"),
        ({"lowest": 0.2}, "lowest is 0.2"),
        ({"highest": 0.6}, "lowest is 0.02 and highest 0.6"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=rf"tasks\.sine_generator: {message}"):
        sine_generator(**options)
