"""Copying: what stands where, the loss of the baseline, and a machine that reaches the optimum."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close
from drawing import draw

from jaxrnn.gradients import loss
from jaxrnn.tasks import copying


def words(batch, symbols):
    """Inputs and targets as strings: a letter, a blank as a dot, the delimiter as a bar."""
    alphabet = "abcdefgh"[:symbols] + ".|"
    assert set(np.unique(batch.xs)) == {0, 1}
    np.testing.assert_array_equal(batch.xs.sum(axis=-1), 1)
    for xs, targets in zip(batch.xs.argmax(-1), batch.targets, strict=True):
        yield tuple("".join(alphabet[i] for i in row) for row in (xs, targets))


@pytest.mark.parametrize(("items", "symbols", "length"), [(1, 2, 3), (3, 4, 9), (10, 8, 31)])
def test_the_string_comes_first_and_is_asked_for_after_the_delimiter(items, symbols, length):
    batch = draw(copying(items=items, symbols=symbols, length=length, batch_size=300))
    assert batch.weights is None and batch.xs.shape == (300, length, symbols + 2)
    gap, strings = length - 2 * items, set()
    for xs, targets in words(batch, symbols):
        string = xs[:items]
        assert xs == string + "." * (gap - 1) + "|" + "." * items
        assert targets == "." * (items + gap) + string
        strings.add(string)
    assert set("".join(strings)) == set("abcdefgh"[:symbols])
    assert len(strings) > 290 or symbols**items < 300


def test_the_default_is_the_gap_of_a_hundred_steps_in_the_literature():
    task = copying()
    assert draw(task).xs.shape == (32, 120, 10) and task.output_size == 9
    assert task.baseline == pytest.approx(10 * np.log(8) / (100 + 20), rel=1e-12)


def test_baseline_is_the_loss_of_blanks_and_then_a_guess_among_the_symbols():
    task = copying(items=3, symbols=4, length=9, batch_size=5)

    def step(_, h, x):
        del x
        guess = jnp.array([0.0, 0.0, 0.0, 0.0, -100.0])
        blank = jnp.array([-100.0, -100.0, -100.0, -100.0, 0.0])
        return h + 1, jnp.where(h >= 6, guess, blank)

    value, _ = loss(step, task.step_loss, None, jnp.zeros((5, 1)), draw(task))
    assert_close(value, np.array(task.baseline))


def test_a_queue_reaches_the_optimum():
    items, symbols = 3, 4
    task = copying(items=items, symbols=symbols, length=12, batch_size=5)

    def step(_, h, x):
        queue, recalling = h
        symbol, is_symbol, is_delimiter = x[:symbols], x[:symbols].sum(), x[symbols + 1]
        push = jnp.concatenate([queue[1:], symbol[None]])
        pop = jnp.concatenate([queue[1:], 0 * symbol[None]])
        y = 100 * jnp.append(recalling * queue[0], 1 - recalling)
        queue = jnp.where(is_symbol > 0, push, jnp.where(recalling > 0, pop, queue))
        return (queue, recalling + is_delimiter), y

    start = jnp.zeros((5, items, symbols)), jnp.zeros(5)
    value, _ = loss(step, task.step_loss, None, start, draw(task))
    assert value <= 1e-15 + task.optimum


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"items": 0}, ValueError, "tasks.copying: items is 0; expected at least 1"),
        ({"symbols": 1}, ValueError, "tasks.copying: symbols is 1; expected at least 2"),
        ({"length": 20}, ValueError, "tasks.copying: length is 20; expected at least 21"),
        ({"batch_size": 0}, ValueError, "tasks.copying: batch_size is 0"),
        ({"items": 1.5}, TypeError, "tasks.copying: items must be a Python integer"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        copying(**options)
