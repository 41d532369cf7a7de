"""An estimator against the exact gradient, field by field."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import CELLS, assert_close, estimate, make_batch

from jaxrnn import Batch, Estimator, GradientEstimate
from jaxrnn.gradients import chunked, fidelity, full
from jaxrnn.losses import squared_error


def flat(tree):
    return jax.flatten_util.ravel_pytree(tree)[0]


def test_fidelity_of_a_truncated_estimator_equals_the_formulas_by_numpy():
    cell, d = CELLS["elman_tanh"]
    params, h_0, batch = make_batch(cell, d, 2, 6)
    run = jax.jit(
        lambda *args: fidelity(
            chunked(cell.step, squared_error, window=1), full(cell.step, squared_error), *args, h_0=h_0
        )
    )
    got = run(params, batch, jax.random.key(0))
    g = np.asarray(flat(estimate(full, cell, params, h_0, batch)[0].grads))
    e = np.asarray(flat(estimate(chunked, cell, params, h_0, batch, window=1)[0].grads))
    size = np.linalg.norm(g)
    assert_close(got.bias, np.linalg.norm(e - g) / size)
    assert_close(got.cosine, e @ g / size / np.linalg.norm(e))
    assert_close(got.norm_ratio, np.linalg.norm(e) / size)
    assert_close(got.sign_agreement, np.mean(np.sign(e) == np.sign(g)))
    assert got.variance == 0


def estimator_of(gradient):
    """An Estimator whose gradient is a function of the key alone."""

    def estimate(params, carry, batch, key):
        del batch
        return GradientEstimate(params, gradient(key)), carry

    return Estimator(lambda params, h_0: (params, h_0), estimate)


def test_variance_and_bias_of_a_noisy_estimator_come_from_its_draws():
    exact = estimator_of(lambda key: jnp.ones(100) + 0 * jax.random.normal(key))
    noisy = estimator_of(lambda key: 1 + 0.5 * jax.random.normal(key, (100,)))
    args = (noisy, exact, jnp.asarray(0.0), Batch(jnp.ones((1, 1)), ()), jax.random.key(0))
    got = fidelity(*args, h_0=(), draws=400)
    np.testing.assert_allclose(got.variance, 0.25, rtol=0.05)
    assert got.bias < 0.05
    few = fidelity(*args, h_0=(), draws=1)
    assert few.variance == 0 and few.bias > 0.3
