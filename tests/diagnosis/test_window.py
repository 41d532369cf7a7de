"""The advised window against the estimators themselves, and what must be refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import Batch, Cell, NumericalError, cells, gradients, suggest_window
from jaxrnn._pytree import tree_norm
from jaxrnn.losses import squared_error
from jaxrnn.tasks import linear_process

T, B = 40, 4
TASK = linear_process(length=T, batch_size=B, noise=3.0)
BATCHES = [TASK.sample(key) for key in jax.random.split(jax.random.key(0), 4)]


def leaky(rate):
    """h_t = rate·h_{t-1} + b x_t, y = h: the terms decay by ln rate a step."""

    def step(params, h, x):
        h = params["a"] * h + params["b"] * x
        return h, h

    return Cell(lambda _: {"a": jnp.asarray(rate), "b": jnp.asarray(0.5)}, lambda _: jnp.zeros(1), step)


def relative_error(cell, params, batch, **options):
    def gradient(estimator):
        return estimator.estimate(params, (), batch, None)[0].grads

    start = {"init_state": cell.init_state}
    exact = gradient(gradients.full(cell.step, squared_error, **start))
    found = gradient(gradients.sliding(cell.step, squared_error, **start, **options))
    return float(tree_norm(jax.tree.map(jnp.subtract, found, exact)) / tree_norm(exact))


@pytest.mark.parametrize("tolerance", [0.2, 0.05])
def test_the_window_is_the_smallest_whose_estimator_is_within_the_tolerance(tolerance):
    cell = leaky(0.7)
    params = cell.init(None)
    advice = suggest_window(
        cell, params, BATCHES, squared_error, tolerance=tolerance, truncation=gradients.sliding
    ).raise_if_bad()
    errors = [
        np.mean([relative_error(cell, params, batch, window=K) for batch in BATCHES])
        for K in (advice.window - 1, advice.window)
    ]
    assert errors[1] <= tolerance < errors[0]
    np.testing.assert_allclose(advice.bias[advice.window - 2 : advice.window], errors, rtol=1e-9)
    assert advice.interval[0] <= advice.window <= advice.interval[1] < T
    assert np.all(advice.bias <= advice.bound * (1 + 1e-9))
    assert f"K = {advice.window} has a relative bias of {errors[1]:.2g}" in advice.reason


def test_the_rate_is_that_of_the_process_and_randomized_truncation_needs_its_square():
    cell = leaky(0.7)
    advice = suggest_window(cell, cell.init(None), BATCHES, squared_error, truncation=gradients.sliding)
    np.testing.assert_allclose(advice.decay.log_rate, np.log(0.7), atol=0.03)
    np.testing.assert_allclose(advice.decay.smallest_keep, np.exp(2 * advice.decay.log_rate))


def test_chunks_need_a_longer_window_than_a_sliding_one():
    cell = leaky(0.7)
    sliding, chunked = (
        suggest_window(cell, cell.init(None), BATCHES, squared_error, truncation=kind).window
        for kind in (gradients.sliding, gradients.chunked)
    )
    assert sliding < chunked


def test_more_batches_narrow_the_interval():
    cell, keys = leaky(0.8), jax.random.split(jax.random.key(3), 40)
    widths = []
    for few in (4, 40):
        batches = [linear_process(length=T, batch_size=1).sample(key) for key in keys[:few]]
        advice = suggest_window(cell, cell.init(None), batches, squared_error, truncation=gradients.sliding)
        widths.append(advice.interval[1] - advice.interval[0])
    assert widths[1] < widths[0]


def chaotic():
    W = 3 * jax.random.normal(jax.random.key(0), (30, 30)) / np.sqrt(30)

    def step(params, h, x):
        h = jnp.tanh(params @ h + 0.1 * x)
        return h, h[:1]

    return Cell(lambda _: W, lambda _: jnp.ones(30) / 10, step)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (chaotic(), "do not decay geometrically: the rate over the later lags is"),
        (leaky(1.0), "do not decay geometrically|decay too slowly"),
        (leaky(0.97), "decay too slowly for 40 lags: the bias of K = 40 is"),
        (leaky(0.0), None),
    ],
    ids=["chaotic", "integrator", "slow", "no memory"],
)
def test_a_window_is_refused_where_none_can_be_seen(cell, reason):
    advice = suggest_window(cell, cell.init(None), BATCHES, squared_error, tolerance=0.05)
    if reason is None:
        assert advice.raise_if_bad().window <= 2
        return
    assert advice.window is None and advice.interval is None
    with pytest.raises(NumericalError, match=reason):
        advice.raise_if_bad()


def test_a_zero_gradient_short_sequences_and_few_lags_are_refused():
    cell = leaky(0.5)
    still = [Batch(jnp.zeros((1, T, 1)), jnp.zeros((1, T, 1)))] * 3
    assert "is zero" in suggest_window(cell, cell.init(None), still, squared_error).reason
    short = [jax.tree.map(lambda leaf: leaf[:, :5], batch) for batch in BATCHES]
    assert "5 lags are too few" in suggest_window(cell, cell.init(None), short, squared_error).reason
    few = suggest_window(leaky(0.97), leaky(0.97).init(None), BATCHES, squared_error, lags=12)
    assert few.window is None and "ook at more lags" in few.reason and len(few.bias) == 12


def test_a_slow_part_behind_a_fast_one_is_noticed_where_few_lags_are_looked_at():
    def step(params, h, x):
        h = params["a"] * h + params["b"] * x
        return h, jnp.sum(h, keepdims=True)

    cell = Cell(
        lambda _: {"a": jnp.asarray([0.4, 0.98]), "b": jnp.asarray([1.0, 0.02])}, lambda _: jnp.zeros(2), step
    )
    advice = suggest_window(
        cell, cell.init(None), BATCHES, squared_error, tolerance=0.5, truncation=gradients.sliding, lags=10
    )
    assert advice.window is None
    with pytest.raises(NumericalError, match=r"beyond lag 10 are larger than the decay|not decay|too slowly"):
        advice.raise_if_bad()


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (ValueError, {"tolerance": 0.0}, "tolerance is 0.0"),
        (TypeError, {"truncation": "both"}, "truncation is a str; expected a function"),
        (ValueError, {"batches": BATCHES[0]}, "got 1 batches; expected at least 3"),
        (TypeError, {"batches": jnp.ones(())}, "batches is a ArrayImpl; expected several batches"),
        (ValueError, {"batches": BATCHES[:2]}, "got 2 batches; expected at least 3"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_bad_arguments_are_named(error, options, message):
    cell = leaky(0.5)
    batches = options.pop("batches", BATCHES)
    with pytest.raises(error, match=message):
        suggest_window(cell, cell.init(None), batches, squared_error, **options)


def test_a_learned_h_0_and_a_stack_go_through():
    cell = cells.stack(cells.lstm(1, 3, learned_h_0=True), cells.dense(3, 1))
    advice = suggest_window(cell, cell.init(jax.random.key(0)), BATCHES, TASK.step_loss, tolerance=0.3)
    assert len(advice.profile) == T and advice.reason
