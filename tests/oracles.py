"""Independent references: NumPy loops of the cells, Python loops of the loss, terms by brute force.

The Python loops stay eager: compiling an unrolled loop costs ten times what running it does.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
}


def elman_loop(params, h, xs, activation):
    p, hs = {name: np.asarray(leaf) for name, leaf in params.items()}, []
    for x in np.asarray(xs):
        h = ACTIVATIONS[activation](p["W_hx"] @ x + p["W_hh"] @ np.asarray(h) + p["b_h"])
        hs.append(h)
    return np.stack(hs)


def lstm_loop(params, h, c, xs):
    """E3, gate by gate; rows of the parameters are i, f, g, o."""
    W, U, b = (np.asarray(params[name]) for name in ("W_x", "W_h", "b"))
    h, c, H, rows = np.asarray(h), np.asarray(c), len(h), []
    for x in np.asarray(xs):
        i, f, g, o = (
            W[s] @ x + U[s] @ h + b[s] for s in (slice(gate * H, (gate + 1) * H) for gate in range(4))
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        rows.append((h, c))
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def gru_loop(params, h, xs):
    """E4, reset after; rows of the parameters are r, z, n."""
    W, U, b, b_hn = (np.asarray(params[name]) for name in ("W_x", "W_h", "b", "b_hn"))
    h, H, hs = np.asarray(h), len(b_hn), []
    r_rows, z_rows, n_rows = (slice(gate * H, (gate + 1) * H) for gate in range(3))
    for x in np.asarray(xs):
        r = sigmoid(W[r_rows] @ x + U[r_rows] @ h + b[r_rows])
        z = sigmoid(W[z_rows] @ x + U[z_rows] @ h + b[z_rows])
        n = np.tanh(W[n_rows] @ x + r * (U[n_rows] @ h + b_hn) + b[n_rows])
        h = z * h + (1 - z) * n
        hs.append(h)
    return np.stack(hs)


def row(tree, *index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def step_weights(batch):
    B, T = jax.tree.leaves(batch.xs)[0].shape[:2]
    return jnp.full((B, T), 1 / T) if batch.weights is None else batch.weights


def sequence_losses(step, step_loss, copies, h, xs, targets, weights, cut=None):
    """weights[t]·ℓ_t for every t of one sequence, where step t reads its own copy of the parameters.

    `cut` = K puts a stop_gradient before every K-th step but the first.
    """
    losses = []
    for t in range(len(weights)):
        if cut and t and t % cut == 0:
            h = jax.lax.stop_gradient(h)
        h, y = step(row(copies, t), h, row(xs, t))
        losses.append(weights[t] * step_loss(row(copies, t), y, row(targets, t)))
    return jnp.stack(losses)


def copies_of(params, T):
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * T), params)


def loop_gradient(step, step_loss, params, h_0, batch, cut=None, init_state=None):
    """(loss, gradient) by autodiff of plain Python loops over sequences and steps."""
    weights = step_weights(batch)
    B, T = weights.shape

    def objective(params):
        total = 0.0
        for b in range(B):
            h = row(h_0, b) if init_state is None else init_state(params)
            losses = sequence_losses(
                step, step_loss, copies_of(params, T), h, row(batch.xs, b), row(batch.targets, b),
                weights[b], cut,
            )  # fmt: skip
            total = total + jnp.sum(losses)
        return total / B

    return jax.value_and_grad(objective)(params)


def brute_force_terms(step, step_loss, params, h_0, batch):
    """The terms of E10, leaves [T, T, ...] at [t-1, k-1]: ∂ℓ_t by the k-th copy of the parameters."""
    weights = step_weights(batch)
    copies = copies_of(params, weights.shape[1])

    def one(h, xs, targets, w):
        def losses(c):
            return sequence_losses(step, step_loss, c, h, xs, targets, w)

        return jax.jacrev(losses)(copies)

    terms = jax.vmap(one)(h_0, batch.xs, batch.targets, weights)
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), terms)


def brute_force_h_0_terms(step, step_loss, params, h_0, batch):
    """∂ℓ_t/∂h_0 of every sequence, leaves [B, T, ...]; with the 1/B of the batch's mean."""
    weights = step_weights(batch)
    copies = copies_of(params, weights.shape[1])

    def one(h, xs, targets, w):
        return jax.jacrev(lambda h: sequence_losses(step, step_loss, copies, h, xs, targets, w))(h)

    terms = jax.vmap(one)(h_0, batch.xs, batch.targets, weights)
    return jax.tree.map(lambda leaf: leaf / weights.shape[0], terms)


def end_to_end_jacobian(step, params, h_k, xs):
    """∂h_T/∂h_k of the raveled state by one jacrev through a bare scan."""
    flat, unravel = jax.flatten_util.ravel_pytree(h_k)

    def last(flat):
        h, _ = jax.lax.scan(lambda h, x: (step(params, h, x)[0], None), unravel(flat), xs)
        return jax.flatten_util.ravel_pytree(h)[0]

    return jax.jit(jax.jacrev(last))(flat)


def rescaled_log_norms(js):
    """ln ‖J_t...J_1‖₂ for t = 1..T, in float64, the product divided by its own norm after every step."""
    P, log_scale, found = np.eye(len(js[0])), 0.0, []
    for J in np.asarray(js, np.float64):
        P = J @ P
        size = np.linalg.norm(P, 2)
        P, log_scale = P / size, log_scale + np.log(size)
        found.append(log_scale)
    return np.array(found)


def exact_spectrum(js):
    """ln σ of js[-1]···js[0] by mpmath's SVD at 200 digits."""
    with mpmath.workdps(200):
        P = mpmath.eye(js.shape[1])
        for J in np.asarray(js, np.float64):
            P = mpmath.matrix(J.tolist()) * P
        sigma = mpmath.svd_r(P, compute_uv=False)
        return np.array([float(mpmath.log(s)) if s > mpmath.mpf(10) ** -150 else -np.inf for s in sigma])


def exact_product(js, digits=60):
    """js[-1]···js[0] as an [n, n] array of mpmath numbers, exact in effect."""
    with mpmath.workdps(digits + 8 * len(js)):
        P = mpmath.eye(js.shape[1])
        for J in np.asarray(js, np.float64):
            P = mpmath.matrix(J.tolist()) * P
        return np.array(P.tolist(), dtype=object)


def log_norm_of(P):
    """ln σ₁ of a product, or of a block of it, however small or large."""
    largest = np.abs(P).max()
    if largest == 0:
        return -np.inf
    # float64 holds the scaled matrix to its last digit, and σ₁ of it is well conditioned.
    return float(mpmath.log(largest)) + np.log(np.linalg.norm((P / largest).astype(np.float64), 2))


def central_difference(f, tree, step=1e-6):
    """Gradient of a scalar function of a float64 tree, entry by entry."""
    flat, unravel = jax.flatten_util.ravel_pytree(tree)
    f = jax.jit(f)
    entries = []
    for i in range(flat.size):
        up, down = flat.at[i].add(step), flat.at[i].add(-step)
        entries.append((f(unravel(up)) - f(unravel(down))) / (2 * step))
    return unravel(jnp.stack(entries))


def numpied(params):
    """A flat dict of parameters as NumPy arrays."""
    return {name: np.asarray(leaf) for name, leaf in params.items()}


def shapes(params):
    """The shapes of a flat dict of parameters."""
    return {name: leaf.shape for name, leaf in params.items()}


def states(step, h, xs):
    """hs of `step(h, x)`, a NumPy function."""
    hs = []
    for x in np.asarray(xs):
        h = step(np.asarray(h), x)
        hs.append(h)
    return np.stack(hs)
