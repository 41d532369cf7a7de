"""Mixed precision: which numbers are rounded, forward and backward, and what it does to a gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, assert_close, make_batch, make_sequence

from jaxrnn import mixed_precision, unroll
from jaxrnn.gradients import chunked, fidelity, full, rtrl, sliding
from jaxrnn.losses import squared_error


def rounded(x):
    return jnp.asarray(x, jnp.bfloat16).astype(x.dtype)


def product(w, h, x):
    return w @ h + x, h


@pytest.fixture
def numbers():
    keys = jax.random.split(jax.random.key(0), 6)
    shapes = [(3, 4), (4,), (3,)] * 2
    return [jax.random.normal(key, shape, jnp.float64) for key, shape in zip(keys, shapes, strict=True)]


def test_the_operands_of_a_product_are_rounded_and_nothing_else(numbers):
    w, h, x, *_ = numbers
    assert_close(mixed_precision(product)(w, h, x)[0], rounded(w) @ rounded(h) + x)


def test_reverse_mode_rounds_the_operands_of_its_products(numbers):
    w, h, x, _, _, g = numbers
    _, pull = jax.vjp(lambda w, h: mixed_precision(product)(w, h, x)[0], w, h)
    dw, dh = pull(g)
    assert_close(dw, jnp.outer(rounded(g), rounded(h)))
    assert_close(dh, rounded(w).T @ rounded(g))


def test_forward_mode_rounds_the_operands_of_its_products(numbers):
    w, h, x, dw, dh, _ = numbers
    _, moved = jax.jvp(lambda w, h: mixed_precision(product)(w, h, x)[0], (w, h), (dw, dh))
    assert_close(moved, rounded(dw) @ rounded(h) + rounded(w) @ rounded(dh))


def test_a_sum_is_rounded_as_a_whole(numbers):
    """Also by `unroll`, which adds up the terms of the inputs apart."""
    w, h, x, *_ = numbers
    w = w[:, :3]

    def step(w, h, x):
        h = w @ (w @ h + x + 1)
        return h, h

    expected = rounded(w) @ rounded(rounded(w) @ rounded(h[:3]) + x + 1)
    assert_close(unroll(mixed_precision(step), w, h[:3], x[None]).hs[0], expected)


def test_operands_of_low_precision_stay_as_they_are():
    w, h = jnp.full((1, 1), 1.001, jnp.float16), jnp.ones(1, jnp.float16)
    assert mixed_precision(product)(w, h, h * 0)[0] == w[0]


def test_operands_of_two_dtypes_stay_as_they_are(numbers):
    w, h, x, *_ = numbers
    w = w.astype(jnp.float32)

    def step(w, h, x):
        return jax.lax.dot(w, h, preferred_element_type=jnp.float64) + x, h

    assert_close(mixed_precision(step)(w, h, x)[0], step(w, h, x)[0])


@pytest.mark.parametrize("name", ["elman_tanh", "gru_residual_elman", "lstm_dense"])
def test_unroll_has_the_gradient_of_a_plain_scan(name):
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, 9, dtype=jnp.float32)
    step = mixed_precision(cell.step)

    def through_unroll(params):
        return jnp.sum(jnp.sin(unroll(step, params, h_0, xs).ys))

    def through_scan(params):
        return jnp.sum(jnp.sin(jax.lax.scan(lambda h, x: step(params, h, x), h_0, xs)[1]))

    got, expected = (jax.jit(jax.grad(f))(params) for f in (through_unroll, through_scan))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=1e-6 * np.max(np.abs(b)))


@pytest.mark.parametrize("estimator", [full, partial(chunked, window=50), partial(sliding, window=50), rtrl])
def test_fidelity_says_what_rounding_costs(estimator):
    """In double precision, where nothing but the rounding of products makes a difference of this size."""
    cell, d = CELLS["gru"]
    params, h_0, batch = make_batch(cell, d, 2, 12)
    low, exact = estimator(mixed_precision(cell.step), squared_error), full(cell.step, squared_error)
    found = jax.jit(lambda *args: fidelity(low, exact, *args, h_0=h_0))(params, batch, jax.random.key(0))
    assert 2**-13 < found.bias < 2**-6
    assert found.cosine > 0.999


@pytest.mark.parametrize("name", ["elman_tanh", "gru_residual_elman", "lstm_dense"])
def test_the_default_precision_holds_for_all_products_of_the_gradient(name):
    cell, d = CELLS[name]
    arguments = make_sequence(cell, d, 9)

    def total(params, h_0, xs):
        return jnp.sum(unroll(cell.step, params, h_0, xs).ys)

    with jax.default_matmul_precision("float32"):
        program = str(jax.make_jaxpr(jax.grad(total))(*arguments))
    assert program.count("dot_general[") == program.count("precision=(Precision.HIGHEST, Precision.HIGHEST)")
