"""What holds for every task: pure samplers, dtypes and sizes, weights, and what it says of itself."""

import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, cast
from drawing import draw

from jaxrnn import cells, tasks
from jaxrnn.gradients import loss

DRAWN = {
    "adding": tasks.adding(length=7, batch_size=3),
    "copying": tasks.copying(items=2, length=7, batch_size=3),
    "delayed_copy": tasks.delayed_copy(delay=2, symbols=3, length=7, batch_size=3),
    "flip_flop": tasks.flip_flop(bits=2, length=7, batch_size=3),
    "influence_balancing": tasks.influence_balancing(length=7),
    "linear_process": tasks.linear_process(length=7, batch_size=3),
    "sequential_parity": tasks.sequential_parity(length=7, batch_size=3),
    "sine_generator": tasks.sine_generator(frequencies=9, length=7, batch_size=3),
    "temporal_order": tasks.temporal_order(length=12, batch_size=3),
}
REAL = {
    "case_restoration": tasks.case_restoration(length=20, batch_size=3),
    "dates": tasks.dates(locales=("en", "de"), years=(1999, 2000), batch_size=3),
    "digits": tasks.digits(by="row", batch_size=3),
    "hyphenation": tasks.hyphenation(batch_size=3),
    "series": tasks.series(length=7, batch_size=3),
    "surnames": tasks.surnames(batch_size=3),
    "text": tasks.text(length=7, batch_size=3),
}
TASKS = DRAWN | REAL
every_task = pytest.mark.parametrize("name", TASKS)


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def test_every_task_is_here():
    assert set(TASKS) == set(tasks.__all__) - {"Source", "Task", "TextStream", "text_stream"}


@every_task
def test_sampler_is_pure_and_survives_jit_and_vmap(name):
    task = TASKS[name]
    keys = jax.random.split(jax.random.key(5), 2)
    for sample in (task.sample, task.held_out):
        batches = [cast(sample(key), jnp.float64) for key in keys]
        for run in (sample, jax.jit(sample)):
            assert_close(cast(run(keys[0]), jnp.float64), batches[0])
        stacked = cast(jax.jit(jax.vmap(sample))(keys), jnp.float64)
        for i, batch in enumerate(batches):
            assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], stacked), batch)
        first, second = (jax.tree.leaves(batch.xs)[0] for batch in batches)
        assert name == "influence_balancing" or not np.array_equal(first, second)


@every_task
@pytest.mark.parametrize("x64", [True, False])
def test_floats_have_the_default_dtype_and_the_sizes_are_as_declared(name, x64):
    with jax.enable_x64(x64):
        # A series keeps the dtype of its making; what is made of symbols takes that of its use.
        task = tasks.series(length=7, batch_size=3) if name == "series" else TASKS[name]
        batch = jax.jit(task.sample)(jax.random.key(0))
        dtype = jnp.zeros(()).dtype
        xs = batch.xs[0] if task.encoder_decoder else batch.xs
        size, length = xs.shape[:2]
        assert dtype == (jnp.float64 if x64 else jnp.float32)
        assert {leaf.dtype for leaf in floats(batch)} == {dtype} and xs.dtype == dtype
        assert xs.shape == (size, length, task.input_size)
        if jnp.issubdtype(batch.targets.dtype, jnp.integer):
            assert batch.targets.shape == (size, length)
            assert 0 <= batch.targets.min() and batch.targets.max() < task.output_size
        else:
            assert batch.targets.shape == (size, length, task.output_size)
        if batch.weights is not None:
            assert batch.weights.shape == (size, length) and not batch.weights.weak_type
            assert name == "case_restoration" or np.all(np.abs(batch.weights.sum(axis=1) - 1) < 1e-6)
        cell = task.cell or cells.stack(cells.elman(task.input_size, 2), cells.dense(2, task.output_size))
        if task.encoder_decoder:
            cell = cells.encoder_decoder(cells.elman(task.input_size, 2), cell)

        @jax.jit
        def value(batch):
            params = cell.init(jax.random.key(1))
            return loss(cell.step, task.step_loss, params, cell.initial_states(params, size), batch)[0]

        assert value(batch).dtype == dtype and np.isfinite(value(batch))


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_known_of_a_drawn_task_is_stated(name):
    task = DRAWN[name]
    assert task.name == name and task.source is None and task.reference
    assert 0 <= task.optimum < task.baseline


@pytest.mark.parametrize("name", REAL)
def test_where_the_data_of_a_real_task_come_from_is_stated(name):
    task = REAL[name]
    assert task.name == name and task.optimum is None and task.baseline_name
    assert task.source.length > 500 and len(task.source.sha256) == len(hashlib.sha256().hexdigest())


@pytest.mark.parametrize(
    "task",
    [
        tasks.case_restoration(length=20, batch_size=20_000),
        tasks.digits(by="row", batch_size=5000),
        tasks.hyphenation(batch_size=5000),
        tasks.surnames(batch_size=5000),
        tasks.text(length=20, batch_size=5000),
    ],
    ids=lambda task: task.name,
)
def test_baseline_is_the_held_out_loss_of_the_frequencies_of_what_is_trained_on(task):
    (train, train_weights), (held_out, held_out_weights) = (
        (
            np.asarray(batch.targets),
            np.full(batch.targets.shape, 1 / batch.targets.shape[1])
            if batch.weights is None
            else np.asarray(batch.weights),
        )
        for batch in (part(jax.random.key(0)) for part in (task.sample, task.held_out))
    )
    frequencies = np.bincount(train.ravel(), train_weights.ravel(), minlength=task.output_size)
    losses = (-np.log(frequencies / frequencies.sum())[held_out] * held_out_weights).sum(axis=1)
    # Four standard errors, and half a per cent for the frequencies, which are those of one batch.
    allowed = 4 * losses.std() / math.sqrt(len(losses)) + 0.005 * task.baseline
    assert abs(losses.mean() - task.baseline) < allowed < 0.12 * task.baseline


@pytest.mark.parametrize(
    "task",
    [
        tasks.delayed_copy(delay=1, symbols=8, length=3, batch_size=4000),
        tasks.temporal_order(length=10, batch_size=4000),
        tasks.sequential_parity(length=5, batch_size=4000),
        tasks.sequential_parity(targets="every", length=3, batch_size=4000),
    ],
    ids=lambda task: task.name,
)
def test_every_class_is_equally_likely_so_that_the_baseline_is_the_logarithm_of_their_number(task):
    batch = draw(task)
    drawn = batch.targets if batch.weights is None else batch.targets[batch.weights > 0]
    counts = np.bincount(drawn.ravel(), minlength=task.output_size)
    expected = drawn.size / task.output_size
    assert len(counts) == task.output_size
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)
    value, _ = loss(lambda *_: ((), jnp.zeros(task.output_size)), task.step_loss, None, (), batch)
    assert_close(value, np.array(task.baseline))
    assert task.baseline == math.log(task.output_size)
