"""An estimator against the exact gradient, measure by measure, and by lag."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, assert_close, estimate, make_batch

from jaxrnn import Batch, Estimator, GradientEstimate
from jaxrnn.gradients import chunked, decompose, fidelity, full, kept_lags, randomized, rtrl, sliding, uoro
from jaxrnn.losses import squared_error

CELL, D = CELLS["elman_tanh"]


def flat(tree):
    return np.asarray(jax.flatten_util.ravel_pytree(tree)[0])


def by_numpy(e, g):
    size = np.linalg.norm(g)
    return {
        "bias": np.linalg.norm(e - g) / size,
        "cosine": e @ g / size / np.linalg.norm(e),
        "norm_ratio": np.linalg.norm(e) / size,
        "sign_agreement": np.mean(np.sign(e) == np.sign(g)),
        "variance": 0.0,
    }


def test_one_batch_and_one_draw_are_the_formulas_by_numpy():
    params, h_0, batch = make_batch(CELL, D, 2, 6)
    run = jax.jit(
        lambda *args: fidelity(
            chunked(CELL.step, squared_error, window=1), full(CELL.step, squared_error), *args, h_0=h_0
        )
    )
    got = run(params, batch, jax.random.key(0))
    g = estimate(full, CELL, params, h_0, batch)[0].grads
    e = estimate(chunked, CELL, params, h_0, batch, window=1)[0].grads
    for name, value in by_numpy(flat(e), flat(g)).items():
        assert_close(getattr(got, name), value)
        for leaf in g:
            assert_close(getattr(got.by_leaf[leaf], name), by_numpy(flat(e[leaf]), flat(g[leaf]))[name])
    assert np.isnan(got.standard_error.bias)


def estimator_of(gradient):
    """An Estimator whose gradient is a function of the key and the batch."""

    def estimate(params, carry, batch, key):
        return GradientEstimate(params, gradient(key, batch)), carry

    return Estimator(lambda params, h_0: (params, h_0), estimate)


EXACT = estimator_of(lambda _, batch: jnp.mean(batch.xs) * jnp.ones(100))
NOISY = estimator_of(lambda key, batch: jnp.mean(batch.xs) + 0.5 * jax.random.normal(key, (100,)))
ONES = Batch(jnp.ones((1, 1)), ())


def test_variance_bias_and_their_errors_come_from_the_draws():
    args = (NOISY, EXACT, jnp.asarray(0.0), ONES)
    got = jax.jit(partial(fidelity, *args, h_0=(), draws=400))(jax.random.key(0))
    np.testing.assert_allclose(got.variance, 0.25, rtol=0.05)
    assert got.bias < 0.05
    few = fidelity(*args, jax.random.key(0), h_0=(), draws=1)
    assert few.variance == 0 and few.bias > 0.3
    # 200 times 10 draws: what the measures scatter is what one of them says of itself.
    many = jax.jit(jax.vmap(lambda key: fidelity(*args, key, h_0=(), draws=10)))(
        jax.random.split(jax.random.key(1), 200)
    )
    for name in ("cosine", "norm_ratio", "sign_agreement", "variance"):
        scatter = np.std(getattr(many, name))
        said = np.sqrt(np.mean(getattr(many.standard_error, name) ** 2))
        np.testing.assert_allclose(said, scatter, rtol=0.2)


def test_several_batches_are_averaged_and_scatter():
    """ĝ = g + 1 on batches of mean 1, 2, 3: the mean bias is 1/2; without one of them 1/2.5, 1/2, 1/1.5."""
    shifted = estimator_of(lambda _, batch: (jnp.mean(batch.xs) + 1) * jnp.ones(100))
    batches = [Batch(jnp.full((1, 1), size), ()) for size in (1.0, 2.0, 3.0)]
    got = fidelity(shifted, EXACT, jnp.asarray(0.0), batches, jax.random.key(0), h_0=())
    np.testing.assert_allclose(got.bias, 0.5)
    np.testing.assert_allclose(got.norm_ratio, np.mean([2, 3 / 2, 4 / 3]))
    np.testing.assert_allclose(got.standard_error.bias, np.sqrt(2) * np.std([1 / 2.5, 1 / 2, 1 / 1.5]))


def test_cuts_show_what_a_carry_is_worth():
    params, h_0, batch = make_batch(CELL, D, 2, 6)
    measured = partial(
        fidelity, exact=full(CELL.step, squared_error), params=params, key=jax.random.key(0), h_0=h_0
    )
    online = measured(rtrl(CELL.step, squared_error), batch=batch, cuts=[(2, 4)])
    assert online.bias < 1e-12
    cut = measured(full(CELL.step, squared_error), batch=batch, cuts=[(2, 4)])
    chunks = measured(chunked(CELL.step, squared_error, window=2), batch=batch)
    assert cut.bias > 1e-3
    assert_close(cut[:5], chunks[:5], 1000)


def test_all_phases_of_the_first_chunk_lose_what_the_lag_profile_says():
    from jaxrnn.gradients import lag_profile

    params, h_0, batch = make_batch(CELL, D, 2, 6)
    K, exact = 3, full(CELL.step, squared_error)
    estimator = chunked(CELL.step, squared_error, window=K)
    got = fidelity(
        estimator, exact, params, batch, jax.random.key(0), h_0=h_0, cuts=[(p,) for p in range(1, K + 1)]
    )
    profile = lag_profile(CELL.step, squared_error, params, h_0, batch)
    np.testing.assert_allclose(got.bias, profile.chunked_error[K - 1], rtol=1e-10)
    assert got.variance > 0


@pytest.mark.parametrize("cut", [(0,), (6,), (3, 2), (2, 2)])
def test_cuts_must_lie_within_the_batch(cut):
    params, h_0, batch = make_batch(CELL, D, 2, 6)
    exact = full(CELL.step, squared_error)
    with pytest.raises(ValueError, match=r"gradients\.fidelity: cuts"):
        fidelity(exact, exact, params, batch, jax.random.key(0), h_0=h_0, cuts=[cut])


@pytest.mark.usefixtures("unchecked_types")
def test_cuts_without_a_stream_and_no_batches_are_refused():
    params, _, batch = make_batch(CELL, D, 2, 6)
    exact = full(CELL.step, squared_error, init_state=CELL.init_state)
    for h_0 in (None, jnp.zeros((2, 4))):
        with pytest.raises(ValueError, match="cuts need a stream; give h_0"):
            fidelity(exact, exact, params, batch, jax.random.key(0), cuts=[(2,)], h_0=h_0)
    with pytest.raises(TypeError, match="cuts holds 2; expected ways to cut"):
        fidelity(exact, exact, params, batch, jax.random.key(0), cuts=[2])
    with pytest.raises(ValueError, match="batch or cuts is empty"):
        fidelity(exact, exact, params, [], jax.random.key(0))


@pytest.mark.parametrize("K", [1, 3])
def test_a_sliding_window_keeps_the_lags_below_it(K):
    cell, d = CELLS["lstm_dense"]
    params, h_0, batch = make_batch(cell, d, 2, 5)
    run = jax.jit(
        partial(kept_lags, partial(sliding, window=K), cell.step, squared_error), static_argnames="draws"
    )
    found = run(params, h_0, batch, jax.random.key(0))
    share = jax.jit(partial(decompose, cell.step, squared_error))(params, h_0, batch).share
    assert_close(found.exact, np.array([np.trace(share, offset=-lag) for lag in range(5)]), 1000)
    assert_close(found.estimated[:K], found.exact[:K], 1000)
    assert not found.estimated[K:].any() and np.isnan(found.standard_error).all()


@pytest.mark.parametrize("constructor", [uoro, partial(randomized, keep=0.6)])
def test_unbiased_estimators_keep_every_lag_in_the_mean(constructor):
    params, h_0, batch = make_batch(CELL, D, 1, 4)
    run = jax.jit(partial(kept_lags, constructor, CELL.step, squared_error), static_argnames="draws")
    found = run(params, h_0, batch, jax.random.key(0), draws=4000)
    assert np.all(np.abs(found.estimated - found.exact) < 5 * found.standard_error + 1e-12)
    assert np.all(found.standard_error[1:3] > 0)
