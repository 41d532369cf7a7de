"""What every estimator must do, whichever it is. A new one joins `cases.ESTIMATORS` and inherits these."""

from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    CELLS,
    DETERMINISTIC,
    EPS_12,
    ESTIMATORS,
    FEW,
    assert_close,
    cast,
    estimate,
    make_batch,
    run,
)
from oracles import brute_force_h_0_terms, brute_force_terms, loop_gradient, row

from jaxrnn import Batch
from jaxrnn.gradients import restart
from jaxrnn.losses import squared_error

B, T = 2, 5
every_estimator = pytest.mark.parametrize("kind", ESTIMATORS)
every_deterministic = pytest.mark.parametrize("kind", DETERMINISTIC)


def window(kind):
    return int(kind.split("_")[1]) if "_" in kind else T


def add(a, b):
    return jax.tree.map(jnp.add, a, b)


def lags_below(K, terms):
    """Σ over t - k < K of terms [T, T, ...]."""
    lag = jnp.arange(T)[:, None] - jnp.arange(T)[None, :]
    keep = ((lag >= 0) & (lag < K)).astype(jnp.float64)
    return jax.tree.map(lambda leaf: jnp.einsum("tk,tk...->...", keep, leaf), terms)


def arguments(name, start):
    """(params, h_0, batch) of a cell, from a random state or from its own start."""
    cell, d = CELLS[name]
    params, h_0, batch = make_batch(cell, d, B, T)
    return params, cell.initial_states(params, B) if start else h_0, batch


@cache
def by_loops(name, cut=None, start=False):
    """(loss, gradient) by Python loops, once for all estimators."""
    cell, _ = CELLS[name]
    init_state = cell.init_state if start else None
    return loop_gradient(cell.step, squared_error, *arguments(name, start), cut=cut, init_state=init_state)


@cache
def by_brute_force(name, start=False):
    """(terms, terms of h_0), once for all estimators."""
    args = (CELLS[name][0].step, squared_error, *arguments(name, start))
    return brute_force_terms(*args), brute_force_h_0_terms(*args) if start else None


def cut_of(kind):
    """After how many steps its gradient stops, if it does."""
    return K if "chunked" in kind and (K := window(kind)) < T else None


@pytest.mark.parametrize("name", FEW)
@every_deterministic
def test_estimate_equals_a_python_loop_or_the_brute_force_sum_of_its_terms(kind, name):
    got, _ = estimate(ESTIMATORS[kind], CELLS[name][0], *arguments(name, False))
    loss, reference = by_loops(name, cut_of(kind))
    if "sliding" in kind:
        reference = lags_below(window(kind), by_brute_force(name)[0])
    assert_close(got.loss, loss)
    assert_close(got.grads, reference, EPS_12)


@pytest.mark.parametrize("name", ["elman_learned_h_0", "learned_stack"])
@every_deterministic
def test_learned_h_0_gets_its_gradient_through_init_state(kind, name):
    cell, _ = CELLS[name]
    params, h_0, batch = arguments(name, True)
    got, _ = estimate(ESTIMATORS[kind], cell, params, h_0, batch, start=True)
    if "sliding" in kind:
        terms, h_0_terms = by_brute_force(name, True)
        # Lag t - 0 reaches h_0 where t < window.
        kept = jax.tree.map(lambda leaf: jnp.sum(leaf[:, : window(kind) - 1], axis=(0, 1)), h_0_terms)
        _, pull = jax.vjp(cell.init_state, params)
        reference = add(lags_below(window(kind), terms), pull(kept)[0])
    else:
        _, reference = by_loops(name, cut_of(kind), True)
    assert_close(got.grads, reference, EPS_12)


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_a_window_as_long_as_the_sequence_gives_the_full_gradient(name, start):
    cell, args = CELLS[name][0], arguments(name, start)
    exact = estimate(ESTIMATORS["full"], cell, *args, start=start)
    for kind in ("chunked_50", "sliding_50"):
        assert_close(estimate(ESTIMATORS[kind], cell, *args, start=start), exact, EPS_12)


def in_window(K, every, steps):
    """Whether chunked BPTT keeps the term (t, k), [T, T], counted from 1."""
    t, k = np.arange(1, steps + 1)[:, None], np.arange(1, steps + 1)[None, :]
    # The window of the last, short chunk begins where that of a whole one would.
    start = ((t - 1) // every + 1) * every - K
    return (k <= t) & (k > start)


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize(("K", "every"), [(3, 2), (4, 1), (4, 3), (50, 2), (3, 3)])
def test_a_chunk_runs_back_over_its_window_beyond_its_own_losses(K, every, start):
    cell, _ = CELLS["learned_stack"]
    params, h_0, batch = arguments("learned_stack", start)
    got, carry = estimate(
        ESTIMATORS["chunked_3"], cell, params, h_0, batch, start=start, window=K, every=every
    )
    terms, h_0_terms = by_brute_force("learned_stack", start)
    keep = jnp.asarray(in_window(K, every, T), float)
    reference = jax.tree.map(lambda leaf: jnp.einsum("tk,tk...->...", keep, leaf), terms)
    if start:
        # The state at the left border of the window is h_0 itself.
        reaches = (np.arange(T) // every + 1) * every <= K
        kept = jax.tree.map(lambda leaf: jnp.sum(leaf[:, reaches], axis=(0, 1)), h_0_terms)
        reference = add(reference, jax.vjp(cell.init_state, params)[1](kept)[0])
    else:
        assert_close(carry, estimate(ESTIMATORS["full"], cell, params, h_0, batch)[1])
    assert_close(got.grads, reference, EPS_12)


def test_a_chunk_for_every_step_is_the_sliding_window():
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    got = estimate(ESTIMATORS["chunked_3"], cell, params, h_0, batch, every=1)
    assert_close(got, estimate(ESTIMATORS["sliding_3"], cell, params, h_0, batch), EPS_12)


def test_chunks_longer_than_their_window_are_refused():
    with pytest.raises(ValueError, match=r"gradients\.chunked: every is 4; expected at most the window, 3"):
        ESTIMATORS["chunked_3"](CELLS["gru"][0].step, squared_error, every=4)


@every_estimator
def test_carry_is_the_last_state_and_continues_the_sequence(kind):
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    _, carry = estimate(ESTIMATORS[kind], cell, params, h_0, batch)
    states = carry.h if kind in ("adaptive", "rtrl", "snap", "uoro") else carry
    for b in range(B):
        assert_close(row(states, b), row(run(cell, params, row(h_0, b), batch.xs[b]).hs, T - 1))


@pytest.mark.parametrize("K", [2, 3])
def test_two_batches_with_a_carried_state_are_one_long_chunked_run(K):
    cell, d = CELLS["gru_residual_elman"]
    params, h_0, batch = make_batch(cell, d, B, 4 * K, weights=jnp.ones((B, 4 * K)))
    halves = [jax.tree.map(lambda leaf, s=s: leaf[:, s], batch) for s in (slice(2 * K), slice(2 * K, None))]
    long, h_T = estimate(ESTIMATORS["chunked_3"], cell, params, h_0, batch, window=K)
    first, carry = estimate(ESTIMATORS["chunked_3"], cell, params, h_0, halves[0], window=K)
    second, carry = estimate(ESTIMATORS["chunked_3"], cell, params, carry, halves[1], window=K)
    assert_close((add(first, second), carry), (long, h_T), EPS_12)


@every_deterministic
def test_a_sequence_that_begins_anew_forgets_what_was_and_the_others_do_not(kind):
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, 2, T)
    estimator = ESTIMATORS[kind](cell.step, squared_error)
    run = jax.jit(estimator.estimate)
    fresh = estimator.init(params, h_0)
    _, carry = run(params, fresh, batch, None)
    carry = restart(estimator, params, carry, h_0, jnp.asarray([True, False]))
    first, second = (jax.tree.map(lambda leaf, s=s: leaf[s], batch) for s in (slice(1), slice(1, 2)))
    known = run(params, estimator.init(params, row(h_0, slice(1))), first, None)[0]
    gone_on = run(params, row(carry, slice(1, 2)), second, None)[0]
    both = run(params, carry, batch, None)[0]
    assert_close(both, jax.tree.map(lambda a, b: (a + b) / 2, known, gone_on), EPS_12)


@pytest.mark.parametrize("kind", [kind for kind in ESTIMATORS if kind != "forward"])  # all noise there
def test_no_gradient_flows_into_the_carried_state(kind):
    cell, d = CELLS["elman_learned_h_0"]
    params, h_0, batch = make_batch(cell, d, B, T)
    got, _ = estimate(ESTIMATORS[kind], cell, params, h_0, batch)
    assert not jnp.any(got.grads["h_0"])


@every_estimator
def test_an_estimator_with_its_own_start_carries_nothing_and_needs_no_h_0(kind):
    cell, d = CELLS["elman_tanh"]
    params, _, batch = make_batch(cell, d, B, T)
    estimator = ESTIMATORS[kind](cell.step, squared_error, init_state=cell.init_state)
    assert not jax.tree.leaves(getattr(estimator.init(params), "h", ()))
    got, carry = jax.jit(estimator.estimate)(params, estimator.init(params), batch, jax.random.key(0))
    assert not jax.tree.leaves(getattr(carry, "h", carry))
    from_zero, _ = estimate(ESTIMATORS[kind], cell, params, cell.initial_states(params, B), batch)
    assert_close(got, from_zero)


@every_estimator
def test_a_stream_without_h_0_is_refused(kind):
    cell, _ = CELLS["elman_tanh"]
    estimator = ESTIMATORS[kind](cell.step, squared_error)
    with pytest.raises(ValueError, match="init got no h_0; give the states"):
        estimator.init({})


@every_estimator
def test_jit_changes_nothing_and_traces_once(kind):
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    estimator = ESTIMATORS[kind](cell.step, squared_error)
    args = (params, estimator.init(params, h_0), batch)
    chex.clear_trace_counter()
    compiled = jax.jit(chex.assert_max_traces(estimator.estimate, n=1))
    first, carry = compiled(*args, jax.random.key(0))
    with jax.disable_jit():
        assert_close((first, carry), estimator.estimate(*args, jax.random.key(0)))
    compiled(params, carry, batch, jax.random.key(1))


@every_estimator
def test_vmap_over_parameters_equals_one_by_one(kind):
    cell, d = CELLS["elman_tanh"]
    settings = [make_batch(cell, d, B, T, seed) for seed in (1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *settings)
    batched = jax.vmap(lambda *args: estimate(ESTIMATORS[kind], cell, *args))(*stacked)
    for i, setting in enumerate(settings):
        assert_close(row(batched, i), estimate(ESTIMATORS[kind], cell, *setting))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@every_estimator
def test_every_result_keeps_the_dtype(kind, dtype):
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, B, T)
    single, carry = estimate(ESTIMATORS[kind], cell, *cast((params, h_0, batch), dtype))
    states = carry._replace(window=(), refused=(), age=()) if kind == "adaptive" else carry
    assert {leaf.dtype for leaf in jax.tree.leaves((single, states))} == {jnp.dtype(dtype)}
    double, _ = estimate(ESTIMATORS[kind], cell, params, h_0, batch)
    assert_close(single, double, 200)


@pytest.mark.parametrize("kind", [*DETERMINISTIC, "adaptive", "chunked_3_every_2", "snap"])
def test_a_single_step_and_a_single_sequence_are_a_batch(kind):
    cell, d = CELLS["gru_learned_h_0"]
    params, h_0, batch = make_batch(cell, d, 1, 1)
    got, _ = estimate(ESTIMATORS[kind], cell, params, h_0, batch)
    _, reference = loop_gradient(cell.step, squared_error, params, h_0, batch)
    assert_close(got.grads, reference)


@every_deterministic
def test_tokens_and_other_pytrees_travel_in_xs(kind):
    """Integer inputs, a dict of inputs, and a step whose loss reads the parameters."""
    cell, _ = CELLS["elman_tanh"]
    params, h_0, _ = make_batch(cell, 3, B, T)

    def step(params, h, x):
        return cell.step(params, h, jax.nn.one_hot(x["token"], 3))

    def step_loss(params, y, target):
        return jnp.sum((y - target["value"]) ** 2) + 0.1 * jnp.sum(params["W_hh"] ** 2)

    tokens = jnp.arange(B * T).reshape(B, T) % 3
    batch = Batch({"token": tokens}, {"value": jnp.ones((B, T, 4))})
    estimator = ESTIMATORS[kind](step, step_loss)
    got, _ = jax.jit(estimator.estimate)(params, estimator.init(params, h_0), batch, jax.random.key(0))
    args = (step, step_loss, params, h_0, batch)
    if "sliding" in kind:
        reference = lags_below(window(kind), brute_force_terms(*args))
    else:
        _, reference = loop_gradient(*args, cut=window(kind) if "chunked" in kind else None)
    assert_close(got.grads, reference, EPS_12)
