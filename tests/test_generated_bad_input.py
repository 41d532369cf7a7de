"""Generated malformed arguments meet the library's own message or a right result: a short campaign."""

import jax
import jax.numpy as jnp
import pytest

from jaxrnn import cells, gradients, jacobians, losses, training
from validation.bad_input import ROOMS, calls_of, campaign
from validation.malformed.judge import Call, answer
from validation.malformed.kinds import Bad, Real

pytestmark = pytest.mark.usefixtures("unchecked_types")

EVERY = {"cells": 9, "jacobians": 10, "dynamics": 6, "gradients": 12, "training": 5, "plots": 6, "rest": 9}
"""Of each room every n-th call; `make validate` takes them all."""


@pytest.mark.parametrize("room", ROOMS)
def test_generated_bad_input_is_answered(room):
    answers = [campaign(room, i, 0, examples=8) for i in range(0, len(calls_of(room)), EVERY[room])]
    assert not {f"{name}: {reason}": n for name, _, reasons in answers for reason, n in reasons.items()}
    assert all(found.total() for _, found, _ in answers)


def judged(function, bad):
    valid = {name: Real(jnp.ones(shape)) for name, shape in {"a": (3,), "b": (3,)}.items()}
    return answer(Call("unroll", function, valid), {"b": bad})


def test_the_judge_accepts_neither_a_broadcast_nor_a_foreign_exception():
    wide = Bad("shape (3, 1)", "refuse", jnp.ones((3, 1)))
    assert "no message" in judged(lambda a, b: a + b, wide).reason
    assert "TypeError" in judged(jnp.dot, wide._replace(value=jnp.ones((2, 2)))).reason
    assert "AttributeError" in judged(lambda a, b: a.nothing + b, wide._replace(label="an attribute")).reason


def test_the_judge_accepts_no_wrong_number_and_no_number_made_of_nan():
    narrow = Bad("float32", "same", jnp.ones(3, jnp.float32), jnp.ones(3), jnp.float32)
    assert judged(lambda a, b: a + b, narrow).kind == "result"
    assert judged(lambda a, b: a * (b.dtype == a.dtype), narrow._replace(label="half")).kind == "failure"
    nan = Bad("nan", "flag", jnp.array([1.0, jnp.nan, 1.0]), jnp.ones(3))
    assert judged(lambda a, b: a + b, nan._replace(label="nan passed on")).kind == "result"
    assert judged(lambda a, b: a + jnp.nan_to_num(b), nan).kind == "failure"


def test_a_modrelu_keeps_nan():
    cell = cells.orthogonal_rnn(2, 3)
    params = cell.init(jax.random.key(0))
    h_1, _ = cell.step(params, jnp.full(3, jnp.nan), jnp.ones(2))
    assert jnp.isnan(h_1).all()


@pytest.mark.parametrize("label", [-1, 3, 100])
def test_a_label_that_is_none_of_the_classes_makes_the_loss_nan(label):
    assert jnp.isnan(losses.softmax_cross_entropy(None, jnp.zeros(3), jnp.array(label)))


def test_a_loss_broadcasts_nothing():
    match = r"losses.sigmoid_binary_cross_entropy: target_t has shape \(3, 1\); expected \(3,\)"
    with pytest.raises(ValueError, match=match):
        losses.sigmoid_binary_cross_entropy(None, jnp.ones(3), jnp.ones((3, 1)))


def test_moments_of_another_shape_are_refused():
    cell = cells.elman(2, 3, normalization=cells.batch_norm())
    params, x = cell.init(jax.random.key(0)), jnp.ones(2)
    moments = (cells.Moments(jnp.zeros((1, 3)), jnp.ones(())),)
    with pytest.raises(ValueError, match=r"with_statistics: moments_t.variance has shape \(\)"):
        cells.with_statistics(cell.step)(params, jnp.zeros(3), (x, moments))


def test_a_reach_with_nan_is_no_line_of_quality():
    found = gradients.geometric_decay(0.5 ** jnp.arange(12.0), jnp.ones(12).at[-1].set(jnp.nan))
    assert all(jnp.isnan(leaf) for leaf in found)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_clipping_to_a_norm_that_is_not_positive_is_refused(max_norm):
    with pytest.raises(ValueError, match=r"training.clipped_adam: max_norm is"):
        training.clipped_adam(max_norm=max_norm)


@pytest.mark.parametrize(
    ("exception", "match", "key"),
    [
        (TypeError, "elman: key is int; expected a random key", 0),
        (TypeError, "elman: key is str", "key"),
        (ValueError, r"elman: key has shape \(2,\).*jax.vmap", jax.random.split(jax.random.key(0))),
    ],
)
def test_what_is_no_key_is_refused(exception, match, key):
    with pytest.raises(exception, match=match):
        cells.elman(2, 3).init(key)


def test_keys_of_both_kinds_give_the_same_parameters():
    cell = cells.elman(2, 3)
    old, new = cell.init(jax.random.PRNGKey(0)), cell.init(jax.random.key(0))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), old, new)))


def test_lags_of_an_array_are_checked_under_jit_too():
    lags = jnp.array([1, -1])
    with pytest.raises(ValueError, match="norm_bound: lags go down to -1"):
        jax.jit(lambda W: jacobians.norm_bound(W, lags))(jnp.eye(2))
