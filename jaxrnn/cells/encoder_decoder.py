"""Two cells one after the other: many-to-many of unequal length."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.types import Cell

__all__ = ["encoder_decoder"]


@_checks.signature("encoder_decoder")
def encoder_decoder(encoder: Cell, decoder: Cell) -> Cell:
    """Read a sequence with one cell, then write another from the state that it leaves (E2).

    One recurrence over both: ``h_t = f_enc(x_t, h_{t-1})`` up to the border and ``h_t = f_dec(x_t, h_{t-1})``
    behind it. So ∂h_t/∂h_k from a step of the decoder to one of the encoder is a product of step Jacobians
    as any other, and every estimator, norm and spectrum crosses the border.

    Parameters
    ----------
    encoder, decoder : cells whose states have leaves of the same shapes, such as ``gru(26, 64)`` and
        ``stack(gru(26, 64), dense(64, 26))``.

    Returns
    -------
    Cell
        params ``{"encoder": ..., "decoder": ...}``, state the decoder's. Its inputs are pairs
        ``(x_t, in_decoder_t)`` with a number or boolean that says which of the two steps; the border may lie
        elsewhere in every sequence. Before it y_t is 0: give these steps the weight 0.

    Raises
    ------
    ValueError
        If the states do not fit.
    TypeError
        If x_t is not a pair.

    Notes
    -----
    Time: both cells at every step, since sequences of a batch cross at different times.

    Example
    -------
    >>> from jaxrnn.cells import dense, gru, stack
    >>> cell = encoder_decoder(gru(3, 4), stack(gru(3, 4), dense(4, 2)))
    >>> params = cell.init(jax.random.key(0))
    >>> cell.step(params, cell.init_state(params), (jnp.ones(3), jnp.array(False)))[1]
    Array([0., 0.], dtype=float32)

    Reference
    ---------
    Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; Sutskever, Vinyals & Le,
    Sequence to sequence learning with neural networks, 2014.
    """

    def init(key):
        keys = jax.random.split(key)
        return {"encoder": encoder.init(keys[0]), "decoder": decoder.init(keys[1])}

    def init_state(params):
        _checks.both("encoder_decoder", "params", params, ("encoder", "decoder"))
        _checks.array_leaves("encoder_decoder", "params", params)
        state = encoder.init_state(params["encoder"])
        like = jax.eval_shape(decoder.init_state, params["decoder"])
        shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (state, like)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"encoder_decoder: the encoder's state has leaves {shapes[0]} and the decoder's {shapes[1]}; "
                "expected the same shapes, in the same order."
            )
        return _shaped(state, like)

    def step(params, h_tm1, x_t):
        x_t, in_decoder = _checks.input_pair("encoder_decoder", x_t, "in_decoder_t")
        _checks.both("encoder_decoder", "params", params, ("encoder", "decoder"))
        _checks.array_leaves("encoder_decoder", "params", params)
        _checks.shape(
            "encoder_decoder", "in_decoder_t", in_decoder, (), "It says of each step which cell reads it."
        )
        like = jax.eval_shape(encoder.init_state, params["encoder"])
        read, _ = encoder.step(params["encoder"], _shaped(h_tm1, like), x_t)
        written, y_t = decoder.step(params["decoder"], h_tm1, x_t)

        behind = jnp.asarray(in_decoder).astype(bool)

        def choose(later, earlier):
            return jnp.where(behind, later, earlier)

        h_t = jax.tree.map(choose, written, _shaped(read, written))
        return h_t, jax.tree.map(lambda y: choose(y, jnp.zeros_like(y)), y_t)

    return Cell(init, init_state, step)


def _shaped(tree, like):
    """The leaves of a tree in the structure of another."""
    counts = [len(jax.tree.leaves(part)) for part in (tree, like)]
    if counts[0] != counts[1]:
        raise ValueError(
            f"encoder_decoder: the state has {counts[0]} leaves; expected {counts[1]}, as init_state has."
        )
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(tree))
