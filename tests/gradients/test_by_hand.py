"""The hand-derived BPTT against autodiff and central differences, with every intermediate (E5-E9)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import EPS_12, assert_close
from oracles import ACTIVATIONS, central_difference

from jaxrnn.gradients import by_hand

N, D, M, T = 4, 3, 2, 8
ACTIVATION_NAMES = ["linear", "relu", "sigmoid", "tanh"]
HEADS = ["identity", "softmax", "sigmoid"]

# Written out once more, from the definitions.
PHI = {
    "linear": lambda z: z,
    "relu": lambda z: jnp.where(z > 0, z, 0),
    "sigmoid": lambda z: 1 / (1 + jnp.exp(-z)),
    "tanh": jnp.tanh,
}
LOSS = {
    "identity": lambda o, y: 0.5 * jnp.sum((o - y) ** 2),
    "softmax": lambda o, y: -jnp.sum(y * jnp.log(jnp.exp(o) / jnp.sum(jnp.exp(o)))),
    "sigmoid": lambda o, y: (
        -jnp.sum(y * jnp.log(PHI["sigmoid"](o)) + (1 - y) * jnp.log(1 - PHI["sigmoid"](o)))
    ),
}


def problem(head="identity", seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"W_hx": (N, D), "W_hh": (N, N), "b_h": (N,), "W_yh": (M, N), "b_y": (M,)}
    params = {name: jnp.asarray(0.5 * rng.normal(size=shape)) for name, shape in shapes.items()}
    targets = jnp.asarray(
        rng.normal(size=(T, M)) if head == "identity" else np.eye(M)[rng.integers(M, size=T)]
    )
    return params, jnp.asarray(rng.normal(size=N)), jnp.asarray(rng.normal(size=(T, D))), targets


def plain_loss(params, h_0, xs, targets, activation, head, h_offsets=None, z_offsets=None):
    """Mean loss by a loop; offsets added to h_t and z_t make ∂L/∂h_t and ∂L/∂z_t readable by autodiff."""
    h, total = h_0, 0.0
    for t in range(T):
        z = params["W_hx"] @ xs[t] + params["W_hh"] @ h + params["b_h"]
        h = PHI[activation](z if z_offsets is None else z + z_offsets[t])
        h = h if h_offsets is None else h + h_offsets[t]
        total = total + LOSS[head](params["W_yh"] @ h + params["b_y"], targets[t])
    return total / T


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("head", HEADS)
def test_hand_derived_bptt_equals_autodiff_in_every_intermediate(activation, head):
    params, h_0, xs, targets = problem(head)
    args = (params, h_0, xs, targets)
    result = jax.jit(lambda *a: by_hand.bptt(*a, activation=activation, head=head))(*args)
    zero = jnp.zeros((T, N))

    def objective(params, h_offsets, z_offsets):
        return plain_loss(params, h_0, xs, targets, activation, head, h_offsets, z_offsets)

    loss, grads = jax.value_and_grad(objective, argnums=(0, 1, 2))(params, zero, zero)
    assert_close(result.loss, loss)
    assert_close((result.grads, result.dL_dh, result.deltas), grads, EPS_12)


def test_bptt_agrees_with_central_differences():
    params, *rest = problem("softmax")
    result = by_hand.bptt(params, *rest, activation="tanh", head="softmax")
    numeric = central_difference(lambda p: plain_loss(p, *rest, "tanh", "softmax"), params)
    for name, leaf in numeric.items():
        np.testing.assert_allclose(result.grads[name], leaf, atol=1e-9)


@pytest.mark.parametrize("head", HEADS)
def test_loss_gradient_at_the_output_is_prediction_minus_target(head):
    params, h_0, xs, targets = problem(head)
    result = by_hand.bptt(params, h_0, xs, targets, head=head)
    numeric = jax.vmap(jax.grad(LOSS[head]))(result.os, targets) / T
    assert_close(result.dL_do, numeric, EPS_12)
    assert_close(result.dL_do, (result.y_hats - targets) / T)
    assert_close(result.os, result.hs @ params["W_yh"].T + params["b_y"][None])
    assert_close(result.hs, ACTIVATIONS["tanh"](np.asarray(result.zs)))


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_forward_recursion_gives_the_total_derivative_and_the_same_gradient(activation):
    params, h_0, xs, targets = problem()
    result = jax.jit(lambda *a: by_hand.forward_recursion(*a, activation=activation))(params, h_0, xs)
    recurrent = {name: params[name] for name in ("W_hx", "W_hh", "b_h")}

    def states(w):
        rows, h = [], h_0
        for x in xs:
            h = PHI[activation](w["W_hx"] @ x + w["W_hh"] @ h + w["b_h"])
            rows.append(h)
        return jnp.stack(rows)

    def flat(jacobian):
        return jnp.concatenate([jacobian[k].reshape(T, N, -1) for k in ("W_hx", "W_hh", "b_h")], axis=2)

    assert_close(result.a, flat(jax.jacfwd(states)(recurrent)), EPS_12)

    backward = by_hand.bptt(params, h_0, xs, targets, activation=activation, head="identity")
    gradient = jnp.einsum("tm,mn,tnp->p", backward.dL_do, params["W_yh"], result.a)
    expected = jnp.concatenate([backward.grads[k].ravel() for k in ("W_hx", "W_hh", "b_h")])
    assert_close(gradient, expected, EPS_12)


def test_forward_recursion_has_the_closed_form_of_e9():
    params, h_0, xs, _ = problem()
    a, b, c = map(np.asarray, by_hand.forward_recursion(params, h_0, xs))
    for t in range(T):
        total = b[t].copy()
        for i in range(t):
            chain = np.eye(N)
            for j in range(i + 1, t + 1):
                chain = c[j] @ chain
            total += chain @ b[i]
        assert_close(a[t], total)


def test_linear_state_gradients_have_the_closed_form_of_e7():
    params, h_0, xs, targets = problem()
    result = by_hand.bptt(params, h_0, xs, targets, activation="linear", head="identity")
    closed = jax.jit(by_hand.linear_state_gradients)(params["W_hh"], params["W_yh"], result.dL_do)
    assert_close(closed, result.dL_dh, EPS_12)


@pytest.mark.usefixtures("unchecked_types")
def test_linear_state_gradients_take_what_numpy_has_and_no_steps_at_all():
    params, h_0, xs, targets = problem()
    dL_do = by_hand.bptt(params, h_0, xs, targets, activation="linear", head="identity").dL_do
    of = jax.jit(lambda dL_do: by_hand.linear_state_gradients(params["W_hh"], params["W_yh"], dL_do))
    closed_over = jax.jit(
        lambda: by_hand.linear_state_gradients(params["W_hh"], params["W_yh"], np.asarray(dL_do))
    )
    assert_close(closed_over(), of(dL_do))
    assert of(dL_do[:0]).shape == (0, len(params["W_hh"]))


def test_slopes_keep_their_digits_at_saturation():
    params = {"W_hx": jnp.eye(1), "W_hh": jnp.zeros((1, 1)), "b_h": jnp.zeros(1)}
    xs = jnp.full((1, 1), 9.0, jnp.float32)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    b = by_hand.forward_recursion(params, jnp.zeros(1, jnp.float32), xs).b
    np.testing.assert_allclose(b[0, 0, 2], 1 / np.cosh(9.0) ** 2, rtol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"activation": "gelu"}, "by_hand.bptt: activation is 'gelu'; expected one of 'linear'"),
        ({"head": "none"}, "by_hand.bptt: head is 'none'; expected one of 'identity'"),
    ],
)
def test_unknown_options_name_what_is_allowed(options, match):
    with pytest.raises(ValueError, match=match):
        by_hand.bptt(*problem(), **options)
