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
# # Explore Jacobian spectra: turn a knob, watch the gradient
#
# One network, one input sequence, four knobs: the **gain** that multiplies its recurrent weights, the
# **activation**, the **cell**, and the **lag** $s$ at which the Jacobian $\partial h_T/\partial h_{T-s}$ is
# cut open. Run all cells (in JupyterLab: *Run*, *Run All Cells*), then move the controls below the second
# cell. Every number in the text is asserted in the code.

# %%
from functools import partial

import ipywidgets as widgets
import jax
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn as jr

T, N, D = 60, 24, 3
XS = jax.random.normal(jax.random.key(1), (T, D))
CELLS = {"elman": jr.cells.elman, "gru": jr.cells.gru, "lstm": jr.cells.lstm}
ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear")
RECURRENT = {"W_hh", "W_h"}  # what the gain multiplies: Elman's weights, those of the gated cells


@partial(jax.jit, static_argnames=("name", "activation"))
def measure(name, activation, gain):
    """The singular values of every ∂h_t/∂h_k, and the eigenvalues of the last J_t."""
    options = {"activation": activation} if name == "elman" else {}
    cell = CELLS[name](D, N, **options)
    params = cell.init(jax.random.key(0))
    params = {key: gain * leaf if key in RECURRENT else leaf for key, leaf in params.items()}
    trajectory = jr.unroll(cell.step, params, cell.init_state(params), XS)
    js = jr.jacobians.step_jacobians(cell.step, params, trajectory)
    return jr.jacobians.spectra(js), jr.jacobians.eigenvalues(js).values[-1]


# %%
def explore(cell="elman", activation="tanh", gain=1.0, lag=20):
    """Draw what one setting of the knobs does."""
    spectra, eigenvalues = measure(cell, activation, gain)
    norms = jr.jacobians.Norms(*(table[..., 0] for table in spectra))
    _, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.9), layout="constrained")
    jr.plots.plot_norms(norms, ax=left)
    left.plot([0, T - lag], [lag, T], "k--", linewidth=1)  # the pairs of this lag

    log_sigma, _, certified = (part[T, T - lag] / np.log(10) for part in spectra)
    rank = np.arange(1, len(log_sigma) + 1)
    known = np.asarray(certified > 0)
    middle.plot(rank[known], log_sigma[known], "o-", label="certified")
    middle.plot(rank[~known], log_sigma[~known], "x", color="0.6", label="lost in rounding")
    middle.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    middle.set(
        xlabel="rank i", ylabel=r"$\log_{10}\,\sigma_i$", title=f"Which directions survive {lag} steps?"
    )
    middle.legend(fontsize="small")

    right.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.6"))
    right.plot(eigenvalues.real, eigenvalues.imag, "o", markersize=4)
    right.set(xlabel="Re", ylabel="Im", title="Eigenvalues of the last J_t", aspect="equal")
    right.autoscale_view()
    plt.show()


controls = {
    "cell": widgets.ToggleButtons(options=list(CELLS), description="cell"),
    "activation": widgets.Dropdown(options=ACTIVATIONS, description="activation"),
    "gain": widgets.FloatSlider(1.0, min=0.2, max=3.0, step=0.1, description="gain", continuous_update=False),
    "lag": widgets.IntSlider(20, min=1, max=T, description="lag", continuous_update=False),
}


def only_elman_has_a_choice(change):
    """The gated cells' activations are part of what they are."""
    controls["activation"].disabled = change["new"] != "elman"


controls["cell"].observe(only_elman_has_a_choice, "value")
widgets.VBox([*controls.values(), widgets.interactive_output(explore, controls)])

# %% [markdown]
# The first setting of a cell and an activation takes a second or two to compile; after that a knob answers
# at once, since the gain is an argument of the compiled function.
#
# ## Things to try
#
# **1. Tanh at gain 1.** The recurrent matrix starts orthogonal and keeps every length. All loss is tanh's
# slope: after 20 steps the norm is 0.0046.
#
# **2. Turn the gain up.** The bound $(\gamma\lambda)^{s}$ of E14 allows growth as soon as $\lambda > 1$. At
# 1.5 the norm of 20 steps is still 0.84. At 2.5 it is some 240 (in chaos the last digits are rounding), and
# eigenvalues of the last $J_t$ leave the circle. That is the picture below.
#
# **3. Now the sigmoid at gain 2.5.** Its slope is at most 1/4, so the bound is $(2.5/4)^{20} \approx
# 8\cdot10^{-5}$, and the norm is below even that: $10^{-6}$.
#
# **4. Linear.** Orthogonal at gain 1 is an isometry: all 24 singular values are 1 at every lag. At gain 0.9
# they are all $0.9^{20} = 0.12$.
#
# **5. The gates.** The LSTM has twice as many directions. Cut it open at lag 1: the 24 of the memory $c$ lie
# between 0.67 and 1.11, and then there is a step: the largest of the other 24 is 0.16, since $h_{t-1}$ enters
# only through the gates.


# %%
def sigma(cell, activation, gain, lag):
    """The singular values of ∂h_T/∂h_{T-lag}."""
    return np.exp(measure(cell, activation, gain)[0].log_sigma[T, T - lag])


def check(values, expected, rtol=0.03):
    """The text rounds to two digits."""
    np.testing.assert_allclose(values, expected, rtol=rtol)


check([sigma("elman", "tanh", gain, 20)[0] for gain in (1.0, 1.5)], [0.0046, 0.84])
check(sigma("elman", "tanh", 2.5, 20)[0], 240, rtol=0.2)
assert np.abs(measure("elman", "tanh", 2.5)[1]).max() > 1 > np.abs(measure("elman", "tanh", 1.0)[1]).max()
check([(2.5 / 4) ** 20, sigma("elman", "sigmoid", 2.5, 20)[0]], [8.3e-5, 1.0e-6])
check(sigma("elman", "linear", 1.0, T), np.ones(N))
check(sigma("elman", "linear", 0.9, 20), np.full(N, 0.12))
check(sigma("lstm", "tanh", 1.0, 1)[[0, N - 1, N]], [1.11, 0.67, 0.16])
explore(gain=2.5)
