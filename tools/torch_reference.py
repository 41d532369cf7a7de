"""Freeze outputs and gradients of torch's RNN, LSTM and GRU for tests/adapters/test_torch.py.

Run from the repository's root with torch installed: ``python tools/torch_reference.py``.
"""

from pathlib import Path

import numpy as np
import torch

D, H, B, T, SEED = 3, 4, 2, 6, 0
TARGET = Path(__file__).parents[1] / "tests" / "adapters" / "reference" / "torch_reference.npz"


def freeze(name, module, rng):
    """Every parameter, input, output and gradient of a weighted sum of outputs and last states."""
    frozen = {}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) * 0.5))
    xs = torch.tensor(rng.normal(size=(B, T, D)), requires_grad=True)
    starts = [
        torch.tensor(rng.normal(size=(1, B, H)), requires_grad=True) for _ in range(1 + (name == "lstm"))
    ]
    ys, last = module(xs, tuple(starts) if name == "lstm" else starts[0])
    last = list(last) if name == "lstm" else [last]
    outputs = [ys, *last]
    cotangents = [torch.from_numpy(rng.normal(size=tuple(part.shape))) for part in outputs]
    sum((w * part).sum() for w, part in zip(cotangents, outputs, strict=True)).backward()
    for key, parameter in module.named_parameters():
        frozen[f"{key}"], frozen[f"grad.{key}"] = parameter.detach().numpy(), parameter.grad.numpy()
    frozen["xs"], frozen["grad.xs"] = xs.detach().numpy(), xs.grad.numpy()
    for i, start in enumerate(starts):
        frozen[f"start.{i}"], frozen[f"grad.start.{i}"] = start.detach().numpy()[0], start.grad.numpy()[0]
    for i, (part, w) in enumerate(zip(outputs, cotangents, strict=True)):
        part, w = part.detach().numpy(), w.numpy()
        frozen[f"output.{i}"], frozen[f"cotangent.{i}"] = (part, w) if i == 0 else (part[0], w[0])
    return {f"{name}/{key}": array for key, array in frozen.items()}


class Network(torch.nn.Module):
    """Two layers and a readout, as a user would name them."""

    def __init__(self, make, **options):
        super().__init__()
        self.rnn = make(D, H, num_layers=2, batch_first=True, dtype=torch.float64, **options)
        self.head = torch.nn.Linear(H, 2, dtype=torch.float64)

    def forward(self, xs):
        return self.head(self.rnn(xs)[0])


def freeze_network(name, network):
    """Its state_dict, inputs and outputs."""
    xs = torch.randn(B, T, D, dtype=torch.float64)
    frozen = {key: value.numpy() for key, value in network.state_dict().items()}
    frozen |= {"xs": xs.numpy(), "output": network(xs).detach().numpy()}
    return {f"{name}/{key}": array for key, array in frozen.items()}


def main():
    """Write the file."""
    options = {"batch_first": True, "dtype": torch.float64}
    modules = {
        "tanh": torch.nn.RNN(D, H, nonlinearity="tanh", **options),
        "relu": torch.nn.RNN(D, H, nonlinearity="relu", **options),
        "lstm": torch.nn.LSTM(D, H, **options),
        "gru": torch.nn.GRU(D, H, **options),
    }
    arrays = {"torch_version": np.array(torch.__version__), "seed": np.array(SEED)}
    for i, (name, module) in enumerate(modules.items()):
        arrays |= freeze(name, module, np.random.default_rng([SEED, i]))
    torch.manual_seed(SEED)
    networks = {
        "deep_tanh": Network(torch.nn.RNN),
        "deep_lstm": Network(torch.nn.LSTM),
        "deep_gru": Network(torch.nn.GRU),
        "deep_lstm_without_bias": Network(torch.nn.LSTM, bias=False),
    }
    for name, network in networks.items():
        arrays |= freeze_network(name, network)
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, **arrays)


if __name__ == "__main__":
    main()
