"""Sequential parity: targets recomputed as a product of signs, and one bit that reaches the optimum."""

import jax.numpy as jnp
import numpy as np
import pytest
from drawing import draw

from jaxrnn.gradients import loss
from jaxrnn.tasks import sequential_parity


def odd(signs):
    """1 where the number of ones is odd: the product of all -x_t is then -1."""
    return (np.prod(-signs, axis=1) < 0).astype(int)


@pytest.mark.parametrize("length", [1, 2, 9])
def test_the_end_is_asked_whether_the_number_of_ones_is_odd(length):
    batch = draw(sequential_parity(length=length, batch_size=200))
    signs = batch.xs[..., 0]
    assert set(np.unique(signs)) == {-1, 1}
    np.testing.assert_array_equal(batch.targets[:, -1], odd(signs))
    np.testing.assert_array_equal(batch.weights, np.eye(length)[[-1] * 200])


def test_every_step_is_asked_about_the_ones_so_far():
    batch = draw(sequential_parity(targets="every", length=9, batch_size=200))
    assert batch.weights is None
    for t in range(9):
        np.testing.assert_array_equal(batch.targets[:, t], odd(batch.xs[:, : t + 1, 0]))


@pytest.mark.parametrize("targets", ["end", "every"])
def test_one_bit_that_a_one_turns_reaches_the_optimum(targets):
    task = sequential_parity(targets=targets, length=20, batch_size=5)

    def step(_, h, x):
        h = -x * h
        return h, 50 * jnp.concatenate([h, -h])

    value, _ = loss(step, task.step_loss, None, jnp.ones((5, 1)), draw(task))
    assert value <= 1e-15 + task.optimum


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"targets": "all"}, ValueError, "targets is 'all'; expected one of 'end', 'every'"),
        ({"length": 0}, ValueError, "tasks.sequential_parity: length is 0; expected at least 1"),
        ({"batch_size": 1.5}, TypeError, "tasks.sequential_parity: batch_size must be a Python integer"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        sequential_parity(**options)
