"""Tier 3: the same networks written by others, or once more from the equations in NumPy and mpmath."""

from __future__ import annotations

from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import torch

import jaxrnn as jr
from validation.ladder.problems import CELLS, D, H, chain_of, estimate, norms, params_of, spectrum
from validation.ladder.row import DTYPES, Row, below, relative

B, T = 4, 30

# Its threads would take the processors from JAX's.
torch.set_num_threads(1)


def torch_layers() -> Iterator[Row]:
    """Outputs and all gradients of torch's layers."""
    for name in ("RNN", "LSTM", "GRU"):
        for dtype, bar in DTYPES.items():
            ours, theirs = _both(name, dtype)
            for what, got, truth in zip(("outputs", "gradients"), ours, theirs, strict=True):
                yield below(f"{what}, {name}, {dtype}", f"torch.nn.{name}", relative(got, truth), bar)


def _both(name, dtype):
    """(outputs, gradients) of ½ the sum of squares over T and B, by us and by torch."""
    torch.manual_seed(0)
    layer = getattr(torch.nn, name)(D, H, batch_first=True, dtype=getattr(torch, dtype))
    xs = torch.randn(B, T, D, dtype=getattr(torch, dtype))
    ys, _ = layer(xs)
    (0.5 * (ys**2).sum() / (B * T)).backward()
    cell = jr.adapters.from_torch(layer.state_dict())
    params = cell.init(jax.random.key(0))
    xs = jnp.asarray(xs.numpy())
    run = jax.jit(jax.vmap(lambda x: jr.unroll(cell.step, params, cell.init_state(params), x).ys))
    batch = jr.Batch(xs, jnp.zeros((B, T, H), dtype))
    args = params, cell.initial_states(params, B), batch
    grads = estimate(jr.gradients.full, cell, args).grads
    return (run(xs), grads), (ys.detach().numpy(), _as_ours(name, layer))


def _as_ours(name, layer):
    """torch's gradients; where it adds two biases, either has the gradient of our one."""
    w_x, w_h, b_x, b_h = (
        getattr(layer, f"{part}_l0").grad.numpy() for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if name == "RNN":
        return {"W_hh": w_h, "W_hx": w_x, "b_h": b_x}
    return {"W_h": w_h, "W_x": w_x, "b": b_x} | ({"b_hn": b_h[-H:]} if name == "GRU" else {})


def torch_training() -> Iterator[Row]:
    """Training an LSTM and a readout by Adam, with clipped gradients."""
    torch.manual_seed(1)
    lstm = torch.nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
    head = torch.nn.Linear(H, 2, dtype=torch.float64)
    # torch has two biases a gate; one of them trained is our one.
    lstm.bias_hh_l0.requires_grad_(False)
    ours = {f"rnn.{name}": leaf.clone() for name, leaf in lstm.state_dict().items()}
    ours |= {f"head.{name}": leaf.clone() for name, leaf in head.state_dict().items()}
    cell = jr.adapters.from_torch(ours, prefix="rnn.", readout="head.")
    xs, targets = (torch.randn(B, T, size, dtype=torch.float64) for size in (D, 2))
    weights = [leaf for leaf in (*lstm.parameters(), *head.parameters()) if leaf.requires_grad]
    adam, losses, steps = torch.optim.Adam(weights, lr=1e-2), [], 100
    for _ in range(steps):
        adam.zero_grad()
        loss = 0.5 * ((head(lstm(xs)[0]) - targets) ** 2).sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_value_(weights, 0.01)
        adam.step()
        losses.append(loss.item())
    batch = jr.Batch(jnp.asarray(xs.numpy()), jnp.asarray(targets.numpy()))
    optimizer = optax.chain(optax.clip(0.01), optax.adam(1e-2))
    estimator = jr.gradients.full(cell.step, jr.losses.squared_error)
    options = {"steps": steps, "key": jax.random.key(0), "progress": False}
    got = jr.training.train(cell, estimator, optimizer, [batch] * steps, **options).history.loss[0]
    claim = f"loss at each of {steps} steps of clipped Adam, LSTM"
    yield below(claim, "torch.nn.LSTM, torch.optim.Adam", relative(got, np.array(losses)), 1e-9)


def flax_layers() -> Iterator[Row]:
    """Outputs and all gradients of Flax Linen's own loop over its cells."""
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, D)))
    for make in (nn.SimpleCell, nn.OptimizedLSTMCell, nn.GRUCell):
        layer = nn.RNN(make(H, param_dtype=jnp.float64))
        params = layer.init(jax.random.key(0), xs)["params"]["cell"]

        def objective(params, layer=layer):
            ys = layer.apply({"params": {"cell": params}}, xs)
            return 0.5 * jnp.mean(jnp.sum(ys**2, axis=-1)), ys

        truth, ys = jax.jit(jax.grad(objective, has_aux=True))(params)
        cell = jr.adapters.flax_linen(layer.cell, D)
        run = jax.jit(jax.vmap(lambda x, c=cell, p=params: jr.unroll(c.step, p, c.init_state(p), x).ys))
        args = params, cell.initial_states(params, B), jr.Batch(xs, jnp.zeros((B, T, H)))
        got = estimate(jr.gradients.full, cell, args).grads
        error = np.maximum(relative(run(xs), ys), relative(got, truth))
        yield below(f"outputs and gradients, {make.__name__}", "flax.linen.RNN", error, DTYPES["float64"])


def numpy_by_hand() -> Iterator[Row]:
    """E3 and E4 by a loop over steps and gates."""
    rng = np.random.default_rng(3)
    xs, h_0, c_0 = rng.normal(size=(T, D)), rng.normal(size=H), rng.normal(size=H)
    for name, cell, h, truth in (
        ("LSTM (E3)", jr.cells.lstm(D, H), jr.cells.LSTMState(h_0, c_0), _lstm),
        ("GRU (E4)", jr.cells.gru(D, H), h_0, _gru),
    ):
        params = params_of(cell)
        h = jax.tree.map(jnp.asarray, h)
        ys = jr.unroll(cell.step, params, h, jnp.asarray(xs)).ys
        expected = truth({key: np.asarray(leaf) for key, leaf in params.items()}, h_0, c_0, xs)
        yield below(f"outputs, {name}", "a loop in NumPy", relative(ys, expected), 1e-14)


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _lstm(params, h, c, xs):
    hs = []
    for x in xs:
        i, f, g, o = np.split(params["W_x"] @ x + params["W_h"] @ h + params["b"], 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        hs.append(h)
    return np.stack(hs)


def _gru(params, h, c, xs):
    del c
    (W_r, W_z, W_n), (U_r, U_z, U_n), (b_r, b_z, b_n) = (np.split(params[k], 3) for k in ("W_x", "W_h", "b"))
    hs = []
    for x in xs:
        r, z = _sigmoid(W_r @ x + U_r @ h + b_r), _sigmoid(W_z @ x + U_z @ h + b_z)
        n = np.tanh(W_n @ x + r * (U_n @ h + params["b_hn"]) + b_n)
        h = z * h + (1 - z) * n
        hs.append(h)
    return np.stack(hs)


def mpmath_gradient() -> Iterator[Row]:
    """E5, E6 and E8 for a tanh network in 40 digits."""
    cell, steps = CELLS["tanh"], 40
    params, trajectory, _ = chain_of(cell, steps)
    targets = np.random.default_rng(4).normal(size=(steps, 2))
    batch = jr.Batch(trajectory.xs[None], jnp.asarray(targets)[None])
    h_0 = jax.tree.map(lambda leaf: leaf[None], trajectory.h_0)
    with mpmath.workdps(40):
        truth = _backpropagation(params, np.asarray(trajectory.h_0[0]), np.asarray(trajectory.xs), targets)
    for dtype, bar in DTYPES.items():
        args = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), (params, h_0, batch))
        got = estimate(jr.gradients.full, cell, args).grads
        claim = f"gradient of a tanh network, T = {steps}, {dtype}"
        yield below(claim, "mpmath, 40 digits (E5, E6, E8)", relative(got, truth), bar)


def _backpropagation(params, h_0, xs, targets):
    """The gradient of the mean squared error, as float64."""

    def exactly(array):
        return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(array))

    layer, head = ({key: exactly(leaf) for key, leaf in part.items()} for part in params)
    xs, hs, tanh = exactly(xs), [exactly(h_0)], np.vectorize(mpmath.tanh, otypes=[object])
    for x in xs:
        hs.append(tanh(layer["W_hx"] @ x + layer["W_hh"] @ hs[-1] + layer["b_h"]))
    grads = jax.tree.map(lambda leaf: 0 * leaf, (layer, head))
    dL_dh = 0 * hs[0]
    for t in reversed(range(len(xs))):
        h = hs[t + 1]
        dL_do = (head["W"] @ h + head["b"] - exactly(targets[t])) / len(xs)
        dL_dh = dL_dh + head["W"].T @ dL_do
        delta = (1 - h * h) * dL_dh
        grads[1]["W"] += np.outer(dL_do, h)
        grads[1]["b"] += dL_do
        grads[0]["W_hx"] += np.outer(delta, xs[t])
        grads[0]["W_hh"] += np.outer(delta, hs[t])
        grads[0]["b_h"] += delta
        dL_dh = layer["W_hh"].T @ delta
    return jax.tree.map(lambda leaf: leaf.astype(float), grads)


def mpmath_spectra() -> Iterator[Row]:
    """Singular values of a long chain by mpmath's SVD of its product."""
    for name in ("tanh", "LSTM"):
        steps, digits = 100, 300
        _, _, js = chain_of(CELLS[name], steps)
        js = js[:, :H, :H] if name == "tanh" else js
        with mpmath.workdps(digits):
            product = mpmath.eye(js.shape[1])
            for J in np.asarray(js):
                product = mpmath.matrix(J.tolist()) * product
            truth = np.array([float(mpmath.log(s)) for s in mpmath.svd_r(product, compute_uv=False)])
        got = spectrum(js)
        claim = f"ln σ of {steps} steps, {name}, down to {truth[-1]:.0f}"
        reference = f"mpmath's SVD, {digits} digits; in nats"
        yield below(claim, reference, np.max(np.abs(got.log_sigma - truth)), 1e-8)
        claim = f"ln of the norm of {steps} steps, {name}"
        error = abs(float(norms(js, at=(steps,)).log_norm[0, 0]) - truth[0])
        yield below(claim, reference, error, 1e-11)


CHECKS = (torch_layers, torch_training, flax_layers, numpy_by_hand, mpmath_gradient, mpmath_spectra)
