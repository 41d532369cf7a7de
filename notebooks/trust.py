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
# # How far can you trust a Jacobian product?
#
# $\partial h_t/\partial h_k = J_t \cdots J_{k+1}$ is a product of many matrices in a floating format of
# few digits. This notebook breaks it step by step, shows what jaxrnn computes instead, and what its
# `certified` promises. Every number in the text is asserted in the code beside it.

# %%
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxrnn as jr

LN10 = np.log(10)
norms = jax.jit(jr.jacobians.norms)
spectrum = jax.jit(jr.jacobians.spectrum)


def check(what, value, expected, tolerance):
    """Print a number of the text, and fail if the text is wrong."""
    value = float(value)
    print(f"{what}: {value:.4g}")
    assert abs(value - expected) <= tolerance, f"{what} is {value}; the text says {expected}"


def exact_log_norm(js):
    """ln ‖J_T···J_1‖₂ of the numbers in js as they are: the product in fractions, without any rounding."""
    P = np.vectorize(Fraction)(np.eye(js.shape[1]))
    for J in np.asarray(js, float):
        P = np.vectorize(Fraction)(J) @ P
    largest = max(abs(x) for x in P.ravel())
    if not largest:
        return -np.inf
    log_largest = math.log(largest.numerator) - math.log(largest.denominator)
    return log_largest + np.log(np.linalg.norm((P / largest).astype(float), 2))


# %% [markdown]
# ## 1. The raw product is zero
#
# A chain with a known answer: every $J_t = U\,\mathrm{diag}(d)\,U^\top$ with the same orthogonal $U$, so
# $\sigma_i = d_i^T$. With $d = (0.5, 0.4, 0.3, 0.1)$ and $T = 200$ the largest is $0.5^{200} = 10^{-60}$,
# and float32 ends at $10^{-45}$.

# %%
T, n = 200, 4
d = np.array([0.5, 0.4, 0.3, 0.1])
U = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
js = jnp.broadcast_to(jnp.asarray(U @ np.diag(d) @ U.T, jnp.float32), (T, n, n))

raw = [np.eye(n, dtype=np.float32)]
for J in np.asarray(js):
    raw.append(J @ raw[-1])
first_zero = next(t for t, P in enumerate(raw) if not P.any())
check("first step at which the raw product is exactly 0", first_zero, 150, 5)
check("log10 of the true norm at T", T * np.log10(d[0]), -60.2, 0.05)

# %% [markdown]
# From about step 150 on it is exactly 0: no gradient, no warning.
#
# ## 2. The rescaled product: the top value right, the rest wrong
#
# Dividing by the norm at every step and adding up the logarithms saves the largest singular value. But all
# directions share one matrix of 7 digits, and what falls $10^{-7}$ below the largest is rounding.

# %%
P, log_scale = np.eye(n, dtype=np.float32), 0.0
for J in np.asarray(js):
    P = J @ P
    scale = np.linalg.norm(P, 2)
    P, log_scale = P / scale, log_scale + np.log(float(scale))
rescaled = (np.log(np.linalg.svd(P, compute_uv=False).astype(float)) + log_scale) / LN10
exact = T * np.log10(d)
udt = spectrum(js)
rows = {"closed form": exact, "rescaled product": rescaled, "spectrum (UDT)": udt.log_sigma / LN10}
for name, row in rows.items():
    print(f"{name:18}", " ".join(f"{value:9.3f}" for value in np.asarray(row)))

# %%
check("error of the rescaled product's largest value (decades)", rescaled[0] - exact[0], 0, 1e-3)
assert np.all(rescaled[1:] - exact[1:] > 10)
check("error of its smallest value (decades)", rescaled[-1] - exact[-1], 130, 2)
check("largest error of spectrum (decades)", np.max(np.abs(udt.log_sigma / LN10 - exact)), 0, 1e-3)
assert np.all(udt.certified)

# %% [markdown]
# The largest value is right within 0.001 decades, every other is wrong by more than 10, the smallest by
# 130. `spectrum` keeps the scales of the directions apart ($Q\,D\,T$ with a logarithm for every entry of
# $D$) and has all four within 0.001 decades, in float32.
#
# ## 3. Growth rates are not singular values
#
# QR at every step (`growth_rates`) finds how fast directions grow in the long run. At finite $T$ that is
# another question: for a Jordan block with 0.5 on the diagonal all rates are $\ln 0.5$, while the singular
# values of its power are spread over many decades.

# %%
jordan = jnp.broadcast_to(0.5 * jnp.eye(8) + jnp.eye(8, k=1), (60, 8, 8))
rates = jr.jacobians.growth_rates(jordan).rates
sigma, jordan_norms = spectrum(jordan), norms(jordan)
top = exact_log_norm(jordan)
check("largest deviation of a rate from ln 0.5 (nats per step)", np.max(np.abs(rates - np.log(0.5))), 0, 1e-3)
check("exact ln σ_1 (decades)", top / LN10, -7.4, 0.05)
assert abs(sigma.log_sigma[0] - top) <= sigma.log_error[0]
check("what the rates miss (decades)", top / LN10 - 60 * rates[0] / LN10, 10.7, 0.05)
check("60 · λ_1 (decades)", 60 * rates[0] / LN10, -18.1, 0.1)
check("error of norms (nats)", jordan_norms.log_norm[60, 0] - top, 0, 1e-3)
assert jordan_norms.certified[60, 0] and not sigma.certified[0]

# %% [markdown]
# The norm is $10^{-7.4}$; the rates would say $10^{-18.1}$, wrong by 10.7 decades. Ask `norms` or
# `spectrum` for a gradient over a given lag, `growth_rates` for the long run. `norms` certifies its value.
# `spectrum` flags all of its own, and stays within its error: the small values of so non-normal a product
# move when the last digits of its factors do.
#
# ## 4. When rounding comes back: a product that no scaling saves
#
# Take $J = U\,\mathrm{diag}(a, b)\,U^\top$ with the 45° rotation $U$ and powers of two: exact in float32.
# Ten steps with $(a, b) = (2^{-14}, 1)$, then ten with $(1, 2^{-7})$. The product is
# $\mathrm{diag}(2^{-140}, 2^{-70})$ in these axes, its norm $2^{-70}$. But the product of the later ten
# has the second direction at $2^{-70}$ beside a one, and no digit of it is left when the earlier ten,
# which need it, are multiplied to it.


# %%
def in_45_degrees(a, b):
    return 0.5 * np.array([[a + b, a - b], [a - b, a + b]], np.float32)


crossing = np.repeat([in_45_degrees(2.0**-14, 1), in_45_degrees(1, 2.0**-7)], 10, axis=0)
table = norms(jnp.asarray(crossing))
true = exact_log_norm(crossing)
check("true log10 norm", true / LN10, -70 * np.log10(2), 1e-6)
check("what the scaled product says", table.log_norm[20, 0] / LN10, -42.1, 0.1)
wide = np.eye(2)
for J in crossing[::-1].astype(np.float64):
    wide = wide @ J
check("and float64, from the late end", np.log10(np.linalg.norm(wide, 2)), -42.1, 0.1)
assert not table.certified[20, 0]
check("share of certified pairs k <= t", np.mean(table.certified[np.tril_indices(21)]), 0.73, 0.01)
ax = jr.plots.plot_norms(table)
plt.show()

# %% [markdown]
# The norm is $10^{-21}$, and the scaled product says $10^{-42}$; so does float64. Multiplying from the
# early end happens to be right here, and is wrong for the transposed chain. `norms` cannot know the
# answer, but it knows that it does not: the hatched corner is not to be trusted; the other 73 % of the
# pairs are certified.
#
# ## 5. The certificate, put to the test
#
# The bound is
# $|\Delta\ln\sigma_1| \le \sum_s \lVert E_{t,s}\rVert\,\lVert P_{s,k}\rVert \,/\, \lVert P_{t,k}\rVert$:
# $E_{t,s}$ is the rounding of one product, which the factors before it carry on, and the question is how
# far the norm falls short of what they could have made of it.
# Below are 240 chains in float32, benign and adversarial, against fractions.


# %%
def chains(kind, rng, T=12, n=3):
    A = rng.normal(size=(T, n, n))
    U, V = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    grade = np.diag(10.0 ** -np.arange(0, 3 * n, 3))
    half = (np.arange(T) < T // 2)[:, None, None]
    some = np.diag(np.diag(grade) ** rng.uniform(0, 0.5))
    return {
        "random": A,
        "graded": U @ grade @ V * np.ones((T, 1, 1)),
        "contract, then expand": U @ np.where(half, some, np.diag(1 / np.diag(some))) @ U.T,
        "nearly singular": A[:, :, :1] * A[:, :1, :] + 1e-6 * A,
        "triangular": np.triu(A) + 10 * np.triu(np.ones((n, n)), 1),
        "cancelling": A - np.where(np.arange(T) % 2, 1, -1)[:, None, None] * A[:, ::-1],
    }[kind].astype(np.float32)


kinds = ("random", "graded", "contract, then expand", "nearly singular", "triangular", "cancelling")
rng = np.random.default_rng(7)
_, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
of_last = jax.jit(jax.vmap(lambda js: jr.jacobians.norms(js)))
violations, n_certified, worst, worst_certified = 0, {}, 0.0, 0.0
for kind, color in zip(kinds, colors, strict=True):
    some = np.stack([chains(kind, rng) for _ in range(40)])
    log_norm, bound, certified = (np.asarray(part)[:, 12, 0] for part in of_last(some))
    error = np.abs(log_norm.astype(float) - [exact_log_norm(chain) for chain in some])
    violations += int(np.sum(error > bound))
    n_certified[kind] = int(np.sum(certified))
    worst, worst_certified = max(worst, error.max()), max(worst_certified, error[certified].max(initial=0))
    # An error of 0 stands at the left edge, an infinite bound at the upper one.
    ax.loglog(np.maximum(error, 1e-8), np.minimum(bound, 1e4), ".", color=color, label=kind)
line = np.array([1e-8, 1e4])
ax.plot(line, line, "k--", linewidth=0.8, label="error = bound")
ax.axhline(0.23, color="0.5", linewidth=0.8, linestyle=":", label="certified below 0.23 nats")
ax.set(xlabel="true error of ln‖·‖ (nats)", ylabel="log_error (nats)", xlim=(7e-9, 1e2), ylim=(1e-6, 2e4))
ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
print(n_certified)

# %%
assert violations == 0
assert n_certified["random"] == 40
check("chains that contract, then expand, certified", n_certified["contract, then expand"], 13, 0)
check("largest true error that is certified (nats)", worst_certified, 0.010, 0.002)
check("largest true error of all (nats)", worst, 3.2, 0.1)


# %% [markdown]
# No point lies below the dashed line: the true error never exceeds the bound. All random chains are
# certified; of those that contract first and expand later, by various amounts, 13 of 40 are. The largest
# true error is 3.2 nats (a factor of 25), and it is flagged; the largest that is certified is 0.010.
# A certificate that flags everything would be as useless as one that flags nothing.
#
# ## 6. Eigenvalues mislead
#
# All eigenvalues of $J = 0.5\,I + N$ with a strictly upper triangular $N$ are 0.5. "The spectral radius is
# below 1, so the gradient vanishes" is false twice: each $J$ has a large norm, and a product that
# alternates $J$ and $J^\top$ grows though no factor has an eigenvalue above 0.5.

# %%
upper = np.triu(rng.normal(size=(40, 8, 8)), 1)
shears = 0.5 * np.eye(8) + upper
shears[1::2] = np.swapaxes(shears[1::2], 1, 2)
shears = jnp.asarray(shears, jnp.float32)
found = jr.jacobians.eigenvalues(shears)
shear_norms = norms(shears)
departure = np.median(found.departure_from_normality)
rate = shear_norms.log_norm[40, 0] / 40
check("median departure from normality", departure, 0.97, 0.005)
check("growth of the norm (nats per step)", rate, 0.70, 0.005)
assert shear_norms.certified[40, 0] and np.all(np.linalg.norm(shears, 2, axis=(1, 2)) > 2)
_, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
jr.plots.plot_eigenvalues(found, ax=left)
jr.plots.plot_norm_by_lag(
    jr.jacobians.norm_by_lag(shear_norms), log_bound_rate=np.log(0.5), label="norm", ax=right
)
right.lines[1].set_label("what eigenvalues of 0.5 suggest")
right.legend(fontsize="small")
plt.show()

# %% [markdown]
# The norm grows by 0.70 nats a step, while all 320 eigenvalues stand on one point. The departure from
# normality, 0.97 of at most 1, is the warning.

# %%
assert found.values.shape == (40, 8)
check("largest |λ - 0.5|", np.max(np.abs(found.values - 0.5)), 0, 1e-5)

# %% [markdown]
# ## 7. Long chains: some pairs only
#
# A table of all pairs of $T = 5000$ steps has 12.5 million entries. Nobody reads them; `at` and `lags`
# choose.

# %%
T, n, sigma2 = 5000, 8, 1 / 8
ginibre = math.sqrt(sigma2) * jax.random.normal(jax.random.key(0), (T, n, n))
at, lags = range(1000, T + 1, 1000), (1, 10, 100, 300, 1000)
some = jr.jacobians.norms(ginibre, at=at, lags=lags)
curve = jr.jacobians.norm_by_lag(some, at=at, lags=lags)
assert some.log_norm.shape == (5, 5) and np.all(some.certified)
check("largest error bound at lag 1000 (nats)", np.max(some.log_error[:, 4]), 0, 0.2)
check("and at lag 300", np.max(some.log_error[:, 3]), 0, 0.05)
for lag, median in zip(lags, curve.median, strict=True):
    print(f"lag {lag:4}: {median / LN10:8.2f} decades, {median / lag:+.3f} nats a step")

# %% [markdown]
# All pairs are certified in float32. The bound is one on the worst case and adds up over the steps, so that
# it is wider at lag 1000. Per step the norms approach the largest growth rate, for which there is a formula.
#
# ## 8. Growth rates against known answers
#
# For Gaussian $J_t$ with entries of variance $\sigma^2$ (Newman 1986):
# $\lambda_i = \frac12\left[\ln 2\sigma^2 + \psi\!\left(\frac{n-i+1}{2}\right)\right]$.

# %%
growth = jr.jacobians.growth_rates(ginibre)
newman = 0.5 * (np.log(2 * sigma2) + jax.scipy.special.digamma((n - np.arange(n)) / 2))
score = (growth.rates - newman) / growth.standard_error
check("the largest rate by the formula", newman[0], -0.065, 0.001)
check("largest deviation in standard errors", np.max(np.abs(score)), 0, 3)
check("rate at lag 1000 minus λ_1 (nats per step)", curve.median[-1] / 1000 - newman[0], 0, 0.02)
ax = jr.plots.plot_growth_rates(growth)
end = np.full(7, growth.trace_steps[-1])
ax.plot(end, newman[:7], "k_", markersize=14, clip_on=False, label="Newman 1986")
ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# All eight rates agree within 3 standard errors. A chaotic map needs no input: Hénon's has $\lambda_1 =
# 0.4192$ and contracts areas by 0.3 a step, so that the two rates add up to $\ln 0.3$ at any $T$.


# %%
def henon(_, h, x):  # noqa: ARG001
    new = jnp.stack([1 - 1.4 * h[0] ** 2 + h[1], 0.3 * h[0]])
    return new, new


trajectory = jr.unroll(henon, (), jnp.array([0.1, 0.1]), None, length=20_000)
henon_rates = jr.jacobians.growth_rates(jr.jacobians.step_jacobians(henon, (), trajectory), warm_up=100)
check("λ_1 of Hénon's map", henon_rates.rates[0], 0.4192, 3 * float(henon_rates.standard_error[0]))
check("its standard error", henon_rates.standard_error[0], 0.0, 0.005)
check("sum of the rates minus ln 0.3", jnp.sum(henon_rates.rates) - np.log(0.3), 0, 1e-4)
assert np.all(henon_rates.certified)

# %% [markdown]
# ## 9. The norm as something to optimise
#
# `log_norm` is $\ln\|\partial h_T/\partial h_0\|_2$ with a derivative that is always finite. Here Newton's
# method tunes the gain of a tanh network so that the gradient over 50 steps neither vanishes nor explodes:
# from -9.37 nats at a gain of 0.8 to 0 at 1.0026, in five steps.

# %%
cell = jr.cells.elman(3, 32)
key_p, key_W, key_x = jax.random.split(jax.random.key(1), 3)
params = cell.init(key_p)
W = jax.random.normal(key_W, (32, 32)) / np.sqrt(32)
xs = 0.3 * jax.random.normal(key_x, (50, 3))


@jax.jit
@jax.value_and_grad
def reach(log_gain):
    p = params | {"W_hh": jnp.exp(log_gain) * W}
    trajectory = jr.unroll(cell.step, p, cell.init_state(p), xs)
    return jr.jacobians.log_norm(jr.jacobians.step_jacobians(cell.step, p, trajectory))


log_gain = jnp.log(0.8)
value, slope = reach(log_gain)
difference = (reach(log_gain + 1e-2)[0] - reach(log_gain - 1e-2)[0]) / 2e-2
check("ln norm at gain 0.8", value, -9.37, 0.05)
check("its derivative over the central difference", slope / difference, 1, 0.02)
for _ in range(5):
    value, slope = reach(log_gain)
    print(f"gain {jnp.exp(log_gain):.4f}: ln norm {value:+.4f}")
    log_gain = log_gain - value / slope
check("ln norm after Newton's steps", reach(log_gain)[0], 0, 1e-2)
check("the gain", jnp.exp(log_gain), 1.0026, 0.001)

# %% [markdown]
# ## Which one to ask
#
# | question | function | promise |
# |---|---|---|
# | how strongly is k felt at t? | `norms`, also `at=, lags=` | an error bound, `certified` below 0.23 nats |
# | in how many directions? | `spectrum`, `spectrum_fan` | every value, with an empirical certificate |
# | how fast in the long run? | `growth_rates` | a standard error, and the sum rule |
# | what does one step do? | `eigenvalues` | none: read the departure from normality first |
# | can I train on it? | `log_norm` | a finite derivative, no error bound |
