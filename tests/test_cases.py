"""The yardstick itself: a comparison that cannot fail would make every other test worthless."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from cases import assert_close, tolerance

from jaxrnn import _pytree


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tolerance_is_the_given_number_of_eps(dtype):
    assert tolerance(dtype, 3) == 3 * np.finfo(dtype).eps
    one = np.asarray([1.0, 0.5], dtype)
    assert_close({"a": one + one.dtype.type(4 * np.finfo(dtype).eps)}, {"a": one}, 5)
    with pytest.raises(AssertionError, match="off by"):
        assert_close({"a": one + one.dtype.type(6 * np.finfo(dtype).eps)}, {"a": one}, 5)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1.0 + 1e-9])
def test_comparison_fails_on_nan_infinity_and_a_small_difference(wrong):
    with pytest.raises(AssertionError):
        assert_close(np.asarray([1.0, wrong]), np.ones(2))
    with pytest.raises(AssertionError):
        assert_close(np.ones(2), np.asarray([1.0, wrong]))
    with pytest.raises(AssertionError):
        assert_close(np.asarray([10**6]), np.asarray([10**6 + 1]))


def test_comparison_fails_on_another_shape_or_structure():
    with pytest.raises(AssertionError, match="shape"):
        assert_close(np.ones((2, 1)), np.ones(2))
    with pytest.raises(AssertionError):
        assert_close({"a": np.ones(2)}, {"b": np.ones(2)})


def test_the_coarser_dtype_sets_the_tolerance():
    assert_close(np.float32([1 + 1e-7]), np.ones(1))
    with pytest.raises(AssertionError):
        assert_close(np.ones(1) + 1e-7, np.ones(1))


@pytest.mark.usefixtures("unchecked_types")
def test_type_checks_can_be_switched_off_and_are_back_on_afterwards(request):
    checked = bool(request.config.getoption("--jaxtyping-packages"))
    _pytree.tree_norm({"a": jnp.ones(2)})
    assert jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", False)
    if checked:
        with pytest.raises(jaxtyping.TypeCheckError):
            _broken_call()
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.raises(IndexError):
        _broken_call()


def _broken_call():
    # Of the library's own, which have no checks beside those of the types.
    from jaxrnn.jacobians._orthonormal import running_mean

    return running_mean(jnp.ones(2), jnp.ones(2, int))
