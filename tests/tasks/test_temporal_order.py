"""Temporal order: the target recomputed from the inputs, and the optimum."""

import jax.numpy as jnp
import numpy as np
import pytest
from drawing import draw

from jaxrnn.gradients import loss
from jaxrnn.tasks import temporal_order


@pytest.mark.parametrize("length", [10, 19, 100])
def test_temporal_order_hides_two_of_x_and_y_in_their_tenths(length):
    batch = draw(temporal_order(length=length, batch_size=1500))
    np.testing.assert_array_equal(np.sort(batch.xs), np.sort(np.eye(6)[np.zeros((1500, length), int)]))
    rows = ["".join("abcdXY"[i] for i in row) for row in batch.xs.argmax(-1)]
    places, answers = [], []
    for row in rows:
        places.append([i for i, symbol in enumerate(row) if symbol in "XY"])
        answers.append(["XX", "XY", "YX", "YY"].index("".join(row[i] for i in places[-1])))
    first, second = (set(column) for column in np.array(places).T.tolist())
    assert first == set(range(length // 10, length // 5))
    assert second == set(range(length // 2, 6 * length // 10))
    np.testing.assert_array_equal(batch.targets[:, -1], answers)
    np.testing.assert_array_equal(batch.weights, np.eye(length)[[-1] * 1500])
    assert set("".join(rows)) == set("abcdXY")


def test_a_counter_reaches_the_optimum_of_temporal_order():
    def step(_, h, x):
        relevant = x[4] + x[5]
        h = (1 - relevant) * h + relevant * (2 * h + x[5:])
        return h, -100 * (jnp.arange(4.0) - h) ** 2

    task = temporal_order(length=12, batch_size=5)
    value, _ = loss(step, task.step_loss, None, jnp.zeros((5, 1)), draw(task))
    assert value <= 1e-15 + task.optimum


@pytest.mark.usefixtures("unchecked_types")
def test_a_length_without_tenths_is_named():
    with pytest.raises(ValueError, match=r"tasks\.temporal_order: length is 9; expected at least 10"):
        temporal_order(length=9)
