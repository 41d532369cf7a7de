"""Torch's recurrent weights in our cells, with or without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.cells import dense, elman, gru, lstm, stack
from jaxrnn.types import Cell

__all__ = ["from_torch"]


@_checks.signature("adapters.from_torch")
def from_torch(
    weights: Mapping[str, Any] | str | Path,
    *,
    prefix: str = "",
    readout: str | None = None,
    activation: str = "tanh",
) -> Cell:
    """Our cell with the weights of a torch ``RNN``, ``GRU`` or ``LSTM``, of one layer or several.

    Parameters
    ----------
    weights : ``model.state_dict()``, any mapping of names to arrays, or the path of a ``.safetensors`` file,
        which is read without torch.
    prefix : what stands before ``weight_ih_l0`` in the names, such as ``"rnn."``.
    readout : what stands before ``weight`` and ``bias`` of the linear layer on top, such as ``"head."``;
        without it the cell has none.
    activation : of an ``RNN``, whose weights do not tell: ``"tanh"`` or ``"relu"``.

    Returns
    -------
    Cell
        ``elman``, ``gru`` or ``lstm``, or a ``stack`` of them and ``dense``. ``init`` gives torch's weights
        for any key; torch's two biases of a gate are added up where they act as one.

    Raises
    ------
    ValueError
        If the names or shapes are not those of such a network, or it is bidirectional or has projections.
    ImportError
        For a file, without safetensors.

    Example
    -------
    >>> import jax
    >>> shapes = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}
    >>> cell = from_torch({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    >>> cell.init_state(cell.init(jax.random.key(0))).c.shape
    (3,)
    """
    arrays = {name: _array(value) for name, value in _mapping(weights).items()}
    layers = []
    while f"{prefix}weight_ih_l{len(layers)}" in arrays:
        layers.append(_layer(arrays, prefix, f"_l{len(layers)}", activation))
    if not layers:
        raise ValueError(
            f"adapters.from_torch: there is no {prefix}weight_ih_l0 among the weights, "
            f"{', '.join(sorted(arrays))}; give the prefix of the recurrent layer."
        )
    if readout is not None:
        layers.append(_readout(arrays, readout))
    cells, params = zip(*layers, strict=True)
    if len(cells) == 1:
        return cells[0]._replace(init=lambda _: params[0])
    return stack(*cells)._replace(init=lambda _: params)


def _mapping(weights):
    if isinstance(weights, Mapping):
        return weights
    if not isinstance(weights, str | Path):
        raise TypeError(
            f"adapters.from_torch: weights is a {type(weights).__name__}; expected a state_dict() or a path."
        )
    if Path(weights).suffix != ".safetensors":
        raise ValueError(
            f"adapters.from_torch: {Path(weights).name} is no .safetensors file; load it with torch and give "
            "its state_dict()."
        )
    with _checks.installed("adapters.from_torch", "safetensors", "safetensors"):
        from safetensors.numpy import load_file
    return load_file(weights)


def _array(value):
    value = value.detach().cpu() if hasattr(value, "detach") else value
    return _checks.numbers("adapters.from_torch", "weights", value, "arrays by name")


def _of(arrays, name, shape):
    if name not in arrays:
        raise ValueError(f"adapters.from_torch: there is no {name}.")
    if arrays[name].shape != shape:
        raise ValueError(f"adapters.from_torch: {name} has shape {arrays[name].shape}; expected {shape}.")
    return arrays[name]


def _layer(arrays, prefix, suffix, activation):
    """(cell, params) of one recurrent layer."""
    for unknown, what in (
        (f"weight_ih{suffix}_reverse", "runs in both directions"),
        (f"weight_hr{suffix}", "projects its state"),
    ):
        if prefix + unknown in arrays:
            raise ValueError(f"adapters.from_torch: the network {what}; only plain layers are read.")
    for name in (f"{prefix}weight_ih{suffix}", f"{prefix}weight_hh{suffix}"):
        if name not in arrays or arrays[name].ndim != 2:
            got = arrays[name].shape if name in arrays else "missing"
            raise ValueError(f"adapters.from_torch: {name} is {got}; expected a matrix.")
    rows, d = arrays[f"{prefix}weight_ih{suffix}"].shape
    H = arrays[f"{prefix}weight_hh{suffix}"].shape[-1]
    if rows not in (H, 3 * H, 4 * H):
        raise ValueError(
            f"adapters.from_torch: {prefix}weight_ih{suffix} has {rows} rows for {H} units; expected as many "
            "(RNN), 3 times (GRU) or 4 times as many (LSTM)."
        )
    w_x = arrays[f"{prefix}weight_ih{suffix}"]
    w_h = _of(arrays, f"{prefix}weight_hh{suffix}", (rows, H))
    if f"{prefix}bias_ih{suffix}" in arrays:
        b_x, b_h = (_of(arrays, f"{prefix}{name}{suffix}", (rows,)) for name in ("bias_ih", "bias_hh"))
    else:
        b_x = b_h = np.zeros(rows, w_x.dtype)
    both = b_x + b_h
    if rows == H:
        cell, params = elman(d, H, activation=activation), {"W_hx": w_x, "W_hh": w_h, "b_h": both}
    elif rows == 4 * H:
        cell, params = lstm(d, H), {"W_x": w_x, "W_h": w_h, "b": both}
    else:
        b = np.concatenate([both[: 2 * H], b_x[2 * H :]])
        cell, params = gru(d, H), {"W_x": w_x, "W_h": w_h, "b": b, "b_hn": b_h[2 * H :]}
    return cell, {name: jnp.asarray(leaf) for name, leaf in params.items()}


def _readout(arrays, name):
    if f"{name}weight" not in arrays:
        raise ValueError(f"adapters.from_torch: there is no {name}weight.")
    W = arrays[f"{name}weight"]
    b = arrays.get(f"{name}bias", np.zeros(len(W), W.dtype))
    return dense(W.shape[1], W.shape[0]), {"W": jnp.asarray(W), "b": jnp.asarray(b)}
