"""Bad input meets the library's own message: function, argument, got, expected, remedy."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, ESTIMATORS, make_batch, make_params, make_sequence, run

import jaxrnn
from jaxrnn import Batch, cells, gradients, jacobians, unroll, weights_from_lengths
from jaxrnn.losses import squared_error

pytestmark = pytest.mark.usefixtures("unchecked_types")

CELL, D = CELLS["elman_tanh"]
PARAMS, H_0, XS = make_sequence(CELL, D, 5)
JS = jnp.ones((5, 2, 2))


def keep(params, h, x):
    del params, x
    return h, ()


def wrong(exception, match, call, *args, **options):
    with pytest.raises(exception, match=match) as caught:
        call(*args, **options)
    # Raised by the library, not translated from within JAX.
    assert Path(jaxrnn.__file__).parent in Path(caught.traceback[-1].path).parents


@pytest.mark.parametrize(
    ("exception", "match", "h_0", "xs"),
    [
        (ValueError, r"elman: h_tm1 has shape \(4, 1\); expected \(4,\)", H_0[:, None], XS),
        (ValueError, r"elman: h_tm1 has shape \(3,\)", H_0[:3], XS),
        (ValueError, r"elman: x_t has shape \(2,\); expected \(3,\)", H_0, XS[:, :2]),
        (ValueError, r"elman: x_t has shape \(5, 3\)", H_0, jnp.stack([XS, XS])),
        (ValueError, r"elman: x_t has shape \(\)", H_0, XS[:, 0]),
        (TypeError, r"elman: x_t is a tuple; expected an array \(3,\)", H_0, (XS, XS)),
        (ValueError, r"unroll: xs leaf .* has shape \(\); expected at least 1 axes", H_0, jnp.float64(1)),
        (TypeError, r"unroll: state leaf .* has dtype int64", jnp.arange(4), XS),
        (TypeError, r"unroll: state leaf .* has dtype key", jax.random.split(jax.random.key(0), 4), XS),
        (ValueError, "unroll: xs has no arrays, so T is unknown", H_0, None),
        (ValueError, "the leaves of xs disagree on axis 0", H_0, {"a": XS, "b": XS[:3]}),
    ],
)
def test_unroll_refuses(exception, match, h_0, xs):
    wrong(exception, match, unroll, CELL.step, PARAMS, h_0, xs)


@pytest.mark.parametrize(
    ("exception", "match", "step"),
    [
        (TypeError, "step returned .*; expected the pair", lambda _p, h, _x: h),
        (TypeError, "step changed the state's structure", lambda _p, h, _x: ({"h": h}, ())),
        (ValueError, r"has shape \(4,\) in h_0 but \(4, 4\)", lambda _p, h, _x: (h[:, None] + h[None], ())),
        (TypeError, "is float64 in h_0 but float32", lambda _p, h, _x: (h.astype(jnp.float32), ())),
    ],
)  # fmt: skip
def test_unroll_refuses_a_step_that_changes_the_state(exception, match, step):
    wrong(exception, match, unroll, step, PARAMS, H_0, XS)


def test_unroll_names_the_two_dtypes_where_jax_would_promote():
    with jax.numpy_dtype_promotion("standard"):
        match = r"unroll: state leaf .* is float32 in h_0 but float64 after one step; give params, h_0"
        wrong(TypeError, match, unroll, CELL.step, PARAMS, H_0.astype(jnp.float32), XS)


@pytest.mark.parametrize(("length", "match"), [(4, "length is 4 but xs has T = 5"), (-1, "length")])
def test_unroll_refuses_a_length_unlike_the_inputs(length, match):
    wrong(ValueError, match, unroll, CELL.step, PARAMS, H_0, XS, length=length)


@pytest.mark.parametrize("length", [-1, 2.5])
def test_unroll_refuses_a_length_that_is_no_count(length):
    wrong((ValueError, TypeError), "unroll: length", unroll, keep, (), H_0, None, length=length)


def test_step_jacobians_refuse_a_batch_of_trajectories():
    traj = run(CELL, PARAMS, H_0, XS)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), traj)
    wrong(ValueError, "step_jacobians|elman: ", jacobians.step_jacobians, CELL.step, PARAMS, batch)


def test_step_jacobians_refuse_a_state_without_entries():
    dense = cells.dense(3, 2)
    params = make_params(dense)
    traj = unroll(dense.step, params, (), XS)
    wrong(
        ValueError, "step_jacobians: the state is empty", jacobians.step_jacobians, dense.step, params, traj
    )


@pytest.mark.parametrize(
    ("exception", "match", "t", "k"),
    [
        (IndexError, "t is 6; expected 0 <= t <= T = 5", 6, 0),
        (IndexError, "t is -1; expected 0 <= t", -1, -1),
        (IndexError, "k is -1; expected 0 <= k", 2, -1),
        (IndexError, "t is -100; expected 0 <= t", -100, 0),
        (ValueError, "k = 3 > t = 2; .* Swap them", 2, 3),
        (TypeError, "t must be a Python integer", 2.0, 0),
        (TypeError, "k must be a Python integer", 2, "0"),
    ],
)
def test_a_pair_out_of_range_is_named_and_never_clamped(exception, match, t, k):
    traj = run(CELL, PARAMS, H_0, XS)
    wrong(exception, "jacobians.product: " + match, jacobians.product, CELL.step, PARAMS, traj, t, k)
    wrong(exception, "jacobians.spectrum: " + match, jacobians.spectrum, JS, t, k)


def test_a_traced_pair_is_refused():
    with pytest.raises(TypeError, match="must be a Python integer, known when tracing"):
        jax.jit(lambda t: jacobians.spectrum(JS, t))(3)


@pytest.mark.parametrize("name", ["norms", "spectrum", "growth_rates", "product_bound"])
@pytest.mark.parametrize(
    ("exception", "match", "js"),
    [
        (ValueError, r"js has shape \(2, 2\); expected \[T, n, n\]", JS[0]),
        (ValueError, r"js has shape \(5, 2, 1\)", JS[:, :, :1]),
        (ValueError, r"js has shape \(1, 5, 2, 2\).*jax.vmap", JS[None]),
        (TypeError, "js has dtype int64", jnp.ones((5, 2, 2), int)),
        (TypeError, "js has dtype complex128", JS.astype(complex)),
        (ValueError, r"the state is empty \(n = 0\)", jnp.ones((5, 0, 0))),
    ],
)
def test_a_chain_of_another_shape_or_dtype_is_refused(name, exception, match, js):
    wrong(exception, f"jacobians.{name}: {match}", getattr(jacobians, name), js)


@pytest.mark.parametrize("k", [0, 3, -1])
def test_growth_rates_refuse_a_count_that_the_state_does_not_have(k):
    wrong(ValueError, f"jacobians.growth_rates: k is {k}", jacobians.growth_rates, JS, k=k)


def test_norm_bound_refuses_a_negative_gamma():
    wrong(ValueError, "norm_bound: gamma is -1", jacobians.norm_bound, JS[0], 1, gamma=-1)


def test_norm_bound_refuses_a_negative_lag():
    match = "norm_bound: lags go down to -1"
    wrong(ValueError, match, jacobians.norm_bound, JS[0], jnp.array([2, -1]), gamma=1.0)


def batch_of(**changes):
    return make_batch(CELL, D, 2, 5)[2]._replace(**changes)


ONES = jnp.ones((2, 5, 4))
BAD_BATCHES = [
    (ValueError, r"h_0 has 3 states for a batch of 2 sequences", jnp.ones((3, 4)), batch_of()),
    (ValueError, r"leading axes \[B, T\] of the batch disagree", None, batch_of(targets=ONES[:, :4])),
    (ValueError, r"leading axes \[B, T\] of the batch disagree", None, batch_of(weights=jnp.ones((2, 4)))),
    (ValueError, r"batch.weights.* has shape \(5,\)", None, batch_of(weights=jnp.ones(5))),
    (ValueError, r"batch.weights has shape \(2, 5, 1\)", None, batch_of(weights=jnp.ones((2, 5, 1)))),
    (ValueError, r"the batch is empty, \[B, T\] = \[2, 0\]", None,
     Batch(jnp.ones((2, 0, 3)), jnp.ones((2, 0, 4)))),
    (ValueError, r"the batch is empty, \[B, T\] = \[0, 5\]", jnp.ones((0, 4)),
     Batch(jnp.ones((0, 5, 3)), jnp.ones((0, 5, 4)))),
    (ValueError, "the batch has no arrays", None, Batch((), ())),
    (ValueError, r"batch.xs leaf .* has shape \(2,\); expected at least 2", None, batch_of(xs=jnp.ones(2))),
]  # fmt: skip


@pytest.mark.parametrize("name", ["loss", "decompose", "lag_profile", *ESTIMATORS])
@pytest.mark.parametrize(("exception", "match", "h_0", "batch"), BAD_BATCHES)
def test_a_batch_that_does_not_fit_is_refused(name, exception, match, h_0, batch):
    h_0 = jnp.ones((2, 4)) if h_0 is None else h_0
    if name in ESTIMATORS:
        estimator = ESTIMATORS[name](CELL.step, squared_error)
        carry = estimator.init(PARAMS, h_0)
        wrong(exception, match, estimator.estimate, PARAMS, carry, batch, jax.random.key(0))
    else:
        wrong(exception, match, getattr(gradients, name), CELL.step, squared_error, PARAMS, h_0, batch)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_step_loss_that_is_no_scalar_is_refused(name):
    estimator = ESTIMATORS[name](CELL.step, lambda _, y, target: (y - target) ** 2)
    _, h_0, batch = make_batch(CELL, D, 2, 5)
    match = r"step_loss returned shape \(4,\) for one step; expected a scalar"
    wrong(
        ValueError, match, estimator.estimate, PARAMS, estimator.init(PARAMS, h_0), batch, jax.random.key(0)
    )


@pytest.mark.parametrize("make", [gradients.chunked, gradients.sliding])
@pytest.mark.parametrize(
    ("exception", "window", "match"),
    [
        (ValueError, 0, "window is 0; expected at least 1"),
        (ValueError, -3, "window is -3"),
        (TypeError, 2.0, "window must be a Python integer"),
        (TypeError, None, "window must be a Python integer"),
    ],
)
def test_a_window_that_is_no_positive_integer_is_refused(make, exception, window, match):
    wrong(exception, match, make, CELL.step, squared_error, window=window)


def test_fidelity_refuses_no_draws():
    full = gradients.full(CELL.step, squared_error)
    _, h_0, batch = make_batch(CELL, D, 2, 5)
    args = (full, full, PARAMS, batch, jax.random.key(0))
    wrong(ValueError, "fidelity: draws is 0", gradients.fidelity, *args, h_0=h_0, draws=0)


@pytest.mark.parametrize(
    ("exception", "match", "lengths", "length", "form"),
    [
        (ValueError, "lengths span 1..6; expected 1..T = 1..5", np.array([1, 6]), 5, "mean"),
        (ValueError, "lengths span 0..3", np.array([0, 3]), 5, "mean"),
        (ValueError, "length is 0; expected at least 1", np.array([1]), 0, "mean"),
        (TypeError, "length must be a Python integer", np.array([1]), 5.0, "mean"),
        (ValueError, "form is 'first'; expected one of 'last', 'mean', 'sum'", np.array([1]), 5, "first"),
        (TypeError, "lengths has dtype float64", np.array([1.5]), 5, "mean"),
        (ValueError, r"lengths has shape \(1, 1\); expected \[B\]", np.array([[1]]), 5, "mean"),
    ],
)
def test_weights_from_lengths_refuse(exception, match, lengths, length, form):
    wrong(exception, "weights_from_lengths: " + match, weights_from_lengths, lengths, length, form=form)


@pytest.mark.parametrize("make", [cells.elman, cells.lstm, cells.gru, cells.dense])
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 3), (2.0, 3)])
def test_cells_refuse_sizes_that_are_no_positive_integers(make, sizes):
    wrong((ValueError, TypeError), f"{make.__name__}: .*(expected at least 1|Python integer)", make, *sizes)


def test_a_layer_without_state_refuses_one():
    dense = cells.dense(3, 2)
    wrong(ValueError, "dense: h_tm1 has entries", dense.step, make_params(dense), [1.0], jnp.ones(3))


@pytest.mark.parametrize("kind", ["snap", "uoro"])
def test_states_of_another_dtype_are_refused_forward_in_time(kind):
    params, h_0, batch = make_batch(CELL, D, 2, 3)
    estimator = ESTIMATORS[kind](CELL.step, squared_error)
    carry = estimator.init(params, h_0.astype(jnp.float16))
    match = f"gradients.{kind}: state leaf .* is float16 in h_0 but float64"
    with jax.numpy_dtype_promotion("standard"):
        wrong(TypeError, match, estimator.estimate, params, carry, batch, jax.random.key(0))


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm_dense", "gru_residual_elman"])
def test_every_cell_refuses_inputs_of_another_size(name):
    cell, d = CELLS[name]
    params = make_params(cell)
    match = rf"(lstm|gru): x_t has shape \({d + 1},\); expected \({d},\)"
    wrong(ValueError, match, cell.step, params, cell.init_state(params), jnp.ones(d + 1))


@pytest.mark.parametrize("name", ["elman_tanh", "lstm", "gru", "lstm_dense"])
def test_parameters_of_another_cell_are_refused(name):
    cell, d = CELLS[name]
    other = {"lstm": "gru", "gru": "lstm"}.get(name, "lstm")
    params = make_params(CELLS[other][0])
    h = cell.init_state(make_params(cell))
    wrong(ValueError, "params", cell.step, params, h, jnp.ones(d))


def test_lstm_refuses_a_state_that_is_no_lstm_state():
    cell, d = CELLS["lstm"]
    wrong((TypeError, ValueError), "lstm: h_tm1", cell.step, make_params(cell), jnp.ones(3), jnp.ones(d))
    bad_c = cells.LSTMState(jnp.ones(3), jnp.ones((3, 1)))
    wrong(ValueError, r"lstm: h_tm1.c has shape \(3, 1\)", cell.step, make_params(cell), bad_c, jnp.ones(d))


def test_compositions_refuse_what_does_not_fit():
    wrong(ValueError, "stack: got no cells", cells.stack)
    wrong(ValueError, "activations.get: activation is 'gelu'", cells.elman, 2, 3, activation="gelu")
    skip = cells.residual(cells.elman(2, 3))
    params = make_params(skip)
    wrong(
        ValueError,
        r"residual: x_t has shape \(2,\); expected \(3,\)",
        skip.step,
        params,
        jnp.ones(3),
        jnp.ones(2),
    )
    match = "spectral_radius: shape is"
    wrong(ValueError, match, cells.initializers.spectral_radius(), jax.random.key(0), (2, 3))


@pytest.mark.parametrize(("exception", "match", "h_0", "batch"), BAD_BATCHES[1:])
def test_measures_of_an_estimator_refuse_a_batch_that_does_not_fit(exception, match, h_0, batch):
    h_0 = jnp.ones((2, 4)) if h_0 is None else h_0
    full, key = gradients.full(CELL.step, squared_error), jax.random.key(0)
    wrong(exception, match, gradients.fidelity, full, full, PARAMS, batch, key, h_0=h_0)
    args = (CELL.step, squared_error, PARAMS, h_0, batch, key)
    wrong(exception, match, gradients.kept_lags, gradients.full, *args)
    batches = [batch] * 3
    wrong(exception, match, jaxrnn.suggest_window, CELL, PARAMS, batches, squared_error)


@pytest.mark.parametrize(("lags", "exception"), [(0, ValueError), (2.5, TypeError)])
def test_lag_profile_refuses_a_number_of_lags_that_is_no_count(lags, exception):
    _, h_0, batch = make_batch(CELL, D, 2, 5)
    args = (CELL.step, squared_error, PARAMS, h_0, batch)
    wrong(exception, "gradients.lag_profile: lags", gradients.lag_profile, *args, lags=lags)


def test_influence_pattern_refuses_a_batch_of_trajectories():
    traj = run(CELL, PARAMS, H_0, XS)
    batch = traj._replace(hs=jnp.stack([traj.hs, traj.hs]))
    wrong(
        ValueError,
        "influence_pattern: trajectory.hs leaf",
        gradients.influence_pattern,
        CELL.step,
        PARAMS,
        batch,
    )


def test_batches_of_different_shapes_are_refused():
    batches = [make_batch(CELL, D, 2, T)[2] for T in (5, 6, 5)]
    full, (_, h_0, _) = gradients.full(CELL.step, squared_error), make_batch(CELL, D, 2, 5)
    args = (full, full, PARAMS, batches, jax.random.key(0))
    wrong(ValueError, "fidelity: batches differ in shape", gradients.fidelity, *args, h_0=h_0)
    wrong(
        ValueError,
        "suggest_window: batches differ in shape",
        jaxrnn.suggest_window,
        CELL,
        PARAMS,
        batches,
        squared_error,
    )
