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
# # How a trained network remembers three bits
#
# Three inputs are silent but for rare pulses of $+1$ or $-1$; three outputs shall say the sign of the
# last pulse of each. Between pulses nothing comes in, and yet the network must not forget. This notebook
# trains one, looks for the states at which it rests, and ends where gradients explode. Every number in
# the text is asserted in the code beside it.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn as jr


def check(what, value, expected, tolerance=0):
    """Print a number of the text, and fail if the text is wrong."""
    value = float(value)
    print(f"{what}: {value:.4g}")
    assert abs(value - expected) <= tolerance, f"{what} is {value}; the text says {expected}"


# %% [markdown]
# ## 1. Train it
#
# 24 tanh units, the exact gradient, 1500 updates. Passing on the pulses alone would leave a loss of 1.3;
# this network reaches 0.0005.

# %%
task = jr.tasks.flip_flop(bits=3, pulses=0.1, length=50)
cell = jr.cells.stack(jr.cells.elman(3, 24), jr.cells.dense(24, 3))
full = jr.gradients.full(cell.step, task.step_loss, init_state=cell.init_state)
trained = jr.training.train(
    cell, full, jr.training.clipped_adam(5e-3), task.sample, steps=1500, key=jax.random.key(1), progress=False
)
params = jax.tree.map(lambda leaf: leaf[0], trained.params)
check("loss without memory", task.baseline, 1.3, 0.05)
check("loss of the last 50 updates", trained.history.loss[0, -50:].mean(), 0.0005, 0.0005)

# %%
xs, targets, _ = task.sample(jax.random.key(2))
run = jax.jit(jax.vmap(lambda xs: jr.unroll(cell.step, params, cell.init_state(params), xs)))
trajectory = run(xs)
fig, rows = plt.subplots(3, 1, figsize=(7, 3.6), sharex=True, layout="constrained")
for bit, ax in enumerate(rows):
    ax.stem(xs[0, :, bit], linefmt="0.7", markerfmt=" ", basefmt=" ", label="pulses")
    ax.plot(targets[0, :, bit], color="0.4", linewidth=3, alpha=0.4, label="target")
    ax.plot(trajectory.ys[0, :, bit], label="output")
    ax.set(ylabel=f"bit {bit}", yticks=[-1, 0, 1])
rows[0].legend(ncols=3, fontsize="small", loc="center left")
rows[-1].set_xlabel("step")
plt.show()

# %% [markdown]
# ## 2. Where does it rest?
#
# A state $h^*$ with $F(h^*) = h^*$ at silent inputs. `fixed_points` descends $\frac12\|F(h) - h\|^2$ from
# 512 of the states that the network visits, with some noise, so that it also finds points that no
# trajectory settles at. The eigenvalues of $\partial F/\partial h$ say what happens beside each: inside
# of the unit circle a displacement decays, outside it grows.

# %%
silence = jnp.zeros(3)
visited = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trajectory.hs)
starts = jr.dynamics.states_along(visited, count=512, noise=0.5, key=jax.random.key(3))
found = jr.dynamics.fixed_points(cell.step, params, silence, starts, merge=0.01)
points = found.of_kind("fixed")
modes = jr.dynamics.stability(cell.step, params, silence, points)
unstable = np.asarray(modes.unstable)
check("stable points", (unstable == 0).sum(), 8)
check("saddles with one unstable direction", (unstable == 1).sum(), 12)
check("share of the starts that found one", found.converged.mean(), 1, 0.02)
outputs = jax.vmap(lambda h: cell.step(params, h, silence)[1])(points)
corners = np.sign(outputs)[unstable == 0]
check("different corners", len(np.unique(corners, axis=0)), 8)
undecided = (np.abs(outputs[unstable == 1]) < 0.9).sum(axis=1)
check("bits that are undecided at a saddle, at most", undecided.max(), 1)
check("and at least", undecided.min(), 1)
check("how far an output is from its corner", np.abs(outputs[unstable == 0] - corners).max(), 0.02, 0.02)

# %% [markdown]
# Exactly eight attractors, one for each content of the memory, and their outputs are the corners of a
# cube. A cube has 12 edges, and there are 12 saddles with one unstable direction: the watershed between
# two memories that differ in one bit. A pulse has to carry the state across it. Saddles with two unstable
# directions lie in the faces, and a point that is unstable in three, if there is one, is in the middle.

# %%
some = jax.tree.map(lambda leaf: leaf[:12], trajectory.hs)
jr.plots.plot_fixed_points(points, modes, some)
plt.show()

# %% [markdown]
# The network has drawn the cube in its own coordinates. Along each edge runs a saddle's unstable
# direction, from one memory to the next.

# %%
jr.plots.plot_eigenvalues(modes)
plt.show()
slowest = np.asarray(modes.time_constants)[unstable == 0, 0].max()
escape = -np.asarray(modes.time_constants)[unstable == 1, 0]
check("time constant of the slowest mode of a memory, in steps", slowest, 3, 1)
check("time constant of the slowest escape from an edge, in steps", escape.max(), 6, 2)

# %% [markdown]
# A displacement from a memory decays by $e$ in 3 steps, and so does the gradient; the slowest one from an
# edge grows by $e$ in 6. $\partial h_t/\partial h_k$ at an attractor decays with that time constant.
# *What* is remembered for ever leaves no gradient to the moment when it was set: robust memory and
# vanishing gradients are one thing.
#
# ## 3. How far does the linear picture carry?
#
# Push every entry of the state off a memory, by 0.01 and by 0.3, and compare the network with its linear
# approximation there: after three steps the error is 2 % of the distance, and half of it.

# %%
memory = jax.tree.map(lambda leaf: leaf[np.flatnonzero(unstable == 0)[0]], points)
rest = jnp.zeros((12, 3))
relative = {}
for size in (0.01, 0.3):
    pushed = jax.tree.map(lambda leaf, size=size: leaf + size, memory)
    back = jr.unroll(cell.step, params, pushed, rest)
    near = jr.dynamics.linear_approximation(cell.step, params, silence, memory, back)
    relative[size] = float(near.error[2] / near.distance[2])
check("error beside the distance after 3 steps, pushed by 0.01", relative[0.01], 0.02, 0.01)
check("and pushed by 0.3", relative[0.3], 0.5, 0.2)

# %% [markdown]
# ## 4. How a memory is lost, and why gradients explode there
#
# Hold one input at a level $s$ instead of silence and follow a memory whose first bit is $-1$: at some
# level its attractor meets the saddle of an edge and both vanish, a fold, here at 0.04. Beyond it the
# network has to go to the other side. That is how a pulse works.

# %%
start = jax.tree.map(lambda leaf: leaf[np.flatnonzero((unstable == 0) & (outputs[:, 0] < 0))[0]], points)
held = lambda s: (params, jnp.zeros(3).at[0].set(s))  # noqa: E731
branch = jr.dynamics.continuation(cell.step, held, start, along=(0.0, 0.1))
fold = branch.bifurcations[0]
print([(one.kind, round(one.value, 3)) for one in branch.bifurcations])
assert fold.kind == "fold"
check("level of the fold", fold.value, 0.04, 0.02)
check("eigenvalue at the fold", abs(fold.eigenvalue), 1, 1e-3)
levels = jnp.linspace(0.0, 2 * fold.value, 401)
pushed = jr.dynamics.sensitivity(cell.step, held, levels, start, steps=100)
jr.plots.plot_bifurcations(branch, sensitivity=pushed)
plt.show()
peak = levels[jnp.argmax(pushed.log_gradient)]
check("where the gradient peaks, relative to the fold", peak / fold.value, 1, 0.05)

# %% [markdown]
# The gradient of the state by the input's level, after 100 steps, peaks where the attractor vanishes. A
# parameter does the same as the input here: training moves the folds about, and each time that one of
# them passes a trajectory, the loss's gradient explodes. Clip it, and the update stays on this side of
# the cliff.
