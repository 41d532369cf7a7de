"""The training loop on a network of two numbers, so that every step can be followed by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import assert_close
from oracles import row

from jaxrnn import Batch, Cell, NumericalError, gradients, training
from jaxrnn.losses import squared_error
from jaxrnn.training import History
from jaxrnn.training.update import Programs


def leaky_step(params, h_tm1, x_t):
    h_t = params["w"] * h_tm1 + x_t
    return h_t, params["v"] * h_t


CELL = Cell(
    init=lambda key: {"w": 0.5 * jax.random.normal(key, (1,)), "v": jnp.ones(1)},
    init_state=lambda params: jnp.zeros_like(params["w"]),
    step=leaky_step,
)
LEARNED = Cell(
    init=lambda key: CELL.init(key) | {"h_0": jnp.full(1, 0.3)},
    init_state=lambda params: params["h_0"],
    step=leaky_step,
)
steps_of = jax.vmap(leaky_step, (None, 0, 0))
FULL = gradients.full(leaky_step, squared_error)
KEY = jax.random.key(7)
SGD = optax.sgd(0.1)


def sample(key):
    """Targets of a leaky sum with w = 0.8, v = 2, so that training has something to find."""
    xs = jax.random.normal(key, (3, 5, 1))
    hs = []
    for t in range(5):
        hs.append((0.8 * hs[-1] if hs else 0.0) + xs[:, t])
    return Batch(xs, 2 * jnp.stack(hs, axis=1))


def batches(n, seed=0):
    return [sample(jax.random.key(100 + seed + i)) for i in range(n)]


def train(data=sample, *, cell=CELL, estimator=FULL, optimizer=SGD, key=KEY, **options):
    options = {"steps": 4, "progress": False} | options
    return training.train(cell, estimator, optimizer, data, key=key, **options)


def exact(params, h_0, batch):
    """(loss, gradient) by autodiff of a Python loop."""

    def loss(params):
        h, total = h_0, 0.0
        for t in range(batch.xs.shape[1]):
            h, y = steps_of(params, h, batch.xs[:, t])
            total += 0.5 * jnp.sum((y - batch.targets[:, t]) ** 2)
        return total / batch.xs.shape[0] / batch.xs.shape[1]

    return jax.value_and_grad(loss)(params)


def norm(tree):
    return np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(tree)))


def test_every_step_is_the_optax_update_by_hand():
    optimizer = optax.sgd(0.1, momentum=0.9)
    data = batches(3)
    params = {"w": jnp.array([0.4]), "v": jnp.array([1.5])}
    result = train(data, optimizer=optimizer, params=params, steps=3)
    opt_state, losses, norms = optimizer.init(params), [], []
    for batch in data:
        loss, grads = exact(params, jnp.zeros((3, 1)), batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        losses.append(loss)
        norms.append(norm(grads))
    assert_close(result.seed(), params)
    assert_close(row(result.opt_state, 0), opt_state)
    assert_close(result.history.loss[0], np.array(losses))
    assert_close(result.history.grad_norm[0], np.array(norms))


def test_training_finds_the_weights_that_made_the_data():
    result = train(steps=160)
    assert result.history.loss[0, -1] < 1e-3 * result.history.loss[0, 0]
    np.testing.assert_allclose(result.seed()["w"], 0.8, atol=0.02)
    np.testing.assert_allclose(result.seed()["v"], 2.0, atol=0.05)


def test_seeds_side_by_side_equal_runs_one_by_one():
    together = train(seeds=3)
    assert together.history.loss.shape == together.history.grad_norm.shape == (3, 4)
    assert len(np.unique(np.asarray(together.params["w"]))) == 3
    assert len(np.unique(together.history.loss[:, 0])) == 3
    for s, seed_key in enumerate(jax.random.split(KEY, 3)):
        # A run by hand from this seed's own keys, as the docstring of `key` promises.
        params = CELL.init(jax.random.fold_in(seed_key, 0))
        for number in range(4):
            data_key, _ = jax.random.split(jax.random.fold_in(seed_key, number + 1))
            loss, grads = exact(params, jnp.zeros((3, 1)), sample(data_key))
            assert_close(together.history.loss[s, number], np.asarray(loss))
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        assert_close(together.seed(s), params)


def test_the_same_key_gives_the_same_bits_and_another_key_does_not():
    first, again, other = train(), train(), train(key=jax.random.key(8))
    np.testing.assert_array_equal(first.history.loss, again.history.loss)
    np.testing.assert_array_equal(first.params["w"], again.params["w"])
    assert not np.any(first.history.loss == other.history.loss)


def test_chunk_length_changes_nothing_but_the_calls():
    """Three steps a call leave a last chunk of one; the keys go on counting."""
    long, short = train(steps=7, seeds=2), train(steps=7, seeds=2, chunk=3)
    assert_close((long.history.loss, long.params), (short.history.loss, short.params))
    assert short.history.seconds.shape == (7,)
    assert (np.diff(short.history.seconds) > 0).all()


def test_data_and_seeds_are_the_same_whatever_the_estimator():
    losses = []
    for estimator in (FULL, gradients.chunked(leaky_step, squared_error, window=1)):
        losses.append(train(estimator=estimator, optimizer=optax.sgd(0.0)).history.loss)
    assert_close(losses[0], losses[1])
    assert len(np.unique(losses[0])) == 4


def test_an_iterable_feeds_all_seeds_the_same_batches():
    params = CELL.init(KEY)
    result = train(iter(batches(4)), seeds=2, params=params, chunk=3)
    np.testing.assert_array_equal(result.history.loss[0], result.history.loss[1])
    assert_close(result.history.loss, train(batches(4), seeds=2, params=params).history.loss)


def test_fewer_batches_than_steps_end_training_and_more_are_left_alone():
    assert train(batches(3), steps=10, chunk=2).history.loss.shape == (1, 3)
    many = itertools.islice(itertools.cycle(batches(2)), 30)
    source = map(lambda batch: (taken.append(1), batch)[1], many)
    taken = []
    assert train(source, steps=5, chunk=2).history.loss.shape == (1, 5)
    assert len(taken) == 5


def test_a_stream_carries_the_state_and_separate_batches_do_not():
    """Learning rate 0: only the state differs from step to step."""
    data, still = batches(3), optax.sgd(0.0)
    params = CELL.init(KEY)
    streamed = train(data, optimizer=still, params=params, stream=True)
    h, losses = jnp.zeros((3, 1)), []
    for batch in data:
        losses.append(exact(params, h, batch)[0])
        for t in range(5):
            h, _ = steps_of(params, h, batch.xs[:, t])
    assert_close(streamed.history.loss[0], np.array(losses))
    assert_close(row(streamed.carry, 0), h)
    separate = train(data, optimizer=still, params=params)
    assert_close(separate.history.loss[0], np.array([exact(params, jnp.zeros((3, 1)), b)[0] for b in data]))
    assert abs(separate.history.loss[0, 1] - losses[1]) > 1e-3


def test_a_learned_h_0_trains_only_where_the_estimator_knows_init_state():
    aware = gradients.full(leaky_step, squared_error, init_state=LEARNED.init_state)
    assert train(cell=LEARNED).seed()["h_0"] == 0.3
    assert train(cell=LEARNED, estimator=aware).seed()["h_0"] != 0.3
    result = train(cell=LEARNED, estimator=aware, steps=300)
    np.testing.assert_allclose(result.seed()["h_0"], 0.0, atol=0.02)


def test_clipping_bounds_the_update_but_not_the_recorded_gradient():
    clipped = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    params = CELL.init(KEY)
    result = train(batches(1), optimizer=clipped, params=params, steps=1)
    moved = norm(jax.tree.map(jnp.subtract, result.seed(), params))
    assert moved == pytest.approx(1e-3, rel=1e-9)
    _, grads = exact(params, jnp.zeros((3, 1)), batches(1)[0])
    assert result.history.grad_norm[0, 0] == pytest.approx(norm(grads), rel=1e-9)
    assert norm(grads) > 0.1


def test_ctrl_c_keeps_the_chunks_that_are_done():
    def data():
        yield from batches(5)
        raise KeyboardInterrupt

    result = train(data(), steps=20, chunk=2)
    assert result.interrupted and result.history.loss.shape == (1, 4)
    assert_close(result.params, train(batches(4), steps=4).params)
    assert not train(batches(4)).interrupted


def test_ctrl_c_in_the_first_chunk_returns_the_start():
    def data():
        yield batches(1)[0]
        raise KeyboardInterrupt

    params = CELL.init(KEY)
    result = train(data(), params=params, seeds=2)
    assert result.interrupted and result.history.loss.shape == (2, 0) and result.history.seconds.shape == (0,)
    assert_close(result.seed(1), params)


def test_nan_is_recorded_and_named_by_its_step_and_seed():
    data = batches(3)
    data[1] = data[1]._replace(targets=data[1].targets.at[0].set(jnp.nan))
    history = train(data, steps=3, nonfinite="keep").history
    assert np.isfinite(history.loss[0, 0]) and np.isnan(history.loss[0, 1:]).all()
    with pytest.raises(NumericalError, match="loss nan and gradient norm nan at step 2 of seed 0"):
        history.raise_if_bad()


def test_the_earliest_bad_step_of_all_seeds_is_named():
    loss, grad_norm = np.ones((3, 4)), np.ones((3, 4))
    assert History(loss, grad_norm, np.arange(4.0), 0.0).raise_if_bad().loss is loss
    loss[0, 3], grad_norm[2, 1] = np.nan, np.inf
    with pytest.raises(NumericalError, match=r"loss 1\.0 and gradient norm inf at step 2 of seed 2"):
        History(loss, grad_norm, np.arange(4.0), 0.0).raise_if_bad()


@pytest.mark.parametrize(("chunk", "lengths"), [(2, {2, 1}), (5, {5}), (20, {5})])
def test_each_chunk_length_is_compiled_once(monkeypatch, chunk, lengths):
    made = []

    class Counted(Programs):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("jaxrnn.training.loop.Programs", Counted)
    result = train(steps=5, chunk=chunk)
    assert set(made[0]._compiled) == lengths
    assert result.history.compile_seconds > 0


def test_the_step_is_traced_once_for_all_steps_of_a_chunk():
    traced = []

    def data(key):
        traced.append(1)
        return sample(key)

    train(data, steps=12, chunk=4)
    assert len(traced) == 2  # once for its shape, once in the compiled chunk


def test_progress_writes_a_titled_bar_or_nothing(capsys):
    train()
    assert capsys.readouterr() == ("", "")
    train(progress="my run")
    out, err = capsys.readouterr()
    assert out == "" and "my run" in err and "loss=" in err and "grad=" in err and "4/4" in err
    train(progress=True)
    assert "training" in capsys.readouterr().err


def test_showing_progress_changes_no_number(capsys):
    """A disabled bar does not count, so it must not be what counts the steps."""
    quiet, shown = (train(chunk=2, progress=progress) for progress in (False, True))
    assert_close(quiet.history.loss, shown.history.loss)
    assert len(np.unique(quiet.history.loss)) == 4
    capsys.readouterr()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["steps", "seeds", "chunk"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_bad_counts_are_named(name, value, error):
    with pytest.raises(error, match=f"training.train: {name}"):
        train(**{name: value})


def test_data_without_a_batch_is_refused():
    with pytest.raises(ValueError, match="data holds no batch"):
        train([])


def test_batches_that_disagree_with_themselves_are_refused():
    bad = sample(KEY)._replace(targets=jnp.ones((3, 4, 1)))
    with pytest.raises(ValueError, match=r"leading axes \[B, T\] of the batch disagree"):
        train([bad])


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"data": 3}, "data is a int; expected a function of a key"),
        ({"data": [sample(KEY).xs]}, "a batch of data is a .*; expected a Batch"),
        ({"optimizer": SGD.update}, "optimizer is a .*; expected a GradientTransformation"),
        ({"callbacks": [3]}, "callbacks holds a int; expected functions"),
        ({"monitor": 3}, "monitor is a int; expected a function"),
        ({"key": 7}, "key"),
        ({"cell": leaky_step}, "cell is a function; expected a Cell"),
    ],
)
def test_arguments_of_another_kind_are_named(options, match):
    with pytest.raises(TypeError, match=f"training.train: {match}"):
        train(**options)
