"""RNN, LSTM and GRU against torch's modules: outputs and all gradients, frozen by tools/."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import EPS_12, assert_close

from jaxrnn import cells, unroll

FROZEN = dict(np.load(Path(__file__).parent / "reference" / "torch_reference.npz"))


def frozen(name):
    return {key.split("/")[1]: array for key, array in FROZEN.items() if key.startswith(f"{name}/")}


def to_ours(name, ref, prefix=""):
    """torch's parameters, or their gradients, as ours.

    torch adds two biases where we have one; their gradients are equal, so ours is either of them.
    """
    w_x, w_h, b_x, b_h = (
        jnp.asarray(ref[prefix + key]) for key in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    both = b_x if prefix else b_x + b_h
    if name == "lstm":
        return {"W_x": w_x, "W_h": w_h, "b": both}
    if name == "gru":
        H = w_h.shape[1]
        b = jnp.concatenate([both[: 2 * H], b_x[2 * H :]])
        return {"W_x": w_x, "W_h": w_h, "b": b, "b_hn": b_h[2 * H :]}
    return {"W_hx": w_x, "W_hh": w_h, "b_h": both}


@pytest.mark.parametrize("name", ["tanh", "relu", "lstm", "gru"])
def test_outputs_and_all_gradients_agree_with_torch(name):
    ref = frozen(name)
    H, D = ref["weight_hh_l0"].shape[1], ref["xs"].shape[2]
    make = {"lstm": cells.lstm, "gru": cells.gru}.get(name)
    cell = make(D, H) if make else cells.elman(D, H, activation=name)
    states = sorted(key for key in ref if key.startswith("start."))
    start = [jnp.asarray(ref[key]) for key in states]
    h_0 = cells.LSTMState(*start) if name == "lstm" else start[0]
    cotangents = [jnp.asarray(ref[f"cotangent.{i}"]) for i in range(len(states) + 1)]

    def objective(params, h_0, xs):
        traj = jax.vmap(lambda h, x: unroll(cell.step, params, h, x))(h_0, xs)
        outputs = [traj.ys, *(leaf[:, -1] for leaf in jax.tree.leaves(traj.hs))]
        return sum(jnp.sum(w * part) for w, part in zip(cotangents, outputs, strict=True)), outputs

    args = (to_ours(name, ref), h_0, jnp.asarray(ref["xs"]))
    grads, outputs = jax.jit(jax.grad(objective, argnums=(0, 1, 2), has_aux=True))(*args)
    assert_close(outputs, [ref[f"output.{i}"] for i in range(len(outputs))], EPS_12)
    grad_params, grad_h_0, grad_xs = grads
    assert_close(grad_params, to_ours(name, ref, "grad."), EPS_12)
    assert_close(jax.tree.leaves(grad_h_0), [ref[f"grad.{key}"] for key in states], EPS_12)
    assert_close(grad_xs, ref["grad.xs"], EPS_12)


def test_the_frozen_file_records_where_it_comes_from():
    assert str(FROZEN["torch_version"]).startswith("2.")
    assert int(FROZEN["seed"]) == 0
