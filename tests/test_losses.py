"""The losses against hand-computed numbers, finite differences, and the pairing with φ_y (E1, E2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import assert_close
from oracles import central_difference, sigmoid

from jaxrnn import losses

OUTPUT = np.array([0.3, -1.2, 2.0])
TARGETS = {
    "squared_error": np.array([1.0, 0.5, -0.25]),
    "softmax_cross_entropy": np.array(1),
    "sigmoid_binary_cross_entropy": np.array([1.0, 0.0, 0.7]),
}
every_loss = pytest.mark.parametrize("name", TARGETS)


def softmax(o):
    return np.exp(o) / np.exp(o).sum()


def by_hand(name, o, target):
    """The loss as the notes write it, in plain NumPy without any care for overflow."""
    if name == "squared_error":
        return 0.5 * ((o - target) ** 2).sum()
    if name == "softmax_cross_entropy":
        return -np.log(softmax(o)[target])
    y = sigmoid(o)
    return -(target * np.log(y) + (1 - target) * np.log(1 - y)).sum()


@every_loss
def test_loss_equals_the_notes_formula(name):
    got = getattr(losses, name)(None, jnp.asarray(OUTPUT), jnp.asarray(TARGETS[name]))
    assert got.shape == ()
    assert_close(got, by_hand(name, OUTPUT, TARGETS[name]), 10)


@pytest.mark.parametrize(
    ("name", "o", "target", "value"),
    [
        ("squared_error", [3.0, 1.0], [1.0, 1.0], 2.0),
        ("softmax_cross_entropy", [0.0, 0.0, 0.0, 0.0], 2, np.log(4)),
        ("softmax_cross_entropy", [0.0, np.log(3.0)], 0, np.log(4)),
        ("sigmoid_binary_cross_entropy", [0.0], [1.0], np.log(2)),
        ("sigmoid_binary_cross_entropy", [np.log(3.0), np.log(3.0)], [1.0, 0.0], np.log(4 / 3) + np.log(4)),
    ],
)
def test_loss_has_the_value_computed_on_paper(name, o, target, value):
    assert_close(getattr(losses, name)(None, jnp.array(o), jnp.array(target)), np.asarray(value), 10)


@every_loss
def test_gradient_equals_central_differences(name):
    def of_output(o):
        return getattr(losses, name)(None, o, jnp.asarray(TARGETS[name]))

    o = jnp.asarray(OUTPUT)
    np.testing.assert_allclose(jax.grad(of_output)(o), central_difference(of_output, o), rtol=0, atol=1e-8)


@every_loss
def test_gradient_is_prediction_minus_target(name):
    """∂ℓ/∂o = ŷ - target is what pairs each loss with its φ_y."""
    prediction = {
        "squared_error": OUTPUT,
        "softmax_cross_entropy": softmax(OUTPUT),
        "sigmoid_binary_cross_entropy": sigmoid(OUTPUT),
    }[name]
    target = np.eye(3)[1] if name == "softmax_cross_entropy" else TARGETS[name]
    grad = jax.grad(getattr(losses, name), argnums=1)(None, jnp.asarray(OUTPUT), jnp.asarray(TARGETS[name]))
    assert_close(grad, prediction - target, 10)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_binary_cross_entropy"])
def test_large_outputs_neither_overflow_nor_lose_the_loss(name):
    """Where the formula of the notes takes the logarithm of 0."""
    target = jnp.array(1) if name == "softmax_cross_entropy" else jnp.array([0.0, 1.0])
    value, grad = jax.value_and_grad(getattr(losses, name), argnums=1)(
        None, jnp.array([800.0, -800.0]), target
    )
    assert value == 1600
    assert np.isfinite(grad).all()


@every_loss
def test_single_precision_stays_single(name):
    target = jnp.asarray(TARGETS[name])
    target = target if target.dtype == jnp.int64 else target.astype(jnp.float32)
    assert getattr(losses, name)(None, jnp.asarray(OUTPUT, jnp.float32), target).dtype == jnp.float32
