# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Jacobian spectra: when does the gradient of a recurrent network vanish or explode?
#
# A recurrent network is one function applied again and again, $h_t = f(x_t, h_{t-1})$. How much the state
# at step $t$ still depends on the state at step $k$ is the Jacobian
#
# $$\frac{\partial h_t}{\partial h_k} = J_t J_{t-1} \cdots J_{k+1}, \qquad
#   J_t = \frac{\partial h_t}{\partial h_{t-1}} \qquad \text{(E12)}$$
#
# and backpropagation through time multiplies by its transpose. If its norm decays with the lag $t-k$, the
# gradient of a late loss with respect to an early step vanishes; if it grows, that gradient explodes.
# Every number in the text below is asserted in the code beside it. Numbers E11–E15 refer to the equation
# table in the documentation ("From the lecture to the library").

# %% [markdown]
# ## 1. Ten lines: every pair of steps at once

# %%
import jax

import jaxrnn as jr

cell = jr.cells.elman(input_size=3, hidden_size=32)  # h_t = tanh(W_hx x_t + W_hh h_{t-1} + b_h)
params = cell.init(jax.random.key(0))
xs = jax.random.normal(jax.random.key(1), (80, 3))  # one sequence of T = 80 steps
trajectory = jr.unroll(cell.step, params, cell.init_state(params), xs)
js = jr.jacobians.step_jacobians(cell.step, params, trajectory)  # [80, 32, 32]
norms = jr.jacobians.norms(js)  # ln of the norm at [t, k]
ax = jr.plots.plot_norms(norms)
# %% [markdown]
# Row $t$, column $k$: how strongly step $k$ is still felt at step $t$. White is a norm of 1, blue has
# decayed. The recurrent matrix starts orthogonal and keeps every length, so all decay is due to the slope
# of tanh: 20 nats, or 8.6 decades, over 80 steps. The library computes in nats; pictures show decimal
# logarithms.
#
# Three checks before we trust it. The step Jacobian is the formula of the lecture,
# $J_t = \mathrm{diag}(1 - h_t^2)\, W_{hh}$ (E11). The table agrees with the definition, automatic
# differentiation through the whole segment (E12). And every norm obeys the bounds (E14)
#
# $$\left\|\frac{\partial h_t}{\partial h_k}\right\|_2 \;\le\; \prod_{i=k+1}^{t} \|J_i\|_2
#   \;\le\; (\gamma\lambda)^{t-k}, \qquad \gamma = \sup|\varphi'|, \quad \lambda = \|W_{hh}\|_2 .$$

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np


def check(what, value, expected, tolerance):
    """Print a number of the text, and fail if the text is wrong."""
    value = float(value)
    print(f"{what}: {value:.4g}")
    assert abs(value - expected) <= tolerance, f"{what} is {value}; the text says {expected}"


T = len(js)
lags = np.arange(T + 1)
formula = (1 - trajectory.hs**2)[:, :, None] * params["W_hh"]
check("largest deviation of J_t from E11", jnp.max(jnp.abs(js - formula)), 0, 1e-6)

by_definition = jr.jacobians.product(cell.step, params, trajectory, t=50, k=20)  # jax.jacrev, 30 steps
log_norm = jnp.log(jnp.linalg.norm(by_definition, 2))
check("deviation of ln ‖∂h_50/∂h_20‖ from jacrev (nats)", norms.log_norm[50, 20] - log_norm, 0, 1e-4)

middle = jr.jacobians.product_bound(js)
pairs = np.tril_indices(T + 1, -1)
assert np.all(norms.log_norm[pairs] <= middle[pairs] + 1e-4)
bound = jr.jacobians.norm_bound(params["W_hh"], lags, gamma=jr.cells.activations.tanh.gamma)
assert np.all(middle[pairs] <= bound[pairs[0] - pairs[1]] + 1e-4)

check("ln ‖∂h_T/∂h_0‖₂ (nats)", norms.log_norm[T, 0], -19.9, 0.2)
assert np.all(norms.certified)

# %% [markdown]
# ## 2. What one step can do: the slope of the activation (E13)
#
# tanh has slope at most $\gamma = 1$, the sigmoid at most $\gamma = 1/4$. So a sigmoid network with
# $\lambda < 4$ must forget. Both are flat when saturated: at a pre-activation of 10 the sigmoid's slope is
# 4.5e-5.

# %%
tanh, sigmoid = jr.cells.activations.tanh, jr.cells.activations.sigmoid
check("γ of tanh", tanh.gamma, 1, 0)
check("γ of sigmoid", sigmoid.gamma, 0.25, 0)
check("sigmoid'(0)", jax.grad(sigmoid)(0.0), 0.25, 1e-7)
check("sigmoid'(10)", jax.grad(sigmoid)(10.0), 4.54e-5, 1e-7)

# %% [markdown]
# ## 3. Turn the gain: the norm against the lag
#
# Now $W_{hh} = g\,G$, where $G$ has independent Gaussian entries of variance $1/n$. For large $n$ its
# spectral radius is $g$, but its norm is $\lambda = 2g$: the bound of E14 speaks of the norm. We draw the
# median over all pairs of the same lag in two sequences, with a band from 10 % to 90 %, and the bound
# dashed.

# %%
n, d = 32, 3
gains = np.array([0.5, 0.75, 1.0, 1.25, 1.5, 2.0])
key_W, key_x, key_h = jax.random.split(jax.random.key(2), 3)
G = jax.random.normal(key_W, (n, n)) / np.sqrt(n)
sequences = jax.random.normal(key_x, (2, T, d))


def step_jacobians(cell, params, xs):
    trajectory = jr.unroll(cell.step, params, cell.init_state(params), xs)
    return jr.jacobians.step_jacobians(cell.step, params, trajectory)


@jax.jit
def norms_at_gain(gain):
    """The norms of all pairs, for two sequences."""
    js = jax.vmap(lambda xs: step_jacobians(cell, params | {"W_hh": gain * G}, xs))(sequences)
    return jax.vmap(jr.jacobians.norms)(js)


tables = [norms_at_gain(gain) for gain in gains]
assert all(np.all(table.certified) for table in tables)
by_lag = [jr.jacobians.norm_by_lag(table) for table in tables]

# %%
to_log10 = 1 / np.log(10)
colors = plt.colormaps["viridis"](np.linspace(0, 0.9, len(gains)))
_, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for gain, curve, color in zip(gains, by_lag, colors, strict=True):
    ax.plot(lags, curve.median * to_log10, color=color, label=f"{gain:g}")
    ax.fill_between(lags, curve.low * to_log10, curve.high * to_log10, color=color, alpha=0.2, linewidth=0)
    bound = jr.jacobians.norm_bound(gain * G, lags, gamma=tanh.gamma)
    ax.plot(lags, bound * to_log10, "--", color=color, linewidth=0.9)
ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
ax.set(xlabel="lag t − k (steps)", ylabel=r"$\log_{10}\,\|\partial h_t/\partial h_k\|_2$", ylim=(-24, 12))
ax.legend(title="gain g", fontsize="small", ncols=2, loc="lower left")
plt.show()

# %% [markdown]
# At $g = 0.5$ the norm loses 0.36 decades a step and at $g = 1$ still 0.10; at $g = 2$ it grows. The bound
# (dashed) is far above: $\gamma\lambda < 1$ is *sufficient* for vanishing, $\gamma\lambda > 1$ is
# *necessary* for exploding but not sufficient. Here $\gamma\lambda$ exceeds 1 already at $g = 0.75$, where
# the gradient vanishes.

# %%
decades_per_step = {g: float(c.median[-1] * to_log10 / T) for g, c in zip(gains, by_lag, strict=True)}
check("decades per step at g = 0.5", decades_per_step[0.5], -0.36, 0.02)
check("decades per step at g = 1", decades_per_step[1.0], -0.10, 0.01)
assert decades_per_step[2.0] > 0
check("λ at g = 0.75", 0.75 * jnp.linalg.norm(G, 2), 1.4, 0.1)

# %% [markdown]
# ## 4. Watch the spectrum cross
#
# The norm is only the largest of $n$ singular values (E15). `spectrum` gives them all, however small.
# Below are those of $\partial h_T/\partial h_{T-20}$ against the gain, one line each. A direction above
# the dotted line is amplified over 20 steps, one below it shrinks.

# %%
sweep = np.linspace(0.5, 2.0, 13)
lag = 20


@jax.jit
@jax.vmap
def spectrum_at_gain(gain):
    js = step_jacobians(cell, params | {"W_hh": gain * G}, sequences[0])
    return jr.jacobians.spectrum(js, t=T, k=T - lag)


spectra = spectrum_at_gain(sweep)
assert np.all(spectra.certified)
growing = np.sum(spectra.log_sigma > 0, axis=1)

colors = plt.colormaps["viridis_r"](np.linspace(0.05, 1, n))
_, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for i in range(n):
    left.plot(sweep, spectra.log_sigma[:, i] * to_log10, ".-", color=colors[i], markersize=3, linewidth=0.8)
left.axhline(0, color="0.4", linewidth=0.9, linestyle=":")
left.set(xlabel="gain g", ylabel=r"$\log_{10}\,\sigma_i(\partial h_T/\partial h_{T-20})$", ylim=(-16, 3))
right.step(sweep, growing, where="mid", color="k")
right.set(xlabel="gain g", ylabel="directions that grow over 20 steps", yticks=range(6))
plt.show()
for gain in (0.5, 1.0, 2.0):
    print(f"g = {gain}: {growing[np.isclose(sweep, gain)][0]} of {n} directions grow")

# %% [markdown]
# No direction grows up to $g = 1.25$; at $g = 2$ three of the 32 do, while all others shrink. Exploding
# and vanishing are no alternatives: one product does both, in different directions. More gain also means
# more saturation, which is why the smallest values fall again (the last ones lie below the picture).

# %%
assert np.all(growing[sweep <= 1.25] == 0)
check("growing directions at g = 2", growing[-1], 3, 0)
assert spectra.log_sigma[-1, -1] < spectra.log_sigma[0, -1]

# %% [markdown]
# The same as a fan against the lag: where few lines stay up while the others fall, few directions of the
# past are remembered.

# %%
fan = jax.jit(jr.jacobians.spectrum_fan)
fan_lags = np.array([1, 2, 4, 8, 12, 16, 24, 32, 40])
_, axes = plt.subplots(1, 3, figsize=(12.5, 4), sharey=True, layout="constrained")
for ax, gain in zip(axes, (0.5, 1.0, 2.0), strict=True):
    js = step_jacobians(cell, params | {"W_hh": gain * G}, sequences[0])
    jr.plots.plot_spectrum_fan(fan_lags, fan(js, fan_lags), ax=ax)
    ax.set_title(f"gain {gain:g}")
    ax.label_outer()
axes[0].set_ylim(-60, 5)
plt.show()

# %% [markdown]
# ## 5. Growth rates: autonomous and driven networks
#
# Over long times the singular values grow exponentially, each at its rate (Lyapunov exponent) $\lambda_i$
# in nats per step (not to be confused with $\lambda = \|W_{hh}\|_2$). A large *autonomous* network
# $h_t = \tanh(W_{hh} h_{t-1})$ is a textbook case: with Gaussian $W_{hh}$ the pre-activations become
# Gaussian with a variance $q$ that reproduces itself, and the largest rate follows,
#
# $$q = \sigma^2 + g^2\, \mathbb{E} \tanh^2(\sqrt q\, u), \qquad
#   \lambda_1 = \tfrac12 \ln\!\left(g^2\, \mathbb{E}\,(1 - \tanh^2(\sqrt q\, u))^2\right),
#   \qquad u \sim N(0, 1).$$
#
# Here $\sigma$ is the strength of white noise that enters each unit: without input, $\sigma = 0$, the
# origin loses its stability at $g = 1$ exactly, and beyond lies chaos (Sompolinsky, Crisanti & Sommers
# 1988, in continuous time). With input the units move towards saturation, slopes fall, and the transition
# moves up (Molgedey, Schuchhardt & Schuster 1992).

# %%
nodes, node_weights = np.polynomial.hermite_e.hermegauss(101)
node_weights = node_weights / node_weights.sum()


def mean_field_rate(gain, sigma):
    """λ_1 of a network of infinitely many units."""
    q = 1.0
    for _ in range(3000):
        q = sigma**2 + gain**2 * node_weights @ np.tanh(np.sqrt(q) * nodes) ** 2
    return 0.5 * np.log(gain**2 * node_weights @ (1 - np.tanh(np.sqrt(q) * nodes) ** 2) ** 2)


for gain, rate in {1.2: 0.0165, 1.5: 0.0652, 2.0: 0.1547}.items():
    check(f"mean-field λ_1 at g = {gain}, no input", mean_field_rate(gain, 0.0), rate, 1e-4)

N, steps, warm_up, networks = 200, 500, 200, 3
big = jr.cells.elman(N, N)


@jax.jit
def leading_rates(gain, sigma, key):
    """λ_1 and its standard error, of a few random networks."""

    def one(key):
        key_W, key_x, key_h = jax.random.split(key, 3)
        params = {
            "W_hx": sigma * jnp.eye(N),
            "W_hh": gain * jax.random.normal(key_W, (N, N)) / jnp.sqrt(N),
            "b_h": jnp.zeros(N),
        }
        xs = jax.random.normal(key_x, (steps, N))
        trajectory = jr.unroll(big.step, params, jax.random.normal(key_h, (N,)), xs)
        later = jax.tree.map(lambda leaf: leaf[warm_up:], trajectory._replace(h_0=None))
        later = later._replace(h_0=trajectory.hs[warm_up - 1])
        js = jr.jacobians.step_jacobians(big.step, params, later)
        rates = jr.jacobians.growth_rates(js, k=1)
        return rates.rates[0], rates.standard_error[0]

    return jax.lax.map(one, jax.random.split(key, networks))


# %%
measured_gains = np.array([0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
curve_gains = np.linspace(0.5, 2.0, 61)
_, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
rates = {}
for sigma, label, color in ((0.0, "autonomous", "#0072B2"), (0.5, "driven, σ = 0.5", "#D55E00")):
    rate, error = (
        np.array(column)
        for column in zip(*(leading_rates(g, sigma, jax.random.key(3)) for g in measured_gains), strict=True)
    )
    rates[sigma] = rate.mean(axis=1)
    # The error in time of one network, and the spread over networks, whichever is larger.
    bar = np.maximum(error.max(axis=1), rate.std(axis=1, ddof=1)) / np.sqrt(networks)
    ax.errorbar(
        measured_gains, rates[sigma], 2 * bar, fmt="o", markersize=4, capsize=3, color=color, label=label
    )
    ax.plot(curve_gains, [mean_field_rate(g, sigma) for g in curve_gains], "-", color=color, linewidth=1)
ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
ax.set(xlabel="gain g", ylabel=r"largest growth rate $\lambda_1$ (nats per step)")
ax.legend(title=f"{networks} networks of {N} units, ±2 s.e.\nlines: infinitely many units", fontsize="small")
plt.show()

# %% [markdown]
# Without input the crossing is at $g = 1$. White noise of standard deviation 0.5 moves it to $g = 1.55$:
# at $g = 1.25$ the driven network forgets its initial state at 0.12 nats a step, and its gradient
# vanishes, while a large network left alone is chaotic. A diagnosis without the inputs would mislead.
# Driven networks of 200 units agree with the limit of many units within 0.03; without input, finite
# networks deviate more: at $g = 1.25$ these have $\lambda_1 \approx 0$ and are not chaotic yet, where the
# limit is 0.024.


# %%
def crossing(sigma, low=0.9, high=2.0):
    """The gain at which the mean-field rate is zero, by bisection."""
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if mean_field_rate(middle, sigma) < 0 else (low, middle)
    return middle


check("mean-field crossing, driven", crossing(0.5), 1.55, 0.01)
assert np.sign(rates[0.0][measured_gains == 0.75]) < 0 < np.sign(rates[0.0][measured_gains == 1.75])
check("measured λ_1 at g = 0.5, autonomous; the limit is ln 0.5", rates[0.0][0], np.log(0.5), 0.06)
check("measured λ_1 at g = 1.25, driven", rates[0.5][measured_gains == 1.25].item(), -0.12, 0.02)
driven_limit = [mean_field_rate(g, 0.5) for g in measured_gains]
check("largest deviation from the limit, driven", np.max(np.abs(rates[0.5] - driven_limit)), 0, 0.03)
check("measured λ_1 at g = 1.25, autonomous", rates[0.0][measured_gains == 1.25].item(), 0, 0.015)
check("mean-field λ_1 at g = 1.25, autonomous", mean_field_rate(1.25, 0.0), 0.0235, 0.0005)

# %% [markdown]
# ## 6. Gates, for contrast
#
# The LSTM's memory obeys $c_t = f_t \odot c_{t-1} + i_t \odot g_t$, so its Jacobian contains
# $\mathrm{diag}(f_t)$; the GRU's contains $\mathrm{diag}(z_t)$ (E16). How much that helps depends on the
# bias of the gate. A forget bias of 1 ($\sigma(1) = 0.73$) slows the decay, and an untrained GRU with
# biases 0 decays *faster* than the vanilla network of gain 1. With a bias of 5 ($\sigma(5) = 0.993$) both
# keep their past; the norm of the LSTM even grows.

# %%
xs = sequences[0]
key = jax.random.key(4)
lstm = jr.cells.lstm(d, n)
open_lstm = jr.cells.lstm(d, n, forget_bias=5.0)
gru = jr.cells.gru(d, n)
gru_params = gru.init(key)
open_gru_params = gru_params | {"b": gru_params["b"].at[n : 2 * n].set(5.0)}  # gates r, z, n
gated = {
    "Elman, g = 1": (cell, params | {"W_hh": G}),
    "GRU": (gru, gru_params),
    "LSTM, forget bias 1": (lstm, lstm.init(key)),
    "GRU, update bias 5": (gru, open_gru_params),
    "LSTM, forget bias 5": (open_lstm, open_lstm.init(key)),
}
table = jax.jit(jr.jacobians.norms)
colors = ["#000000", "#0072B2", "#D55E00", "#0072B2", "#D55E00"]
styles = ["-", "-", "-", "--", "--"]
at_end = {}
_, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for (name, (gated_cell, p)), color, style in zip(gated.items(), colors, styles, strict=True):
    result = table(step_jacobians(gated_cell, p, xs))
    median = jr.jacobians.norm_by_lag(result).median
    at_end[name] = median[-1] * to_log10
    ax.plot(lags, median * to_log10, style, color=color, label=name)
ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
ax.set(xlabel="lag t − k (steps)", ylabel=r"$\log_{10}\,\|\partial h_t/\partial h_k\|_2$, median")
ax.legend(fontsize="small")
plt.show()
for name, decades in at_end.items():
    print(f"{name}: {decades:+.1f} decades at lag {T}")

# %% [markdown]
# The state of the LSTM is the pair $(h, c)$, so its Jacobian is 64 × 64 here.

# %%
assert step_jacobians(lstm, gated["LSTM, forget bias 1"][1], xs).shape == (T, 2 * n, 2 * n)
check("σ(1)", sigmoid(1.0), 0.73, 0.005)
check("σ(5)", sigmoid(5.0), 0.993, 0.0005)
assert at_end["GRU"] < at_end["Elman, g = 1"] < at_end["LSTM, forget bias 1"] < -2
assert -1 < at_end["GRU, update bias 5"] < 0 < at_end["LSTM, forget bias 5"]

# %% [markdown]
# ## 7. Why logarithms: the raw product underflows
#
# At $g = 0.5$ a product of float32 matrices is exactly zero after about 120 steps, and says nothing from
# there on. `norms` keeps every product as a mantissa and an integer exponent, so that nothing underflows,
# and comes with an error bound; a pair whose bound is below 0.23 nats (a tenth of a decade) is
# `certified`. NumPy's float64 reaches down to 1e-308 and serves as the reference here.

# %%
long = jax.random.normal(key_x, (200, d))
long_js = step_jacobians(cell, params | {"W_hh": 0.5 * G}, long)
scaled = table(long_js)
raw32, raw64 = np.eye(n, dtype=np.float32), np.eye(n)
raw_norms = []
for J in np.asarray(long_js):
    raw32, raw64 = J @ raw32, J.astype(np.float64) @ raw64
    raw_norms.append((np.linalg.norm(raw32.astype(np.float64), 2), np.linalg.norm(raw64, 2)))
raw_norms = np.array(raw_norms)
first_zero = 1 + int(np.argmax(raw_norms[:, 0] == 0))
check("first step at which the float32 product is exactly zero", first_zero, 120, 8)
check("ln ‖∂h_200/∂h_0‖₂ of norms, float32 (nats)", scaled.log_norm[200, 0], -171, 3)
deviation = np.abs(scaled.log_norm[1:, 0] - np.log(raw_norms[:, 1]))
assert np.all(deviation <= scaled.log_error[1:, 0]) and np.all(scaled.certified[1:, 0])
check("largest deviation from float64 (nats)", np.max(deviation), 0, 1e-3)

_, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
long_lags = np.arange(1, 201)
ax.plot(
    long_lags,
    scaled.log_norm[1:, 0] * to_log10,
    color="#0072B2",
    linewidth=3,
    alpha=0.5,
    label="norms, float32",
)
ax.plot(long_lags, np.log10(raw_norms[:, 1]), "k--", linewidth=1, label="raw product, float64")
alive = raw_norms[:, 0] > 0
ax.plot(
    long_lags[alive],
    np.log10(raw_norms[alive, 0]),
    color="#D55E00",
    linewidth=1.2,
    label="raw product, float32",
)
ax.plot(
    first_zero,
    np.log10(raw_norms[alive, 0][-1]),
    "x",
    color="#D55E00",
    label=f"exactly 0 from step {first_zero}",
)
ax.set(xlabel="step t", ylabel=r"$\log_{10}\,\|\partial h_t/\partial h_0\|_2$")
ax.legend(fontsize="small")
plt.show()

# %% [markdown]
# ## What to try next
#
# Replace the activation (`jr.cells.elman(3, 32, activation="relu")`) or the inputs by your own, and look
# again at section 4. `jr.diagnose` does all of this on a trained network and its loss, and gives a
# verdict.
