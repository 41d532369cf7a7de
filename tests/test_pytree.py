"""Norms, dots and labels of trees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn._pytree import leaf_paths, tree_dot, tree_norm
from jaxrnn.cells import LSTMState


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_norm_neither_over_nor_underflows(size):
    tree = {"a": jnp.full((2, 2), size, jnp.float32), "b": (jnp.full(5, size, jnp.float32),)}
    np.testing.assert_allclose(tree_norm(tree), 3 * np.float32(size), rtol=1e-6)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (np.inf, np.inf), (np.nan, np.nan)])
def test_norm_of_zero_infinity_and_nan(value, expected):
    np.testing.assert_array_equal(tree_norm({"a": jnp.asarray([0.0, value])}), expected)


def test_norm_of_nothing_is_zero():
    assert tree_norm({}) == 0 and tree_norm(jnp.zeros((0, 2))) == 0


def test_norm_of_leaves_of_two_dtypes():
    tree = (jnp.full(1, 3, jnp.float32), jnp.full(1, 4, jnp.float64))
    with jax.numpy_dtype_promotion("standard"):
        assert tree_norm(tree) == 5


def test_dot_is_the_sum_over_all_leaves():
    a, b = (jnp.arange(3.0), {"x": jnp.ones((2, 2))}), (jnp.ones(3), {"x": jnp.full((2, 2), 2.0)})
    assert tree_dot(a, b) == 3 + 8


def test_leaves_are_labelled_by_their_path():
    assert leaf_paths(({"W_hh": 1.0}, LSTMState(h=2.0, c=3.0))) == ["0.W_hh", "1.h", "1.c"]
