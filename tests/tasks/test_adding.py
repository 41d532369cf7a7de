"""Adding: the target recomputed from the inputs, the baseline and the optimum."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close
from drawing import assert_mean, draw

from jaxrnn.gradients import loss
from jaxrnn.tasks import adding


def test_adding_marks_one_value_in_each_half_and_asks_for_their_sum():
    batch = draw(adding(length=7, batch_size=2000))
    values, markers = batch.xs[..., 0], batch.xs[..., 1]
    assert 0 <= values.min() and values.max() < 1
    assert_mean(values.ravel(), 0.5)
    first, second = np.array([np.flatnonzero(row) for row in markers]).T
    assert set(np.unique(markers)) == {0, 1}
    assert set(first) == {0, 1, 2} and set(second) == {3, 4, 5, 6}
    rows = np.arange(len(values))
    assert_close(batch.targets[:, -1, 0], values[rows, first] + values[rows, second])
    np.testing.assert_array_equal(batch.weights, np.eye(7)[[-1] * len(rows)])


def test_adding_baseline_is_the_loss_of_the_answer_one():
    task = adding(length=2, batch_size=20_000)
    assert_mean(0.5 * (draw(task).targets[:, -1, 0] - 1) ** 2, task.baseline)


def test_an_accumulator_reaches_the_optimum_of_adding():
    task = adding(length=7, batch_size=3)

    def step(_, h, x):
        h = h + x[:1] * x[1:]
        return h, h

    value, _ = loss(step, task.step_loss, None, jnp.zeros((3, 1)), draw(task))
    assert value <= 1e-15 + task.optimum


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"length": 1}, ValueError, "tasks.adding: length is 1; expected at least 2"),
        ({"batch_size": 0}, ValueError, "tasks.adding: batch_size is 0; expected at least 1"),
        ({"length": 2.5}, TypeError, "tasks.adding: length must be a Python integer"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        adding(**options)
