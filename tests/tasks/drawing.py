"""What the tests of tasks share: a batch as NumPy arrays, and a mean within its error."""

import jax
import numpy as np


def draw(task, seed=0):
    """A batch as NumPy arrays."""
    return jax.tree.map(np.asarray, jax.jit(task.sample)(jax.random.key(seed)))


def assert_mean(values, expected):
    """The mean lies within 4 standard errors of what is expected (one in 16,000 would not)."""
    error = np.std(values) / np.sqrt(len(values))
    assert 0 < error < 0.05 * expected
    assert abs(np.mean(values) - expected) < 4 * error
