"""The derivative of unroll: equal to that of a plain scan, in every mode, and formed in large products."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CELLS, EPS_12, FEW, assert_close, cast, make_sequence
from jax import lax
from jax.extend import core

from jaxrnn import cells, mixed_precision, recurrence, unroll
from jaxrnn._stages import Staged
from jaxrnn.recurrence import scan

T = 7


def plain(step, params, h_0, xs):
    """(hs, ys) of the definition."""

    def body(h_tm1, x_t):
        h_t, y_t = step(params, h_tm1, x_t)
        return h_t, (h_t, y_t)

    return lax.scan(body, h_0, xs)[1]


def ours(step, params, h_0, xs, segment=None):
    trajectory = unroll(step, params, h_0, xs, segment=segment)
    return trajectory.hs, trajectory.ys


def objective(run):
    """A scalar in which every state and output counts differently; uneven in the state, so not symmetric."""

    def total(*arguments):
        leaves = jax.tree.leaves(run(*arguments))
        # Below 1: in single precision, sin would lose digits of larger arguments.
        shifts = [jnp.linspace(0, 1, leaf.size, dtype=leaf.dtype).reshape(leaf.shape) for leaf in leaves]
        return sum(jnp.sum(jnp.sin(leaf + shift)) for leaf, shift in zip(leaves, shifts, strict=True))

    return total


def both(name, transform, segment=None, dtype=jnp.float64):
    """What a transformation of the objective gives for ours and for the definition."""
    cell, d = CELLS[name]
    arguments = make_sequence(cell, d, T, dtype=dtype)
    return (
        jax.jit(transform(objective(partial(run, cell.step))))(*arguments)
        for run in (partial(ours, segment=segment), plain)
    )


gradient = partial(jax.value_and_grad, argnums=(0, 1, 2))


@pytest.mark.parametrize("name", CELLS)
def test_gradient_equals_that_of_a_plain_scan(name):
    assert_close(*both(name, gradient), EPS_12)


@pytest.mark.parametrize("segment", [1, 3, T, 50])
@pytest.mark.parametrize("name", FEW)
def test_segments_of_any_length_change_nothing(name, segment):
    assert_close(*both(name, gradient, segment), EPS_12)


def keep_products(monkeypatch, keep):
    monkeypatch.setattr(recurrence, "_products_pay", lambda *_: keep)


@pytest.mark.parametrize("keep", [False, True], ids=["products_again", "products_kept"])
@pytest.mark.parametrize("name", FEW)
def test_a_batch_has_the_same_gradient_whether_it_keeps_its_products_or_not(name, keep, monkeypatch):
    keep_products(monkeypatch, keep)
    cell, d = CELLS[name]
    params, h_0, xs = make_sequence(cell, d, T)
    shifts = 0.01 * jnp.arange(20.0)
    h_0 = jax.tree.map(lambda leaf: leaf[None] + shifts[:, None], h_0)
    xs = xs[:, None] + shifts[None, :, None]
    step = jax.vmap(cell.step, in_axes=(None, 0, 0))
    got, expected = (
        jax.jit(gradient(objective(partial(run, step))))(params, h_0, xs) for run in (ours, plain)
    )
    assert_close(got, expected, EPS_12)


def test_products_may_be_written_either_way_round():
    """``h W`` as in Flax, ``W h`` as in the notes, and with the gates cut out of one product or of a sum."""
    W_x, W_h, b = (
        jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(6, 3), (6, 2), (6,)])
    )

    def gates(a, b, c):
        return jnp.tanh(a) * jax.nn.sigmoid(b) + 0.5 * c

    def notes(params, h, x):
        W_x, W_h, b = params
        parts = zip(jnp.split(W_x @ x + b, 3), jnp.split(W_h @ h, 3), strict=True)
        h = gates(*(u + v for u, v in parts))
        return h, h

    def flax(params, h, x):
        W_x, W_h, b = params
        h = gates(*jnp.split(x @ W_x.T + h @ W_h.T + b, 3, axis=-1))
        return h, h

    h_0, xs = jnp.ones((4, 2)), jax.random.normal(jax.random.key(5), (T, 4, 3))
    one, *others = (
        jax.jit(gradient(objective(partial(run, jax.vmap(step, in_axes=(None, 0, 0))))))(
            (W_x, W_h, b), h_0, xs
        )
        for step in (notes, flax)
        for run in (plain, ours)
    )
    for other in others:
        assert_close(other, one, EPS_12)


def test_a_network_without_state_goes_through():
    cell = cells.dense(3, 2)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((T, 3))
    got, expected = (jax.grad(objective(partial(run, cell.step)))(params, (), xs) for run in (ours, plain))
    assert_close(got, expected, EPS_12)


@pytest.mark.parametrize("name", CELLS)
def test_single_precision_agrees_to_its_own_accuracy(name):
    got, expected = both(name, gradient, dtype=jnp.float32)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * np.max(np.abs(b)))


def hessian_product(outer, inner):
    """Second derivatives of the objective along one direction, by two modes of differentiation."""

    def of(total):
        def along(*arguments):
            return jax.tree.leaves(inner(total)(*arguments))

        def product(*arguments):
            if outer == "forward":
                return jax.jvp(along, arguments, arguments)[1]
            values, pull = jax.vjp(along, *arguments)
            return pull([jnp.cos(value) for value in values])

        return product

    return of


def forward_derivative(total):
    return lambda *arguments: jax.jvp(total, arguments, arguments)


@pytest.mark.parametrize("segment", [None, 3])
@pytest.mark.parametrize(
    "transform",
    [
        forward_derivative,
        hessian_product("forward", gradient),
        hessian_product("reverse", gradient),
        hessian_product("forward", forward_derivative),
        hessian_product("reverse", forward_derivative),
    ],
    ids=["forward", "forward over reverse", "reverse over reverse", "forward twice", "reverse over forward"],
)
def test_every_mode_and_second_derivatives_agree(transform, segment):
    assert_close(*both("lstm_dense", transform, segment), EPS_12)


def test_a_batch_by_vmap_of_the_scan_is_one_of_the_step():
    cell, d = CELLS["lstm_dense"]
    sequences = [make_sequence(cell, d, T, seed) for seed in range(3)]
    params = sequences[0][0]
    h_0, xs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(sequence[1:] for sequence in sequences))

    def of_scan(params):
        return objective(jax.vmap(partial(ours, cell.step, params)))(h_0, xs)

    def of_step(params):
        step = jax.vmap(cell.step, in_axes=(None, 0, 0))
        hs, ys = ours(step, params, h_0, jnp.swapaxes(xs, 0, 1))
        return objective(lambda: jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), (hs, ys)))()

    assert_close(jax.jit(jax.grad(of_scan))(params), jax.jit(jax.grad(of_step))(params), EPS_12)


def test_what_a_step_closes_over_has_its_gradient():
    cell, d = CELLS["gru"]
    params, h_0, xs = make_sequence(cell, d, T)

    def total(run):
        return lambda w: objective(lambda: run(lambda _, h, x: cell.step(w, h, x), (), h_0, xs))()

    assert_close(jax.grad(total(ours))(params), jax.grad(total(plain))(params), EPS_12)


def test_tokens_keys_and_whole_numbers_go_through_a_gradient():
    keys = jax.random.split(jax.random.key(0), T)
    xs = (jnp.arange(T) % 3, keys, jnp.linspace(0.0, 1.0, T))

    def step(table, h, x):
        token, key, value = x
        h = jnp.tanh(table[token] * h + value + 0.1 * jax.random.normal(key, h.shape, h.dtype))
        return h, (h, token + 1)

    def total(run):
        return lambda table, h_0: jnp.sum(jnp.sin(run(step, table, h_0, xs)[0]))

    arguments = jnp.array([0.5, 1.0, -1.5]), jnp.ones(2)
    assert_close(*(jax.grad(total(run), argnums=(0, 1))(*arguments) for run in (ours, plain)), EPS_12)
    assert ours(step, *arguments, xs)[1][1].dtype == xs[0].dtype


def twice(h):
    return h, h


ODD_STEPS = {
    "a state that forgets": lambda w, h, x: (jnp.zeros_like(h), w * h + x),
    "a constant output": lambda w, h, x: (jnp.tanh(w * h + x), 1.0),
    "a state that is the input": lambda w, h, x: (w * x, h),
    "a loop inside": lambda w, h, x: twice(lax.fori_loop(0, 3, lambda _, h: jnp.tanh(w * h + x), h)),
    "a branch inside": lambda w, h, x: twice(
        lax.cond(x[0] > 0.5, lambda h: jnp.sin(w * h), lambda h: w * h, h)
    ),
    "a checkpoint inside": lambda w, h, x: twice(jax.checkpoint(lambda w, h: jnp.tanh(w * h + x))(w, h)),
    "a sum read twice": lambda w, h, x: twice((z := w[0] * h + x) * jnp.tanh(z)),
    "a difference": lambda w, h, x: twice(jnp.tanh((x - w * h).reshape(2, 1)[:, 0] + w)),
}


@pytest.mark.parametrize("name", ODD_STEPS)
def test_whatever_a_step_does_its_gradient_is_that_of_a_plain_scan(name):
    arguments = jnp.array([0.5, -1.5]), jnp.ones(2), jnp.linspace(0.0, 1.0, 2 * T).reshape(T, 2)
    got, expected = (
        jax.jit(gradient(objective(partial(run, ODD_STEPS[name]))))(*arguments) for run in (ours, plain)
    )
    assert_close(got, expected, EPS_12)


def test_an_autonomous_map_has_its_gradient_over_blocks():
    def total(w):
        return scan(lambda w, h, _: (jnp.sin(w * h), h), w, jnp.float64(1), None, length=T, segment=3)[0]

    def loop(w):
        h = jnp.float64(1)
        for _ in range(T):
            h = jnp.sin(w * h)
        return h

    assert_close(jax.grad(total)(jnp.float64(1.5)), jax.grad(loop)(jnp.float64(1.5)))


def test_a_step_without_a_forward_mode_goes_through_a_plain_scan():
    @jax.custom_vjp
    def square(h):
        return h * h

    square.defvjp(lambda h: (h * h, h), lambda h, g: (3 * h * g,))

    def step(w, h, x):
        h = square(jnp.tanh(w * h + x))
        return h, h

    arguments = jnp.float64(0.5), jnp.ones(2), jnp.ones((T, 2))
    got, expected = (jax.grad(objective(partial(run, step)), argnums=(0, 1, 2)) for run in (ours, plain))
    assert_close(got(*arguments), expected(*arguments))


def test_an_effect_happens_once_a_step_and_in_order():
    seen = []

    def step(w, h, x):
        jax.debug.callback(lambda x: seen.append(float(x)), x, ordered=True)
        return w * h + x, h

    unroll(step, 0.5, jnp.float64(0), jnp.arange(4.0)).hs.block_until_ready()
    jax.effects_barrier()
    assert seen == [0, 1, 2, 3]


def test_a_callback_does_not_hinder_the_gradient():
    seen = []

    def step(w, h, x):
        jax.debug.callback(lambda x: seen.append(float(x)), x)
        return w * h + x, h

    def last(w):
        return unroll(step, w, jnp.float64(1), jnp.zeros(3)).hs[-1]

    assert_close(jax.grad(last)(jnp.float64(0.5)), 0.75)
    jax.effects_barrier()
    assert len(seen) == 3


def scans(jaxpr):
    """Every scan in a jaxpr, the nested ones included, as (its length, its own operations)."""
    for eqn in jaxpr.eqns:
        for inner in core.jaxprs_in_params(eqn.params):
            if eqn.primitive.name == "scan":
                yield eqn.params["length"], Counter(names(inner))
            yield from scans(inner)


def names(jaxpr):
    """Of its operations, and of those in calls, but not in scans."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        if eqn.primitive.name != "scan":
            for inner in core.jaxprs_in_params(eqn.params):
                yield from names(inner)


@pytest.mark.parametrize(
    "cell",
    [cells.stack(make(5, 4), cells.dense(4, 3)) for make in (cells.elman, cells.gru, cells.lstm)],
    ids=["elman", "gru", "lstm"],
)
def test_one_product_a_step_stays_in_the_scan_forward_and_one_backward(cell):
    """Neither inputs nor the readout nor the gradients of weights need one of their own."""
    params = cell.init(jax.random.key(0))
    xs = jnp.ones((T, 2, 5))

    def total(params):
        step = jax.vmap(cell.step, in_axes=(None, 0, 0))
        return jnp.sum(scan(step, params, cell.initial_states(params, 2), xs)[1] ** 2)

    found = list(scans(jax.make_jaxpr(jax.grad(total))(params).jaxpr))
    assert [(length, ops["dot_general"]) for length, ops in found if length == T] == [(T, 1), (T, 1)]


@pytest.mark.parametrize("change", [lambda step: step, mixed_precision], ids=["full", "mixed"])
@pytest.mark.parametrize("make", [cells.elman, cells.gru, cells.lstm])
def test_products_that_are_kept_are_not_formed_twice(make, change, monkeypatch):
    """Else the backward pass computes the pre-activations again, from inputs and from states."""
    cell = make(3, 4)
    params = cell.init(jax.random.key(0))
    step = jax.vmap(change(cell.step), in_axes=(None, 0, 0))
    h_0, xs = cell.initial_states(params, 2), jnp.ones((T, 2, 3))

    def products():
        total = jax.grad(lambda params: jnp.sum(scan(step, params, h_0, xs)[1] ** 2))
        return jax.jit(total).lower(params).compile().as_text().count(" dot(")

    monkeypatch.setattr(recurrence, "_CHEAP_BYTES", 0)
    chosen = products()
    keep_products(monkeypatch, True)
    kept = products()
    keep_products(monkeypatch, False)
    assert products() == kept + 2
    assert chosen == (kept if make is cells.elman else kept + 2), "only those of an Elman cell take no room"


W_2 = jnp.array([[0.9, -0.4], [0.3, 0.8]])


def delay_line(w, h, x):
    a, b, c = h
    return (jnp.tanh(W_2 @ c + w * x), a, b), a


def circle(w, h, x):
    """Each leaf is made of the other one."""
    a, b = h
    z = W_2 @ a + w * x
    return (jnp.sin(b) + z, jnp.cos(a) * z), a * b


def chain(w, h, x):
    """The third leaf follows from the pre-activation, and the second from the first, too."""
    a, b, c = h
    z = W_2 @ (a * c) + w * x
    a = a * jnp.tanh(z)
    return (a, jnp.sin(a) * z, jnp.exp(-(z**2))), b


def at_rest(w, h, x):
    """One leaf never changes, another is set to a parameter, a third to an input."""
    a, b, c, d = h
    return (jnp.tanh(W_2 @ a + b * c * d), b, jnp.full(2, w), x), a


@pytest.mark.parametrize(
    ("step", "leaves", "kept"), [(delay_line, 3, 2), (circle, 2, 2), (chain, 3, 1), (at_rest, 4, 2)]
)
@pytest.mark.parametrize("keep", [False, True], ids=["products_again", "products_kept"])
def test_states_that_follow_from_what_is_kept_are_made_again(step, leaves, kept, keep, monkeypatch):
    keep_products(monkeypatch, keep)
    w, xs = jnp.array(0.7), jax.random.normal(jax.random.key(0), (T, 2))
    h_0 = tuple(jax.random.normal(jax.random.key(i), (2,)) for i in range(leaves))
    found, expected = (jax.jit(gradient(objective(partial(run, step))))(w, h_0, xs) for run in (ours, plain))
    assert_close(found, expected, EPS_12)
    program = Staged(lambda fixed, rows, late: step(*fixed, late, *rows), [w], [xs[0]], list(h_0))
    assert len(set(program.kept(products=True)) - set(program.products)) == kept


@pytest.mark.parametrize(("make", "share"), [(cells.elman, 1 / 2), (cells.gru, 1 / 4), (cells.lstm, 1 / 4)])
def test_a_long_gradient_needs_a_part_of_the_memory_and_segments_far_less(make, share):
    steps, size, batch = 1000, 128, 32
    cell = make(3, size)
    params = cell.init(jax.random.key(0))
    h_0, xs = cell.initial_states(params, batch), jnp.ones((steps, batch, 3))
    step = jax.vmap(cell.step, in_axes=(None, 0, 0))

    def energy(params, h, x):
        h, y = step(params, h, x)
        return h, jnp.sum(y**2)

    def temporary(run):
        compiled = jax.jit(jax.grad(lambda params: jnp.sum(run(params)))).lower(params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    naive = temporary(lambda params: plain(energy, params, h_0, xs)[1])
    assert temporary(lambda params: scan(energy, params, h_0, xs)[1]) <= naive * share
    assert temporary(lambda params: scan(energy, params, h_0, xs, segment=30)[1]) <= naive / 10


def operations(jaxpr):
    """How many there are, with those of nested programs."""
    inner = (core.jaxprs_in_params(eqn.params) for eqn in jaxpr.eqns)
    return len(jaxpr.eqns) + sum(operations(other) for some in inner for other in some)


def test_the_program_does_not_grow_with_the_sequence():
    cell, d = CELLS["lstm"]

    def size(steps):
        params, h_0, xs = make_sequence(cell, d, steps)
        total = objective(partial(ours, cell.step))
        return operations(jax.make_jaxpr(jax.grad(total))(params, h_0, xs).jaxpr)

    assert size(256) == size(2560)


def test_a_segment_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="unroll: segment is 0; expected at least 1"):
        unroll(lambda w, h, x: (w * h + x, h), 1.0, jnp.zeros(1), jnp.ones((3, 1)), segment=0)


def test_the_state_keeps_its_dtype():
    cell, d = CELLS["lstm"]
    params, h_0, xs = cast(make_sequence(cell, d, T), jnp.bfloat16)
    grads = jax.grad(objective(partial(ours, cell.step)))(params, h_0, xs)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype(jnp.bfloat16)}
