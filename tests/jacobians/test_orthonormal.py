"""The interval between two QRs changes no growth rate: chains of 99 steps and more against a NumPy loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import tolerance

from jaxrnn.jacobians import growth_rates

N = 4
compiled = jax.jit(growth_rates, static_argnames=("k", "warm_up"))


def compute(js, **options):
    return jax.tree.map(np.asarray, compiled(jnp.asarray(js), **options))


def logs_of_a_loop(js, qr_every=1):
    """ln |R_ii| [blocks, n], in float64."""
    Q, logs = np.eye(js.shape[1]), []
    for t, J in enumerate(np.asarray(js, np.float64)):
        Q = J @ Q
        if (t + 1) % qr_every == 0:
            Q, R = np.linalg.qr(Q)
            logs.append(np.log(np.abs(np.diag(R))))
    return np.array(logs)


def rates_of_a_loop(js, qr_every=1):
    return np.sort(logs_of_a_loop(js, qr_every).mean(axis=0) / qr_every)[::-1]


def rotation(rng):
    return np.linalg.qr(rng.normal(size=(N, N)))[0]


def burst(rng, T, step_of_burst):
    """Identity but for every third ten steps: `step_of_burst(i) -> scales of the N directions`."""
    U, js = rotation(rng), np.empty((T, N, N))
    for t in range(T):
        scales = step_of_burst(t % 10) if t // 10 % 3 == 2 else np.ones(N)
        js[t] = U @ np.diag(scales) @ U.T @ (np.eye(N) + 0.01 * rng.normal(size=(N, N)))
    return js


def one(scale):
    return np.array([scale, 1, 1, 1])


def expand_then_contract(rng, T):
    return burst(rng, T, lambda i: one({3: 1e3, 6: 1e-3}.get(i, 1.0)))


def contract_then_expand(rng, T):
    return burst(rng, T, lambda i: one({3: 1e-3, 6: 1e3}.get(i, 1.0)))


def expand_for_one_step_along_a_rotation(rng, T):
    """J_4 = U D and J_5 = J_4⁻¹: at the end of the ten steps nothing is left to be seen of it."""
    js = np.broadcast_to(np.diag([1.0, 0.9, 0.8, 0.7]), (T, N, N)).copy()
    for start in range(0, T - 9, 10):
        U, scales = rotation(rng), np.roll(one(1e3), start // 10 % N)
        js[start + 3], js[start + 4] = U @ np.diag(scales), np.diag(1 / scales) @ U.T
    return js


def spread_from_the_middle_on(rng, T):
    """The blocks before say that one QR in ten steps is safe; then directions part by 9 nats a step."""
    U = rotation(rng)
    scales = np.where(np.arange(T)[:, None] < T // 2, 1.0, 10.0 ** np.linspace(2, -2, N))
    return (U * scales[:, None, :]) @ U.T @ (np.eye(N) + 0.1 * rng.normal(size=(T, N, N)))


def huge_spread(rng, T):
    """Three decades between the directions at each step."""
    scales = np.diag(10.0 ** np.linspace(1.5, -1.5, N))
    return np.stack([rotation(rng) @ scales @ rotation(rng) for _ in range(T)])


CHAINS = [
    expand_then_contract,
    contract_then_expand,
    expand_for_one_step_along_a_rotation,
    spread_from_the_middle_on,
    huge_spread,
]
SPREAD = [spread_from_the_middle_on, huge_spread]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", CHAINS)
def test_rates_are_those_of_a_qr_at_every_step(make, dtype):
    for seed in range(4):
        js = make(np.random.default_rng(seed), 200).astype(dtype)
        result = compute(js)
        # A burst of 1e3 costs three digits in ten steps; that is what the interval may lose.
        np.testing.assert_allclose(result.rates, rates_of_a_loop(js), atol=tolerance(dtype, 1000))
        assert np.all(result.certified)


@pytest.mark.parametrize("make", SPREAD)
def test_one_qr_in_ten_steps_throughout_would_be_wrong_there(make):
    js = make(np.random.default_rng(0), 200)
    assert np.abs(rates_of_a_loop(js, 10) - rates_of_a_loop(js)).max() > 0.1


@pytest.mark.parametrize("T", [1, 99, 100, 101, 105])
def test_the_length_at_which_the_interval_begins_changes_nothing(T):
    js = np.random.default_rng(T).normal(size=(T, N, N))
    result, logs = compute(js), logs_of_a_loop(js)
    order = np.argsort(-logs.mean(axis=0))
    np.testing.assert_allclose(result.rates, logs.mean(axis=0)[order], atol=tolerance(np.float64, 1000))
    steps = np.arange(1, T + 1) if T < 100 else np.append(np.arange(10, T, 10), T)
    np.testing.assert_array_equal(result.trace_steps, steps)
    running = np.cumsum(logs, axis=0) / np.arange(1, T + 1)[:, None]
    np.testing.assert_allclose(result.trace, running[steps - 1][:, order], atol=tolerance(np.float64, 5000))
    np.testing.assert_array_equal(result.trace[-1], result.rates)


@pytest.mark.parametrize("T", [99, 105])
def test_an_early_row_of_the_trace_is_the_rate_of_the_shorter_chain(T):
    js = expand_then_contract(np.random.default_rng(1), T)
    result = compute(js)
    row = len(result.trace_steps) // 2
    early = compute(js[: result.trace_steps[row]])
    # The trace keeps the order of the last row.
    np.testing.assert_allclose(-np.sort(-result.trace[row]), early.rates, atol=tolerance(np.float64, 1000))


@pytest.mark.parametrize(("T", "warm_up"), [(40, 39), (140, 7)])
def test_warm_up_turns_the_directions_and_counts_nothing(T, warm_up):
    js = np.random.default_rng(3).normal(size=(T, N, N))
    result = compute(js, warm_up=warm_up)
    counted = logs_of_a_loop(js)[warm_up:].mean(axis=0)
    np.testing.assert_allclose(result.rates, -np.sort(-counted), atol=tolerance(np.float64, 1000))
    log_det = np.linalg.slogdet(js[warm_up:])[1].mean()
    np.testing.assert_allclose([result.rates.sum(), result.log_abs_det_rate], log_det, rtol=1e-12)
    assert result.trace_steps[-1] == T - warm_up


def test_a_few_directions_keep_their_rates_whatever_the_others_do():
    """k < n: the third and fourth direction are never seen, and huge contractions there do no harm."""
    rng = np.random.default_rng(4)
    U = rotation(rng)
    js = U @ np.diag([2.0, 0.5, 1e-8, 1e-12]) @ U.T * np.ones((200, 1, 1))
    result = compute(js, k=2, warm_up=100)
    np.testing.assert_allclose(result.rates, [np.log(2), -np.log(2)], atol=tolerance(np.float64, 100))
    assert result.log_abs_det_rate is None and np.isnan(result.kaplan_yorke_dimension)


def test_under_vmap_the_interval_gives_the_same():
    chains = np.stack([make(np.random.default_rng(5), 200) for make in CHAINS])
    batched = jax.jit(jax.vmap(growth_rates))(jnp.asarray(chains))
    for js, rates in zip(chains, batched.rates, strict=True):
        np.testing.assert_allclose(rates, compute(js).rates, atol=tolerance(np.float64, 1000))


@pytest.mark.parametrize("options", [{}, {"k": 2, "warm_up": 100}])
@pytest.mark.parametrize("at", [0, 57, 199])
def test_a_bad_step_in_a_long_chain_is_flagged(at, options):
    js = np.random.default_rng(6).normal(size=(200, N, N))
    js[at, 1, 2] = np.nan
    result = compute(js, **options)
    assert np.all(np.isnan(result.rates)) and not np.any(result.certified)
    assert np.all(result.standard_error == np.inf)


def test_a_singular_step_in_a_long_chain_is_minus_infinity_from_there_on():
    js = np.random.default_rng(7).normal(size=(200, N, N))
    js[123] = 0
    result = compute(js)
    assert np.all(result.rates == -np.inf) and result.log_abs_det_rate == -np.inf
    assert np.all(result.certified)
    assert np.all(np.isfinite(result.trace[:12])) and np.all(result.trace[12:] == -np.inf)
