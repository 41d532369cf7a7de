"""The flip-flop's targets by a loop, and its baseline."""

import numpy as np
import pytest
from drawing import assert_mean, draw

from jaxrnn.tasks import flip_flop


def test_targets_are_the_last_pulse_of_each_input():
    batch = draw(flip_flop(bits=3, pulses=0.2, length=40, batch_size=50))
    assert set(np.unique(batch.xs)) == {-1, 0, 1} and (batch.xs[:, 0] != 0).all()
    last = batch.xs[:, 0]
    for t in range(40):
        last = np.where(batch.xs[:, t] != 0, batch.xs[:, t], last)
        np.testing.assert_array_equal(batch.targets[:, t], last)


def test_pulses_come_as_often_as_asked_with_either_sign():
    xs = draw(flip_flop(bits=2, pulses=0.3, length=50, batch_size=400)).xs[:, 1:].ravel()
    assert_mean((xs != 0).astype(float), 0.3)
    assert_mean((xs[xs != 0] > 0).astype(float), 0.5)


def test_the_baseline_is_the_loss_of_the_input_itself():
    task = flip_flop(bits=3, pulses=0.2, length=10, batch_size=5000)
    batch = draw(task)
    assert_mean(0.5 * ((batch.targets - batch.xs) ** 2).sum(axis=2).mean(axis=1), task.baseline)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "message"),
    [({"bits": 0}, "bits is 0"), ({"pulses": 1.5}, "pulses is 1.5"), ({"length": 0}, "length")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=rf"tasks\.flip_flop: {message}"):
        flip_flop(**options)
