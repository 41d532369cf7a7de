"""A NaN in training: it stops and can be reproduced, or is skipped and counted, or kept, as one chooses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close

from jaxrnn import Batch, NumericalError, cells, gradients, load, training
from jaxrnn.losses import squared_error
from jaxrnn.training import Failure, NonFiniteError

CELL = cells.stack(cells.elman(2, 3), cells.dense(3, 1))
FULL = gradients.full(CELL.step, squared_error)
KEY = jax.random.key(7)
PARAMS = CELL.init(KEY)


def batch(i, bad=False):
    rng = np.random.default_rng(i)
    xs, targets = rng.normal(size=(2, 5, 2)), rng.normal(size=(2, 5, 1))
    targets[0, 2] = np.nan if bad else 0
    return Batch(xs, targets)


def data(*bad, n=9):
    return [batch(i, i in bad) for i in range(n)]


def train(batches, *, estimator=FULL, **options):
    options = {"steps": None, "params": PARAMS, "chunk": 4, "progress": False, "key": KEY} | options
    return training.train(CELL, estimator, optax.sgd(0.1), batches, **options)


@pytest.mark.parametrize("at", [0, 4, 6])
def test_a_nan_stops_training_before_its_step_and_can_be_reproduced(at):
    with pytest.raises(NonFiniteError, match=f"loss nan and gradient norm nan at step {at + 1} of") as caught:
        train(data(at))
    assert isinstance(caught.value, NumericalError)
    failure, result = caught.value.failure, caught.value.result
    assert (failure.step, failure.seed) == (at + 1, 0)
    assert f"from batch {at} of the data" in str(caught.value)
    if at:
        whole = train(data(n=at))
        assert_close(result.history.loss, whole.history.loss, factor=10)
        assert_close(result.params, whole.params, factor=10)
    else:
        assert result.history.loss.shape == (1, 0)
        assert_close(result.seed(), PARAMS)
    assert_close(failure.params, result.seed(), factor=0)
    np.testing.assert_array_equal(failure.batch.targets, batch(at, bad=True).targets)
    assert np.isnan(FULL.estimate(*failure.arguments())[0].loss)


def test_the_failure_is_saved_beside_the_checkpoints_and_loads_again(tmp_path):
    """Of a stream, so that its carry matters, and of a random estimator, so that its key does."""
    estimator = gradients.randomized(CELL.step, squared_error, keep=0.5)
    with pytest.raises(
        NonFiniteError, match=r"jaxrnn\.load\('.*failure_at_step_6\.npz'\) reproduces"
    ) as caught:
        train(data(5), estimator=estimator, stream=True, checkpoints=tmp_path, seeds=2)
    loaded, failure = load(tmp_path / "failure_at_step_6.npz"), caught.value.failure
    assert isinstance(loaded, Failure) and loaded.step == 6
    jax.tree.map(np.testing.assert_array_equal, loaded.arguments()[:3], failure.arguments()[:3])
    seed_key = jax.random.split(KEY, 2)[loaded.seed]
    expected = jax.random.split(jax.random.fold_in(seed_key, 6))[1]
    np.testing.assert_array_equal(jax.random.key_data(loaded.key), jax.random.key_data(expected))
    assert np.abs(jax.tree.leaves(loaded.carry)[0]).max() > 0
    assert np.isnan(estimator.estimate(*loaded.arguments())[0].loss)
    # The folder is a good one still: with the batch mended, training goes on.
    rest = train(data(), estimator=estimator, stream=True, checkpoints=tmp_path, seeds=2, resume=True)
    assert np.isfinite(rest.history.loss).all()


def test_the_batch_of_a_sampler_is_reproduced_from_its_key():
    def sample(key):
        """Every fourth or so has a NaN."""
        xs = jax.random.normal(key, (2, 5, 2))
        return Batch(xs, jnp.where(xs[:1, :1, :1] > 0.7, jnp.nan, xs.sum(-1, keepdims=True)))

    with pytest.raises(NonFiniteError) as caught:
        train(sample, steps=40, seeds=3)
    failure = caught.value.failure
    assert failure.step > 1
    key = jax.random.split(jax.random.fold_in(jax.random.split(KEY, 3)[failure.seed], failure.step))[0]
    assert_close(failure.batch.xs, sample(key).xs, factor=10)
    assert np.isnan(FULL.estimate(*failure.arguments())[0].loss)


@pytest.mark.parametrize("stream", [False, True])
def test_a_skipped_step_changes_nothing_and_is_counted(stream):
    result = train(data(1, 5), nonfinite="skip", stream=stream)
    assert np.isnan(result.history.loss[0, [1, 5]]).all()
    assert np.isfinite(np.delete(result.history.loss, [1, 5])).all()
    np.testing.assert_array_equal(result.opt_state.total_notfinite, [2])
    good = [b for i, b in enumerate(data()) if i not in (1, 5)]
    without = train(good, stream=stream)
    assert_close(result.params, without.params)
    assert_close(result.carry, without.carry)
    assert_close(np.delete(result.history.loss, [1, 5])[None], without.history.loss)


def test_one_seed_skips_what_another_one_trains_on():
    def sample(key):
        xs = jax.random.normal(key, (2, 5, 2))
        return Batch(xs, jnp.where(xs[:1, :1, :1] > 0.5, jnp.nan, xs.sum(-1, keepdims=True)))

    result = train(sample, steps=8, seeds=2, nonfinite="skip")
    skipped = np.isnan(result.history.loss)
    assert (skipped[0] != skipped[1]).any()
    np.testing.assert_array_equal(result.opt_state.total_notfinite, skipped.sum(1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


def test_kept_means_that_training_goes_on_with_it():
    history = train(data(2), nonfinite="keep").history
    assert np.isfinite(history.loss[0, :2]).all() and np.isnan(history.loss[0, 2:]).all()
    with pytest.raises(NumericalError, match="at step 3 of seed 0"):
        history.raise_if_bad()


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="nonfinite is 'clip'; expected one of 'keep', 'skip'"):
        train(data(), nonfinite="clip")


def test_batches_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="batches differ in shape"):
        train([batch(0), batch(1)._replace(xs=np.ones((2, 6, 2)), targets=np.ones((2, 6, 1)))])
