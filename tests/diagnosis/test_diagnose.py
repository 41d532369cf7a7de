"""Diagnosis of a linear network whose every Jacobian is known: J_t = gain_t · W."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close
from oracles import brute_force_terms

from jaxrnn import Batch, cells, diagnose, gradients
from jaxrnn.losses import squared_error

B, T, N = 4, 8, 3
rng = np.random.default_rng(0)
Q = np.linalg.qr(rng.normal(size=(N, N)))[0]


def step(params, h_tm1, x_t):
    """x_t holds the gain of this step and a drive."""
    h_t = x_t[0] * (params["W"] @ h_tm1) + 0.1 * x_t[1:]
    return h_t, jnp.sum(params["v"] * h_t)[None]


def setting(gain, W=Q, T=T, B=B):
    """(params, h_0, batch) with the same gain at every step, or one for each sequence."""
    r = np.random.default_rng(1)
    gains = np.broadcast_to(np.reshape(gain, (-1, 1, 1)), (B, T, 1))
    xs = np.concatenate([gains, r.normal(size=(B, T, N))], axis=2)
    params = {"W": jnp.asarray(W), "v": jnp.asarray(r.normal(size=N))}
    return params, jnp.asarray(0.1 * r.normal(size=(B, N))), Batch(jnp.asarray(xs), jnp.ones((B, T, 1)))


def run(params, h_0, batch, **options):
    """One compiled program serves all tests of this shape."""
    return diagnose(step, squared_error, params, h_0, batch, **options)


@pytest.fixture(scope="module")
def plain():
    """W far from orthogonal, and another gain for every sequence."""
    W = rng.normal(size=(N, N)) / 2
    return setting([0.9, 1.0, 1.1, 1.2], W), run(*setting([0.9, 1.0, 1.1, 1.2], W))


@pytest.mark.parametrize(
    ("gain", "verdict", "log_norm"), [(0.5, "vanishing", T * np.log(0.5)), (2.0, "exploding", T * np.log(2))]
)
def test_a_known_gain_gives_its_verdict_with_norm_and_rate(gain, verdict, log_norm):
    result = run(*setting(gain))
    assert result.verdict == verdict
    assert f"at lag {T} is" in result.reason and f"(e^{log_norm:.1f})" in result.reason
    assert f"Leading growth rate {np.log(gain):+.3f} nats per step." in result.reason
    assert len(result.advice) > 2
    assert_close(result.growth_rates.rates, np.full((B, N), np.log(gain)))
    for curve in (*result.norm_by_lag[:3], result.norm_by_lag.product_bound):
        assert_close(curve, np.arange(T + 1) * np.log(gain))


def test_an_orthogonal_network_is_stable():
    result = run(*setting(1.0))
    assert result.verdict == "stable" and "1.0e+0" in result.reason


def test_threshold_moves_the_verdict():
    assert run(*setting(0.5), threshold=300.0).verdict == "stable"
    assert run(*setting(0.9), threshold=2.0).verdict == "vanishing"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_infinite_or_nan_input_is_no_verdict(wrong):
    params, h_0, batch = setting(0.5)
    result = run(params, h_0, batch._replace(xs=batch.xs.at[1, 3, 0].set(wrong)))
    assert result.verdict == "unknown" and "step Jacobian is not finite" in result.reason
    assert "nan" not in str(result).replace("NaN", "").split()
    assert result.horizon is None


def test_a_nan_target_leaves_the_jacobians_but_no_horizon():
    params, h_0, batch = setting(0.5)
    result = run(params, h_0, batch._replace(targets=batch.targets.at[0].set(jnp.nan)))
    assert result.verdict == "vanishing" and result.horizon is None


def test_sequences_that_disagree_are_no_verdict():
    result = run(*setting([0.4, 0.4, 2.5, 2.5]))
    assert result.verdict == "unknown"
    assert "sequences disagree: exploding 2, vanishing 2 of 4" in result.reason
    assert run(*setting([0.4, 0.4, 0.4, 1.0])).verdict == "vanishing"


def test_one_step_is_too_short_for_a_verdict():
    result = run(*setting(0.1, T=1, B=1))
    assert result.verdict == "unknown" and "T = 1 is too short" in result.reason
    assert result.horizon == 0
    assert result.window_error == [0.0] and result.norms.log_norm.shape == (1, 2, 2)


def test_norm_by_lag_is_the_quantiles_over_all_pairs_and_sequences(plain):
    (params, _, batch), result = plain
    W, gains = np.asarray(params["W"]), np.asarray(batch.xs[:, 0, 0])
    for lag in range(T + 1):
        logs = [np.log(np.linalg.norm(np.linalg.matrix_power(g * W, lag), 2)) for g in gains]
        values = sorted(np.repeat(logs, T + 1 - lag))
        low, median, high = (values[round(q * (len(values) - 1))] for q in (0.1, 0.5, 0.9))
        got = [curve[lag] for curve in result.norm_by_lag]
        bound = np.mean([lag * np.log(np.linalg.norm(g * W, 2)) for g in gains])
        np.testing.assert_allclose(got, [median, low, high, bound], atol=1e-11)


def test_fan_holds_the_spectra_that_end_at_the_last_step(plain):
    (params, _, batch), result = plain
    J = float(batch.xs[0, 0, 0]) * np.asarray(params["W"])
    assert result.fan_lags[0] == 1 and result.fan_lags[-1] == T
    for lag, log_sigma in zip(result.fan_lags, result.fan.log_sigma, strict=True):
        expected = np.linalg.svd(np.linalg.matrix_power(J, lag), compute_uv=False)
        np.testing.assert_allclose(log_sigma, np.log(expected), atol=1e-9)


def by_lag(terms):
    """From terms [T, T, ...] at [t, k] to their sums by lag [T, ...]."""
    return np.stack([sum(terms[t, t - s] for t in range(s, T)) for s in range(T)])


def test_lag_profile_is_the_norm_of_the_recurrent_terms_of_each_lag(plain):
    setting, result = plain
    terms = brute_force_terms(step, squared_error, *setting)
    W_terms = by_lag(np.asarray(terms["W"]))
    # v is read at its own step only: no lag, and not part of the profile.
    assert not by_lag(np.asarray(terms["v"]))[1:].any()
    assert_close(result.lag_profile, np.linalg.norm(W_terms, axis=(1, 2)))


def test_window_error_is_what_a_sliding_window_loses(plain):
    (params, h_0, batch), result = plain
    terms = brute_force_terms(step, squared_error, params, h_0, batch)
    leaves = [by_lag(np.asarray(leaf)).reshape(T, -1) for leaf in jax.tree.leaves(terms)]
    flat = np.concatenate(leaves, axis=1)
    for K in range(1, T + 1):
        expected = np.linalg.norm(flat[K:].sum(axis=0)) / np.linalg.norm(flat.sum(axis=0))
        np.testing.assert_allclose(result.window_error[K - 1], expected, atol=1e-13)
    estimator, exact = (
        gradients.sliding(step, squared_error, window=3),
        gradients.full(step, squared_error),
    )
    fidelity = gradients.fidelity(estimator, exact, params, batch, jax.random.key(0), h_0=h_0)
    np.testing.assert_allclose(result.window_error[2], fidelity.bias, rtol=1e-9)
    assert result.window_error[-1] == 0


@pytest.mark.parametrize("gain", [0.2, 0.7, 1.3])
def test_horizon_is_the_first_lag_within_which_99_percent_lie(gain):
    result = run(*setting(gain))
    total, reached = sum(result.lag_profile), 0.0
    brute_force = 0
    for lag, share in enumerate(result.lag_profile):
        if reached < 0.99 * total:
            brute_force = lag
        reached += share
    assert result.horizon == brute_force
    assert (result.horizon < 4) == (gain == 0.2)


def test_lambda_and_gamma_are_reported_only_if_given(plain):
    (params, h_0, batch), without = plain
    result = run(params, h_0, batch, W_hh=params["W"], gamma=0.25)
    sigma = np.linalg.svd(np.asarray(params["W"]), compute_uv=False)[0]
    assert result.lam == pytest.approx(sigma, rel=1e-12) and result.gamma == 0.25
    assert result.log_bound_rate == pytest.approx(np.log(0.25 * sigma), rel=1e-12)
    assert (without.lam, without.gamma, without.log_bound_rate) == (None, None, None)


def test_saturation_counts_the_units_beyond_95_percent():
    """Constant drives put each unit at a value of our choice; gain 0 forgets everything else."""
    params, h_0, batch = setting(0.0)
    drive = jnp.broadcast_to(jnp.array([0.96, -0.99, 0.5]), (B, T, N))
    (path, leaf), *rest = run(
        params, h_0, batch._replace(xs=batch.xs.at[..., 1:].set(10 * drive))
    ).saturation.items()
    assert not rest and path == ""
    assert leaf.fraction == pytest.approx(2 / 3)
    assert leaf.counts.sum() == B * T * N and leaf.edges[0] == -1 and leaf.edges[-1] == 1
    wide = run(params, h_0, batch._replace(xs=batch.xs.at[..., 1:].set(40 * drive))).saturation[""]
    assert wide.fraction is None and wide.counts.sum() == B * T * N
    assert wide.edges[0] == pytest.approx(-3.96) and wide.edges[-1] == pytest.approx(3.84)


def test_the_text_form_is_verdict_reason_and_advice():
    result = run(*setting(0.5))
    first, *rest = str(result).splitlines()
    assert first == f"vanishing: {result.reason}"
    assert rest == [f"  - {line}" for line in result.advice]


def test_one_lstm_sequence_with_weights_is_diagnosed():
    """Tuple state, a stateless readout, B = 1, and a loss at the last step only."""
    cell = cells.stack(cells.lstm(2, 3), cells.dense(3, 1))
    params = cell.init(jax.random.key(0))
    r = np.random.default_rng(2)
    weights = jnp.zeros((1, T)).at[0, -1].set(1.0)
    batch = Batch(jnp.asarray(r.normal(size=(1, T, 2))), jnp.ones((1, T, 1)), weights)
    result = diagnose(cell.step, squared_error, params, cell.initial_states(params, 1), batch)
    assert result.norms.log_norm.shape == (1, T + 1, T + 1) and result.growth_rates.rates.shape == (1, 6)
    assert list(result.saturation) == ["0.h", "0.c"]
    assert result.saturation["0.h"].counts.sum() == T * 3
    # Steps of weight 0 may hold anything, and the profile is linear in the weights that count.
    twice = Batch(batch.xs, batch.targets.at[0, :-1].set(jnp.nan), 2 * weights)
    doubled = diagnose(cell.step, squared_error, params, cell.initial_states(params, 1), twice)
    assert_close(doubled.lag_profile, 2 * result.lag_profile)
    assert_close(doubled.window_error, result.window_error)
    assert (result.lag_profile > 0).all()
    assert result.verdict == "stable"


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequences": 0}, "diagnose: sequences is 0"),
        ({"threshold": 1.0}, "diagnose: threshold is 1.0"),
        ({"gamma": -0.5}, "diagnose: gamma is -0.5"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        run(*setting(0.5), **options)
