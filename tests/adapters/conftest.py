import os

import jax
import pytest

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported


@pytest.fixture(autouse=True)
def as_other_libraries_need_it():
    """They promote ranks and dtypes as JAX does by default."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield
