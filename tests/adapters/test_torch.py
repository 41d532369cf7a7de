"""RNN, LSTM and GRU with torch's weights: outputs and all gradients are torch's, frozen by tools/."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import EPS_12, assert_close
from safetensors.numpy import save_file

from jaxrnn import cells, unroll
from jaxrnn.adapters import from_torch

FROZEN = dict(np.load(Path(__file__).parent / "reference" / "torch_reference.npz"))


def frozen(name):
    return {key.split("/")[1]: array for key, array in FROZEN.items() if key.startswith(f"{name}/")}


def weights(ref, prefix=""):
    """The parameters of one layer, or their gradients."""
    return {
        key.removeprefix(prefix): array for key, array in ref.items() if key.startswith(f"{prefix}weight_")
    } | {key.removeprefix(prefix): array for key, array in ref.items() if key.startswith(f"{prefix}bias_")}


def gradients_as_ours(name, ref):
    """torch adds two biases where we have one; their gradients are equal, so ours is either of them."""
    grads = weights(ref, "grad.")
    w_x, w_h, b_x, b_h = (grads[key] for key in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    if name == "lstm":
        return {"W_x": w_x, "W_h": w_h, "b": b_x}
    if name == "gru":
        return {"W_x": w_x, "W_h": w_h, "b": b_x, "b_hn": b_h[-w_h.shape[1] :]}
    return {"W_hx": w_x, "W_hh": w_h, "b_h": b_x}


@pytest.mark.parametrize("name", ["tanh", "relu", "lstm", "gru"])
def test_outputs_and_all_gradients_agree_with_torch(name):
    ref = frozen(name)
    cell = from_torch(weights(ref), activation=name if name == "relu" else "tanh")
    states = sorted(key for key in ref if key.startswith("start."))
    start = [jnp.asarray(ref[key]) for key in states]
    h_0 = cells.LSTMState(*start) if name == "lstm" else start[0]
    cotangents = [jnp.asarray(ref[f"cotangent.{i}"]) for i in range(len(states) + 1)]

    def objective(params, h_0, xs):
        traj = jax.vmap(lambda h, x: unroll(cell.step, params, h, x))(h_0, xs)
        outputs = [traj.ys, *(leaf[:, -1] for leaf in jax.tree.leaves(traj.hs))]
        return sum(jnp.sum(w * part) for w, part in zip(cotangents, outputs, strict=True)), outputs

    args = (cell.init(jax.random.key(0)), h_0, jnp.asarray(ref["xs"]))
    grads, outputs = jax.jit(jax.grad(objective, argnums=(0, 1, 2), has_aux=True))(*args)
    assert_close(outputs, [ref[f"output.{i}"] for i in range(len(outputs))], EPS_12)
    grad_params, grad_h_0, grad_xs = grads
    assert_close(grad_params, gradients_as_ours(name, ref), EPS_12)
    assert_close(jax.tree.leaves(grad_h_0), [ref[f"grad.{key}"] for key in states], EPS_12)
    assert_close(grad_xs, ref["grad.xs"], EPS_12)


def network(name):
    """(state_dict, xs, outputs) of two layers and a readout."""
    ref = frozen(name)
    return ref, jnp.asarray(ref.pop("xs")), ref.pop("output")


def outputs(cell, xs):
    params = cell.init(jax.random.key(0))
    run = jax.jit(jax.vmap(lambda x: unroll(cell.step, params, cell.init_state(params), x).ys))
    return run(xs)


@pytest.mark.parametrize("name", ["deep_tanh", "deep_lstm", "deep_gru", "deep_lstm_without_bias"])
def test_layers_and_readout_are_those_of_the_whole_network(name):
    state_dict, xs, expected = network(name)
    assert_close(outputs(from_torch(state_dict, prefix="rnn.", readout="head."), xs), expected, EPS_12)


class Tensor:
    """What torch's tensors offer of what is needed."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def cpu(self):
        return self.array


def test_tensors_and_files_are_read_without_torch(tmp_path):
    state_dict, xs, expected = network("deep_gru")
    tensors = {key: Tensor(array) for key, array in state_dict.items()}
    save_file(state_dict, tmp_path / "model.safetensors")
    for source in (tensors, tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        assert_close(outputs(from_torch(source, prefix="rnn.", readout="head."), xs), expected, EPS_12)


def test_without_a_readout_a_network_shows_its_last_state():
    state_dict, _, _ = network("deep_lstm")
    cell = from_torch(state_dict, prefix="rnn.")
    params = cell.init(jax.random.key(0))
    assert len(params) == 2
    (_, last), y = cell.step(params, cell.init_state(params), jnp.ones(3))
    assert_close(y, last.h)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {}, "there is no weight_ih_l0 among the weights, ; give the prefix"),
        (lambda w: {f"rnn.{k}": v for k, v in w.items()}, "among the weights, rnn.bias_hh_l0, .*; give the"),
        (lambda w: w | {"weight_ih_l0_reverse": w["weight_ih_l0"]}, "runs in both directions"),
        (lambda w: w | {"weight_hr_l0": w["weight_hh_l0"]}, "projects its state"),
        (lambda w: w | {"weight_ih_l0": w["weight_ih_l0"][:8]}, "weight_ih_l0 has 8 rows for 4 units"),
        (lambda w: w | {"weight_hh_l0": w["weight_hh_l0"][:8]}, r"weight_hh_l0 has shape \(8, 4\); exp"),
        (lambda w: {k: v for k, v in w.items() if k != "bias_hh_l0"}, "there is no bias_hh_l0"),
        (lambda w: w | {"bias_ih_l0": w["bias_ih_l0"][:3]}, r"bias_ih_l0 has shape \(3,\); expected \(16,\)"),
    ],
)
def test_weights_of_other_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=rf"adapters\.from_torch: .*{message}"):
        from_torch(change(weights(frozen("lstm"))))


def test_other_files_and_a_missing_readout_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.pt is no \.safetensors file; load it with torch"):
        from_torch(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"there is no fc\.weight"):
        from_torch(weights(frozen("gru")), readout="fc.")


def test_the_frozen_file_records_where_it_comes_from():
    assert str(FROZEN["torch_version"]).startswith("2.")
    assert int(FROZEN["seed"]) == 0
