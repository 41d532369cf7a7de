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
# # Vanishing, exploding, and what helps
#
# The gradient that reaches step $k$ from step $t$ has passed $t - k$ step Jacobians (E12). Why their product
# vanishes or explodes, and what each remedy does about it. Every number in the text is asserted in the code
# beside it; E12 to E21 refer to "From the lecture to the library" in the documentation.
#
# ## 1. The slope of the activation
#
# $\gamma$ is the largest slope: $\sigma' = \sigma(1 - \sigma) \le 1/4$, $\tanh' = 1 - \tanh^2 \le 1$ (E13).

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxrnn as jr
from jaxrnn.cells.activations import sigmoid, tanh

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")


def check(what, value, expected, tolerance):
    """Print a number of the text, and fail if the text is wrong."""
    value = float(value)
    print(f"{what}: {value:.4g}")
    assert abs(value - expected) <= tolerance, f"{what} is {value}; the text says {expected}"


zs = jnp.linspace(-10, 10, 401)
_, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for activation, said, color in ((sigmoid, 4.5e-5, COLORS[0]), (tanh, 8.2e-9, COLORS[1])):
    slope = jax.vmap(jax.grad(activation))(zs)
    for ax in axes:
        ax.plot(zs, slope, color=color, label=f"{activation.name}', γ = {activation.gamma:g}")
        ax.set(xlabel="pre-activation z", ylabel="slope φ'(z)")
    check(f"largest slope of {activation.name}, its γ", slope.max(), activation.gamma, 1e-6)
    check("its slope at z = 10, relative to the text", slope[-1] / said, 1, 0.01)
axes[1].set_yscale("log")
axes[0].legend(fontsize="small")
plt.show()
check("log10 of thirty factors of 1/4", 30 * np.log10(sigmoid.gamma), -18, 0.1)

# %% [markdown]
# The sigmoid loses a factor of 4 a step at best: after 30 steps $10^{-18}$ is left. tanh loses nothing at
# $z = 0$. At $z = 10$ both are flat (right): $4.5\cdot10^{-5}$ and $8.2\cdot10^{-9}$.
#
# ## 2. A linear network: powers of one matrix
#
# Without an activation $\partial h_t/\partial h_k = W_{hh}^{\,t-k}$. Let $W_{hh} = g\,Q$ with an orthogonal
# $Q$: the norm is exactly $g^{\,t-k}$.

# %%
T, n, d, rng = 100, 16, 2, np.random.default_rng(0)
steps, to_log10 = np.arange(T + 1), 1 / np.log(10)
Q = jnp.asarray(np.linalg.qr(rng.normal(size=(n, n)))[0], jnp.float32)
norms, block_norms = jax.jit(jr.jacobians.norms), jax.jit(jr.jacobians.block_norms)


def of_first(js):
    """log10 ‖∂h_t/∂h_0‖₂ for t = 0..T: what is left of the gradient of the first step."""
    found = norms(js)
    assert np.all(found.certified[:, 0])
    return np.asarray(found.log_norm[:, 0]) * to_log10


def check_at(what, curve, at_30, at_100):
    check(f"{what}, 30 steps (decades)", curve[30], at_30, 0.06)
    check(f"{what}, 100 steps (decades)", curve[100], at_100, 0.06)


def draw(curves, styles=("-", "-", "-")):
    _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, curve), color, style in zip(curves.items(), COLORS[: len(curves)], styles, strict=True):
        ax.plot(steps, curve, style, color=color, label=name)
    ax.axvline(30, color="0.6", linewidth=0.8, linestyle="--")
    ax.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(xlabel="step t", ylabel=r"$\log_{10}\,\|\partial h_t/\partial h_0\|_2$")
    ax.legend(fontsize="small")
    return ax


linear = {f"gain {g}": of_first(jnp.broadcast_to(g * Q, (T, n, n))) for g in (1.1, 1.0, 0.9)}
draw(linear)
plt.show()
for g, at_30, at_100 in ((1.1, 17.4, 13_800), (1.0, 1, 1), (0.9, 0.042, 2.7e-5)):
    curve = linear[f"gain {g}"]
    check(f"largest deviation from {g}^t (decades)", np.abs(curve - steps * np.log10(g)).max(), 0, 1e-4)
    check(f"{g}^30", 10 ** curve[30], at_30, 0.01 * at_30)
    check(f"{g}^100", 10 ** curve[100], at_100, 0.02 * at_100)

# %% [markdown]
# A gain of 0.9 leaves 0.042 after 30 steps and $2.7\cdot10^{-5}$ after 100; 1.1 makes it 17.4 and 13,800.
# Only a gain of 1 keeps the gradient.
#
# ## 3. The bound, and what is measured
#
# With an activation, $\|\partial h_t/\partial h_k\|_2 \le (\gamma\lambda)^{t-k}$, $\lambda = \|W_{hh}\|_2$
# (E14). $\gamma\lambda < 1$ is sufficient for vanishing; $\gamma\lambda > 1$ is necessary for exploding, but
# not sufficient. Three networks with $W_{hh} = \lambda Q$ read the same 100 steps, a value and a marker each:

# %%
xs = jnp.asarray(np.stack([rng.uniform(size=T), np.arange(T) % 50 == 7], axis=1), jnp.float32)
weights = {"W_hx": jnp.asarray(rng.normal(size=(n, d)) / 2, jnp.float32), "W_hh": Q, "b_h": jnp.zeros(n)}


@partial(jax.jit, static_argnums=0)
def run(step, params, h_0, xs):
    trajectory = jr.unroll(step, params, h_0, xs)
    return trajectory.hs, jr.jacobians.step_jacobians(step, params, trajectory)


def measure(cell, params, xs=xs):
    hs, js = run(cell.step, params, cell.init_state(params), xs)
    return hs, of_first(js)


nets = {phi: jr.cells.elman(d, n, activation=phi) for phi in ("tanh", "sigmoid")}
left, bounds = {}, {}
for phi, lam in (("tanh", 1.5), ("tanh", 1), ("sigmoid", 1)):
    name, gamma = f"{phi}, λ = {lam}", jr.cells.activations.get(phi).gamma
    left[name] = measure(nets[phi], weights | {"W_hh": lam * Q})[1]
    bounds[name] = jr.jacobians.norm_bound(lam * Q, steps, gamma=gamma) * to_log10
    assert np.all(left[name] <= bounds[name] + 1e-4)
ax = draw(left)
for (name, bound), color in zip(bounds.items(), COLORS, strict=False):
    ax.plot(steps, bound, ":", color=color, label=f"bound, {name}")
ax.axhline(-45, color="0.6", linewidth=0.8, label="float32 ends")
ax.legend(fontsize="small", loc="lower left")
plt.show()
check_at("sigmoid, bound", bounds["sigmoid, λ = 1"], -18.1, -60.2)
check_at("sigmoid", left["sigmoid, λ = 1"], -18.7, -62.6)
check_at("tanh, λ = 1", left["tanh, λ = 1"], -1.3, -4.6)
check_at("tanh, λ = 1.5, bound", bounds["tanh, λ = 1.5"], 5.3, 17.6)
check_at("tanh, λ = 1.5", left["tanh, λ = 1.5"], 1.7, 2.6)
assert np.float32(10 ** left["sigmoid, λ = 1"][100]) == 0

# %% [markdown]
# The sigmoid network keeps $10^{-18.7}$ of the gradient of the first of 30 steps, near the bound of
# $10^{-18.1}$; of the first of 100 it keeps $10^{-62.6}$, which float32 rounds to 0: that gradient is lost.
# tanh with $\lambda = 1$ keeps $10^{-1.3}$ and $10^{-4.6}$. With $\lambda = 1.5$ it explodes, but only to
# $10^{2.6}$ after 100 steps, where the bound is $10^{17.6}$.
#
# ## 4. Saturation
#
# Large pre-activations lose the slope. The tanh network of $\lambda = 1$, with inputs ten times as large:

# %%
found = {}
for name, scale, share, slope in (("inputs", 1, 0, 0.92), ("10 × inputs", 10, 0.50, 0.10)):
    hs, flat = measure(nets["tanh"], weights, scale * xs)
    counts, edges = np.histogram(hs, 40, (-1, 1))
    found[name] = jr.diagnosis.Saturation(counts, edges, float(np.mean(np.abs(hs) > 0.95)))
    check(f"{name}: saturated share", found[name].fraction, share, 0.01)
    check(f"{name}: median slope", np.median(1 - hs**2), slope, 0.01)
check("10 × inputs, 30 steps (decades)", flat[30], -17.1, 0.05)
jr.plots.plot_saturation(found)
plt.show()

# %% [markdown]
# Saturated, as in `jr.diagnose`, means $|h| > 0.95$: no unit with the inputs as they are, 50 % of all values
# with ten times the inputs. The median slope falls from 0.92 to 0.10, and what is left after 30 steps from
# $10^{-1.3}$ to $10^{-17.1}$. Scale the inputs.
#
# ## 5. The remedies, one by one
#
# - *Activation and start.* relu has the slope 1 while a unit is on. With $W_{hh} = I$ (IRNN) the norm is
#   exactly 1 as long as one unit stays on; here 7 of 16 are on at all 100 steps.
# - *Constrained matrices.* The orthogonal RNN keeps $W_{hh}$ orthogonal whatever its parameter A (random
#   here), and modrelu starts with the slope 1: norm 1. The antisymmetric RNN is an Euler step of an equation
#   that neither grows nor decays: 1.08 after 100 steps.
# - *Normalisation* takes the scale out of the weights. Ten times the weights make the plain network explode,
#   $10^{5.6}$ after 10 steps; with layer normalisation $10^{1.3}$ after 30 steps stays $10^{1.3}$, not 1.
# - *Skip connections* let a state read one of $s$ steps ago, so that a path has $(t-k)/s$ factors: with
#   $s = 10$ and a factor of 0.5 that is $0.5^3 = 0.125$ after 30 steps, not $0.5^{30} = 9.3\cdot10^{-10}$.

# %%
more = {"A": jnp.asarray(rng.normal(size=(n, n)) / 4, jnp.float32), "gain": jnp.ones(n)}
ten_times = {name: 10 * leaf for name, leaf in weights.items()}
normed = jr.cells.elman(d, n, normalization=jr.cells.layer_norm())
hs, irnn = measure(jr.cells.elman(d, n, activation="relu"), weights | {"W_hh": jnp.eye(n)})
kept = {
    "IRNN": irnn,
    "orthogonal RNN": measure(jr.cells.orthogonal_rnn(d, n), weights | more)[1],
    "antisymmetric": measure(jr.cells.antisymmetric(d, n), weights | more)[1],
    "layer norm": measure(normed, weights | more)[1],
    "tanh": left["tanh, λ = 1"],
}
draw(kept, styles=("-", "--", ":", "-", "-"))
plt.show()
assert np.all(irnn == 0)
check("IRNN: units on at all steps", np.sum(np.all(hs > 0, axis=0)), 7, 0)
check("orthogonal RNN, largest deviation (decades)", np.abs(kept["orthogonal RNN"]).max(), 0, 1e-4)
check("antisymmetric, norm after 100 steps", 10 ** kept["antisymmetric"][100], 1.08, 0.01)
check("tanh, 10 × weights, 10 steps (decades)", measure(nets["tanh"], ten_times)[1][10], 5.6, 0.06)
check("layer norm, 30 steps", kept["layer norm"][30], 1.3, 0.05)
check("layer norm, 10 × weights", measure(normed, ten_times | more)[1][30], 1.3, 0.05)
leap = jr.cells.skip(jr.cells.elman(1, 1, activation="linear"), 10, share=1.0)
half = {"W_hx": jnp.ones((1, 1)), "W_hh": jnp.full((1, 1), 0.5), "b_h": jnp.zeros(1)}
js = run(leap.step, half, leap.init_state(half), jnp.ones((30, 1)))[1]
check("with the skip", np.linalg.norm(np.linalg.multi_dot(np.asarray(js)[::-1]), 2), 0.125, 1e-6)
check("without", 0.5**30, 9.3e-10, 0.05e-10)

# %% [markdown]
# *Gates.* The memory of the LSTM has the path $\mathrm{diag}(f_t)$, the state of the GRU
# $\mathrm{diag}(z_t)$ (E16). `block_norms` cuts $\partial c_t/\partial c_k$ out of the whole Jacobian:

# %%
H, lstm = n // 2, jr.cells.lstm(d, n // 2)
W_x, W_h = (jnp.asarray(rng.normal(size=(4 * H, m)) / np.sqrt(H), jnp.float32) for m in (d, H))
_, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
for i, (b_i, b_f, at_30, at_100) in enumerate(((0, 1, -1.3, -4.6), (0, 5, 1.2, 1.6), (-20, 20, 0, 0))):
    gates = {"W_x": W_x, "W_h": W_h, "b": jnp.repeat(jnp.array([b_i, b_f, 0.0, 0.0]), H)}  # i, f, g, o
    h_0 = lstm.init_state(gates)
    blocks = block_norms(run(lstm.step, gates, h_0, xs)[1], h_0)
    memory = np.asarray(blocks["c"]["c"].log_norm[:, 0]) * to_log10
    check_at(f"∂c_t/∂c_0, forget bias {b_f}", memory, at_30, at_100)
    if i < 2:
        jr.plots.plot_block_norms(blocks, ax=axes[i]).set_title(f"forget bias {b_f}")
check("open and closed, largest deviation", np.abs(memory).max(), 0, 1e-5)
axes[0].get_legend().remove()
plt.show()

# %% [markdown]
# With a forget bias of 1 the block falls to $10^{-1.3}$ after 30 steps and to $10^{-4.6}$ after 100. With 5
# the gate is open and it even grows, to $10^{1.2}$ and $10^{1.6}$. With the forget gate open and the input
# gate closed (biases 20 and -20) the gradient passes unchanged, for all 100 steps.
#
# *Clipping* bounds the update, not the Jacobian (E21). A gain of 1.1 makes a gradient 13,800 times as large
# in 100 steps; clipped to norm 1, at a learning rate of 0.01, it moves the weights by 0.01. *A penalty* on
# the Jacobian changes the network itself. `penalized` adds it to any estimator:

# %%
grads, clipped = jnp.full(n, 1.1**100), optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.01))
check("norm of the update", np.linalg.norm(clipped.update(grads, clipped.init(grads))[0]), 0.01, 1e-6)
sigmoid_net = nets["sigmoid"]
batch = jr.Batch(xs[None], jnp.full((1, T, n), 0.5))
full = jr.gradients.full(sigmoid_net.step, jr.losses.squared_error)
penalty = jr.training.spectral_norm_penalty(sigmoid_net, lag=10)
estimator, adam = jr.training.penalized(full, penalty, weight=1.0), optax.adam(0.02)


def update(_, now):
    params, state = now
    carry = estimator.init(params, sigmoid_net.initial_states(params, 1))
    estimate, _ = estimator.estimate(params, carry, batch, jax.random.key(0))
    change, state = adam.update(estimate.grads, state)
    return optax.apply_updates(params, change), state


params, _ = jax.lax.fori_loop(0, 200, update, (weights, adam.init(weights)))
check("sigmoid with the penalty, 30 steps (decades)", measure(sigmoid_net, params)[1][30], 0, 0.2)
check("its λ", np.linalg.norm(params["W_hh"], 2), 4.5, 0.1)

# %% [markdown]
# The penalty asks for a norm of 1 over 10 steps. After 200 updates that of the sigmoid network is within 0.2
# decades of 1 over 30, from $10^{-18.7}$; $\lambda$ is 4.5 instead of 1. Below 4 the bound forbids it.
#
# ## 6. The bench
#
# `jr.remedies.bench` trains the tanh network without and with each remedy, such as `"irnn + clip_norm"`, on
# the same batches; `jr.remedies.REMEDIES` has all names. The task: add two marked numbers out of 30.

# %%
found = jr.remedies.bench(
    jr.tasks.adding(length=30), ["gru"], hidden_size=n, steps=600, seeds=3, learning_rate=0.01, progress=False
)
print(found)
jr.plots.plot_remedies(found)
jr.plots.plot_remedy_reach(found, after=True)
plt.show()
none, gru = found["none"], found["gru"]
assert gru.solved.all() and not none.solved.any() and gru.after.loss.max() < none.after.loss.min() / 10
for outcome, at_start in ((none, (-0.4, -5.8, -2.6)), (gru, (-4.3, -4.0, -3.8))):
    np.testing.assert_allclose(outcome.before.log_norm[:, -1] * to_log10, at_start, atol=0.06)
np.testing.assert_allclose(gru.after.log_norm[:, -1] * to_log10, -0.4, atol=0.4)
assert np.all(none.after.log_norm[:, -1] * to_log10 < -1.5)

# %% [markdown]
# All three seeds of the GRU solve the task, none of the control does; its losses are over ten times as large.
# At the start the GRU leaves $10^{-4.3}$ to $10^{-3.8}$ of the first step's gradient, two of three controls
# leave more ($10^{-0.4}$, $10^{-2.6}$, $10^{-5.8}$). Training opens its gate: now it leaves at least
# $10^{-0.8}$, and the control less than $10^{-1.5}$. Look at the gradient after training, too.
