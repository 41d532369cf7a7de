"""On two cores nothing waits for ever: batched LAPACK calls come one after the other (`_pytree.after`)."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn._pytree import after

PROGRAM = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
import jax, jax.numpy as jnp
from jaxrnn.jacobians import block_norms, growth_rates

def everything(js):
    return block_norms(js, (jnp.zeros(8), jnp.zeros(8))), growth_rates(js)

js = jax.random.normal(jax.random.key(0), (4, 40, 16, 16)) / 4
run = jax.jit(jax.vmap(everything))
for _ in range(5):
    jax.block_until_ready(run(js))
print("done")
"""


def test_a_batch_of_block_norms_and_growth_rates_ends():
    """Without `after`, this program stops in its first round on every machine with two cores."""
    optimised = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=optimised, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_after_changes_nothing(dtype):
    A = jnp.asarray([[1.0, -0.0, 1e-30], [jnp.inf, -jnp.inf, 0.1]], dtype)
    for done in (jnp.full(3, -jnp.inf, dtype), {"a": jnp.full((2, 2), jnp.nan), "b": A}, []):
        np.testing.assert_array_equal(jax.jit(after)(A, done), A)
