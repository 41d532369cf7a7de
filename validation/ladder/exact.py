"""Tier 1: answers that are known exactly, from a formula or from mpmath's digits."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import jaxrnn as jr
from validation import closed_forms
from validation.harness import LN10, difference
from validation.ladder.problems import (
    D,
    H,
    chain,
    constant,
    estimate,
    growth_rates,
    norms,
    params_of,
    problem,
    product_of,
    rates_of_map,
    spectrum,
)
from validation.ladder.row import DTYPES, Row, below, cast, equal, number, relative


def linear_network() -> Iterator[Row]:
    """The gradient of a linear network, by E7's powers of W_hh and E8's sums, in NumPy."""
    cell = jr.cells.stack(jr.cells.elman(D, H, activation="linear"), jr.cells.dense(H, 2))
    params, h_0, batch = problem(cell, 1, 20)
    (W_hx, W_hh, b), (V, c) = (
        [np.asarray(layer[name]) for name in names]
        for layer, names in zip(params, (("W_hx", "W_hh", "b_h"), ("W", "b")), strict=True)
    )
    hs = [np.asarray(h_0[0][0])]
    for x in np.asarray(batch.xs[0]):
        hs.append(W_hx @ x + W_hh @ hs[-1] + b)
    hs, T = np.stack(hs), 20
    dL_do = (hs[1:] @ V.T + c - np.asarray(batch.targets[0])) / T
    powers = [np.linalg.matrix_power(W_hh.T, s) for s in range(T)]
    dL_dh = np.stack([sum(powers[s - t] @ V.T @ dL_do[s] for s in range(t, T)) for t in range(T)])
    truth = (
        {"W_hh": dL_dh.T @ hs[:-1], "W_hx": dL_dh.T @ np.asarray(batch.xs[0]), "b_h": dL_dh.sum(0)},
        {"W": dL_do.T @ hs[1:], "b": dL_do.sum(0)},
    )
    for dtype, bar in DTYPES.items():
        got = estimate(jr.gradients.full, cell, cast((params, h_0, batch), dtype)).grads
        reference = "E7 and E8: powers of W_hh in NumPy"
        yield below(f"gradient of a linear network, T = 20, {dtype}", reference, relative(got, truth), bar)


def two_steps_by_hand() -> Iterator[Row]:
    """h_1 = tanh(w h_0 + u x_1), h_2 likewise, L = ½(h_2 - y)²: the chain rule written out."""
    w, u, h_0, x_1, x_2, y = 0.7, -1.3, 0.4, 0.9, 0.2, 0.5
    with mpmath.workdps(50):
        h_1 = mpmath.tanh(mpmath.mpf(w) * h_0 + mpmath.mpf(u) * x_1)
        h_2 = mpmath.tanh(w * h_1 + mpmath.mpf(u) * x_2)
        delta_2 = (h_2 - y) * (1 - h_2**2)
        delta_1 = delta_2 * w * (1 - h_1**2)
        truth = {
            "W_hh": [[float(delta_2 * h_1 + delta_1 * h_0)]],
            "W_hx": [[float(delta_2 * x_2 + delta_1 * x_1)]],
            "b_h": [float(delta_1 + delta_2)],
        }
    params = {"W_hh": jnp.array([[w]]), "W_hx": jnp.array([[u]]), "b_h": jnp.zeros(1)}
    truth = {name: np.array(truth[name]) for name in params}
    batch = jr.Batch(jnp.array([[[x_1], [x_2]]]), jnp.array([[[0.0], [y]]]), jnp.array([[0.0, 1.0]]))
    args = (params, jnp.array([[h_0]]), batch)
    for name, make in (("full", jr.gradients.full), ("rtrl", jr.gradients.rtrl)):
        got = estimate(make, jr.cells.elman(1, 1), args).grads
        reference = "the chain rule by hand, 50 digits"
        yield below(f"gradient of two tanh steps, {name}", reference, relative(got, truth), 1e-14)


def scalar_slopes() -> Iterator[Row]:
    """One unit at a fixed point: the slope is the same at every step."""
    T = 1000
    w = np.arctanh(0.5) / 0.5
    cases = {
        "tanh at its fixed point ½: (¾w)^1000": ("tanh", w, 0.0, w * 0.75),
        "sigmoid at z = 0: (w/4)^1000": ("sigmoid", 3.0, -1.5, 0.75),
    }
    for claim, (activation, weight, bias, slope) in cases.items():
        cell = jr.cells.elman(1, 1, activation=activation)
        for dtype, bar in (("float64", 1e-12), ("float32", 1e-4)):
            params = {"W_hh": [[weight]], "W_hx": [[0.0]], "b_h": [bias]}
            params = {name: jnp.asarray(leaf, dtype) for name, leaf in params.items()}
            _, js = chain(cell, params, jnp.full(1, 0.5, dtype), jnp.zeros((T, 1), dtype))
            got = float(norms(js, at=(T,)).log_norm[0, 0])
            truth = T * np.log(slope)
            reference = "the formula; relative error of the logarithm"
            yield below(f"{claim}, {dtype}", reference, abs(got / truth - 1), bar)


def diagonal_rates() -> Iterator[Row]:
    """Growth rates of a constant diagonal step are the logarithms of its entries."""
    for dtype, bar in (("float64", 1e-15), ("float32", 1e-6)):
        got = growth_rates(constant(np.diag([0.5, 3.0, 1e-3, 1.0]), 1000, dtype)).rates
        error = relative(got, np.log([3, 1, 0.5, 1e-3]))
        yield below(f"growth rates of diag(½, 3, 10⁻³, 1), {dtype}", "ln of the entries", error, bar)


def maps() -> Iterator[Row]:
    """Two maps whose exponents are logarithms of known numbers."""
    logistic = rates_of_map(lambda _, h, x: (4 * h * (1 - h), x), [0.3], 100_000)
    yield number("growth rate of h ← 4h(1 - h), 10⁵ steps", "ln 2", logistic.rates, np.log(2), 1e-3, digits=5)
    cat = rates_of_map(
        lambda _, h, x: (jnp.mod(jnp.stack([2 * h[0] + h[1], h[0] + h[1]]), 1.0), x), [0.1, 0.2], 1000, 100
    )
    golden = 2 * np.log((1 + np.sqrt(5)) / 2)
    error = np.max(np.abs(cat.rates - [golden, -golden]))
    yield below("growth rates of the cat map", "±2 ln of the golden ratio", error, 1e-13)


def tiny_products() -> Iterator[Row]:
    """Singular values down to 1e-10000 of graded chains."""
    chains = closed_forms.chains(4, np.array(closed_forms.GRADES[4]))
    for kind in ("diagonal", "rotated anew at every step"):
        js, log2_sigma = chains[kind]
        truth = np.log(2) * np.sort(log2_sigma)[::-1]
        for dtype, bar in closed_forms.BAR.items():
            error = difference(spectrum(js.astype(dtype)).log_sigma, truth).max() / LN10
            claim = f"σ of a chain down to 1e{truth[-1] / LN10:.0f}, {kind}, {dtype}"
            yield below(claim, "powers of 2; in decades", error, bar)


def orthogonal_and_nilpotent() -> Iterator[Row]:
    """Chains that neither grow nor shrink, and one that ends."""
    A = np.random.default_rng(0).normal(size=(1000, 8, 8))
    js = jnp.asarray(np.linalg.qr(A)[0])
    error = np.max(np.abs(spectrum(js).log_sigma))
    yield below("ln σ of 1000 orthogonal steps, n = 8", "0", error, 1e-12)
    table = np.asarray(norms(constant(np.eye(4, k=1), 12)).log_norm)
    lag = np.arange(13)[:, None] - np.arange(13)
    truth = np.where((lag >= 0) & (lag < 4), 0.0, -np.inf)
    yield equal("ln norms of a nilpotent chain, n = 4", "0 below lag 4, then -∞", table, truth)


def gates() -> Iterator[Row]:
    """E16: without recurrent weights ∂c_T/∂c_0 = Π f_t; and a GRU with z = 1 keeps its state."""
    T, cell = 60, jr.cells.lstm(D, H)
    params = params_of(cell) | {"W_h": jnp.zeros((4 * H, H))}
    xs = jnp.asarray(np.random.default_rng(2).normal(size=(T, D)))
    _, js = chain(cell, params, cell.init_state(params), xs)
    log_norm = jax.jit(
        lambda js: jr.jacobians.block_norms(js, cell.init_state(params), at=[T])["c"]["c"].log_norm
    )(js)
    z = np.asarray(xs @ params["W_x"][H : 2 * H].T + params["b"][H : 2 * H])
    truth = np.max(np.sum(-np.log1p(np.exp(-z)), axis=0))
    error = abs(float(log_norm[0, 0]) - truth)
    yield below(f"ln norm of ∂c_{T}/∂c_0, LSTM with W_h = 0", "E16: Σ ln f_t in NumPy", error, 1e-12)
    cell = jr.cells.gru(D, H)
    params = params_of(cell)
    params |= {"b": params["b"].at[H : 2 * H].set(1e4)}
    trajectory, _ = chain(cell, params, jnp.full(H, 0.3), xs)
    product = product_of(cell, params, trajectory, T, 0)
    yield equal("∂h_60/∂h_0 of a GRU with z = 1", "the identity", product, np.eye(H))


CHECKS = (
    linear_network,
    two_steps_by_hand,
    scalar_slopes,
    diagonal_rates,
    maps,
    tiny_products,
    orthogonal_and_nilpotent,
    gates,
)
