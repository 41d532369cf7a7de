"""The bench: the same seeds and data for all remedies, and numbers that other functions confirm."""

from functools import cache, partial
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close, run_jacobians
from oracles import row

from jaxrnn import diagnose, gradients, load, save, tasks, unroll
from jaxrnn.jacobians import growth_rates, product
from jaxrnn.remedies import MAX_NORM, Remedy, Setup, Sizes, bench, remedy
from jaxrnn.training import train

TASK = tasks.adding(length=8, batch_size=4)
OPTIONS = {"hidden_size": 4, "steps": 3, "seeds": 2, "progress": False}


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"):
        return bench(TASK, ["irnn + clip_norm", "none", "batch_norm", "zoneout"], **OPTIONS)


@cache
def cell_of(name):
    """One for all tests, so that what is compiled for its step is theirs together."""
    return remedy(name).change(Setup()).cell(TASK, Sizes(2, 4, 8))


def start_of(name, seed):
    """(cell, params) as `train` makes them."""
    cell = cell_of(name)
    key_train, _ = jax.random.split(jax.random.key(0))
    return cell, cell.init(jax.random.fold_in(jax.random.split(key_train, 2)[seed], 0))


@jax.jit
def leading_rate(js):
    return growth_rates(js, k=1).rates[0]


@partial(jax.jit, static_argnums=(0, 3))
def over_lag(cell, params, trajectory, lag):
    return product(cell.step, params, trajectory, 8, 8 - lag)


def held_out(i=0):
    return TASK.held_out(jax.random.split(jax.random.split(jax.random.key(0))[1], 16)[i])


def test_the_control_runs_once_and_first(found):
    assert [outcome.name for outcome in found.outcomes] == [
        "none",
        "irnn + clip_norm",
        "batch_norm",
        "zoneout",
    ]


@pytest.mark.parametrize("name", ["none", "irnn + clip_norm"])
def test_reach_at_the_start_is_that_of_the_definitions(found, name):
    batch = held_out()
    for seed in range(2):
        cell, params = start_of(name, seed)
        h_0 = cell.init_state(params)
        norms, rates = [], []
        for xs in batch.xs[:2]:
            traj, js = run_jacobians(cell, params, h_0, xs)
            rates.append(leading_rate(js))
            products = [over_lag(cell, params, traj, lag) for lag in found.lags.tolist()]
            norms.append([np.log(np.linalg.norm(P, 2)) for P in products])
        before = found[name].before
        assert_close(before.log_norm[seed], np.min(norms, axis=0), 1000)
        assert_close(before.growth_rate[seed], np.median(rates), 1000)
        few = row(batch, slice(2))
        h_0 = cell.initial_states(params, 2)
        diagnosis = diagnose(cell.step, TASK.step_loss, params, h_0, few, sequences=2)
        assert found[name].horizons[seed][0] == diagnosis.horizon


def test_the_loss_is_the_mean_over_sixteen_held_out_batches(found):
    cell, params = start_of("none", 1)
    h_0 = cell.initial_states(params, 4)
    losses = [gradients.loss(cell.step, TASK.step_loss, params, h_0, held_out(i))[0] for i in range(16)]
    assert_close(found["none"].before.loss[1], np.mean(losses), 1000)


def test_all_remedies_see_the_same_batches_and_starts(found):
    control, other = found["none"], found["zoneout"]
    # The same start, and evaluated without noise; zoneout's mean network keeps a tenth of every state.
    assert control.before.loss.shape == (2,)
    assert not np.allclose(control.before.loss, other.before.loss)
    with jax.numpy_dtype_promotion("standard"):
        clipped = bench(TASK, ["clip_norm"], **OPTIONS)["clip_norm"]
    assert_close(clipped.before, control.before)
    assert_close(clipped.loss[:, 0], control.loss[:, 0])


def test_batch_norm_is_measured_with_the_statistics_of_its_batch(found):
    before = found["batch_norm"].before
    assert np.isfinite(before.log_norm).all()
    assert (before.certified == 1).all()


def test_clipped_counts_the_steps_above_the_norm(found):
    for outcome in found.outcomes:
        assert_close(outcome.clipped, np.mean(outcome.grad_norm > MAX_NORM, axis=1))
    bad = found["none"]._replace(grad_norm=np.array([[0.5, np.nan, 2.0, 0.1]]))
    assert_close(bad.clipped, np.array([0.5]))


def test_solved_compares_with_a_tenth_of_the_way_from_optimum_to_baseline(found):
    assert found.solved_below == pytest.approx(0.1 / 12)
    with jax.numpy_dtype_promotion("standard"):
        easy = bench(TASK, [], solved_below=1e9, **OPTIONS)
    assert easy["none"].solved.all()
    assert not found["none"].solved.any()


def test_the_table_has_a_row_for_each_and_a_verdict_names_the_spread(found):
    lines = found.table().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| none",
        "| irnn + clip_norm",
        "| batch_norm",
        "| zoneout",
    ]
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    text = found.verdict("irnn + clip_norm")
    assert text.startswith("irnn + clip_norm: ln ‖∂h_T/∂h_0‖ at the start ")
    assert "solved by 0 of 2 seeds (control: 0)" in text
    assert str(found).count("\n") == len(lines) + 3


def outcome_with(found, loss):
    reach = found["none"].after._replace(loss=np.asarray(loss))
    return found["none"]._replace(name="made", after=reach, solved=np.asarray(loss) < 0.01)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ([0.001, 0.002], "held-out loss 0.001 [0.001, 0.002] against"),
        ([np.nan, 0.002], "made: 1 of 2 seeds diverged"),
    ],
)
def test_verdicts_tell_an_effect_from_the_spread_and_from_divergence(found, loss, says):
    made = found._replace(outcomes=(*found.outcomes, outcome_with(found, loss)))
    assert says in made.verdict("made")
    assert "within the spread" not in made.verdict("made")


def test_a_loss_among_those_of_the_control_is_within_the_spread(found):
    middle = [np.mean(found["none"].after.loss)] * 2
    made = found._replace(outcomes=(*found.outcomes, outcome_with(found, middle)))
    assert "within the spread of the seeds; solved" in made.verdict("made")
    assert "at the start unchanged" in made.verdict("made")


def test_a_remedy_that_explodes_stays_in_the_table():
    hot = Remedy("hot", lambda setup: setup._replace(schedule=lambda rate, _: np.inf * rate), "")
    with jax.numpy_dtype_promotion("standard"):
        found = bench(TASK, [hot], **OPTIONS)
    assert found.verdict("hot") == "hot: 2 of 2 seeds diverged; their loss is not finite."
    assert not found["hot"].solved.any()
    assert "| hot | nan | 0 of 2 |" in found.table()


def test_a_task_with_an_encoder_is_measured_across_the_border():
    task = tasks.dates(years=(1999, 2000), batch_size=2)
    with jax.numpy_dtype_promotion("standard"):
        found = bench(task, ["dropout"], **{**OPTIONS, "steps": 1, "seeds": 1})
    batch = task.held_out(jax.random.split(jax.random.split(jax.random.key(0))[1], 16)[0])
    cell = Setup().cell(task, Sizes(task.input_size, 4, found.length))
    params = cell.init(jax.random.fold_in(jax.random.split(jax.random.split(jax.random.key(0))[0], 1)[0], 0))
    h_0 = cell.init_state(params)
    trajectories = [unroll(cell.step, params, h_0, row(batch.xs, b)) for b in range(2)]
    ends = [product(cell.step, params, trajectory, found.length, 0) for trajectory in trajectories]
    expected = np.log(min(np.linalg.norm(end, 2) for end in ends))
    assert_close(found["none"].before.log_norm[0, -1], expected, 1000)
    assert np.isfinite(found["dropout"].after.loss).all()


def test_a_bench_can_be_saved_and_loaded(found, tmp_path):
    save(tmp_path / "bench.npz", found)
    again = load(tmp_path / "bench.npz")
    assert again.table() == found.table()


def test_ctrl_c_ends_the_bench_and_not_one_remedy_alone(monkeypatch):
    def interrupted(*arguments, **options):
        return train(*arguments, **options)._replace(interrupted=True)

    monkeypatch.setattr(import_module("jaxrnn.remedies.bench"), "train", interrupted)
    with pytest.raises(KeyboardInterrupt), jax.numpy_dtype_promotion("standard"):
        bench(TASK, ["lstm"], **OPTIONS)


def test_unknown_outcomes_and_bad_sizes_are_named(found):
    with pytest.raises(KeyError, match="no remedy 'gru'; there are none, irnn"):
        found["gru"]
    with pytest.raises(ValueError, match="hidden_size is 0"):
        bench(TASK, [], hidden_size=0)
    with pytest.raises(ValueError, match="name is 'nonsense'"):
        bench(TASK, ["nonsense"])
    assert jnp.ndim(found.lags) == 1


def test_the_adding_problem_is_solved_by_an_irnn_and_not_by_the_control():
    """`studies/adding.py` in small: there T is 100, with LSTM and orthogonal network too."""
    task = tasks.adding(length=30, batch_size=16)
    with jax.numpy_dtype_promotion("standard"):
        found = bench(
            task, ["irnn + clip_norm + cosine"], hidden_size=24, steps=700, seeds=2, learning_rate=3e-3,
            solved_below=0.005, progress=False,
        )  # fmt: skip
    assert found.outcomes[1].solved.all()
    assert (found["none"].after.loss > task.baseline / 2).all()
    # Its gradient still reaches the first step, where the control's is lost.
    assert found.outcomes[1].after.log_norm[:, -1].min() > -3
    assert "solved by 2 of 2 seeds (control: 0)" in found.verdict("irnn + clip_norm + cosine")
