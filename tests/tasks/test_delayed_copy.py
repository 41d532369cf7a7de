"""Delayed copy: the target recomputed from the inputs, the optimum, and the window that it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close
from drawing import draw

from jaxrnn import cells, gradients
from jaxrnn.gradients import loss
from jaxrnn.tasks import delayed_copy


@pytest.mark.parametrize("delay", [0, 1, 4, 6])
def test_delayed_copy_asks_for_the_symbol_of_delay_steps_ago(delay):
    batch = draw(delayed_copy(delay=delay, symbols=3, length=7, batch_size=500))
    np.testing.assert_array_equal(np.sort(batch.xs), np.sort(np.eye(3)[np.zeros((500, 7), int)]))
    tokens = batch.xs @ np.arange(3)
    for t in range(7):
        assert_close(batch.weights[:, t], np.full(500, 1 / (7 - delay) if t >= delay else 0.0))
        if t >= delay:
            np.testing.assert_array_equal(batch.targets[:, t], tokens[:, t - delay])


def shift_register(delay, symbols):
    """A linear Elman network whose block i holds the symbol of i steps ago; it reads out the last."""
    cell = cells.stack(
        cells.elman(symbols, (delay + 1) * symbols, activation="linear"),
        cells.dense((delay + 1) * symbols, symbols),
    )
    one, blocks = np.eye(symbols), np.eye(delay + 1)
    recurrent = {
        "W_hx": np.kron(blocks[:, :1], one),
        "W_hh": np.kron(np.eye(delay + 1, k=-1), one),
        "b_h": np.zeros((delay + 1) * symbols),
    }
    readout = {"W": 40 * np.kron(blocks[-1:], one), "b": np.zeros(symbols)}
    return cell, jax.tree.map(jnp.asarray, (recurrent, readout))


def test_a_shift_register_reaches_the_optimum_of_delayed_copy_and_needs_a_window_of_delay_plus_one():
    delay, symbols = 3, 2
    task = delayed_copy(delay=delay, symbols=symbols, length=9, batch_size=4)
    cell, params = shift_register(delay, symbols)
    batch, h_0 = draw(task), cell.initial_states(params, 4)
    assert loss(cell.step, task.step_loss, params, h_0, batch)[0] < 1e-15 + task.optimum

    params[1]["W"] = params[1]["W"] / 40  # a gradient is left where the answer is not certain
    write = {}
    for name, estimator in {
        "full": gradients.full(cell.step, task.step_loss),
        "short": gradients.sliding(cell.step, task.step_loss, window=delay),
        "enough": gradients.sliding(cell.step, task.step_loss, window=delay + 1),
    }.items():
        estimate, _ = estimator.estimate(params, estimator.init(params, h_0), batch, jax.random.key(0))
        write[name] = np.asarray(estimate.grads[0]["W_hx"][:symbols])  # what is written to block 0
    assert np.abs(write["full"]).max() > 0.01
    np.testing.assert_array_equal(write["short"], 0)
    assert_close(write["enough"], write["full"])


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"delay": -1}, ValueError, "tasks.delayed_copy: delay is -1; expected at least 0"),
        ({"symbols": 1}, ValueError, "symbols is 1; expected at least 2"),
        ({"delay": 9, "length": 9}, ValueError, "length is 9; expected at least 10"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        delayed_copy(**options)
