"""Recurrent cells as pure functions, with plain-dict parameters in the notes' orientation (z = W h)."""

from jaxrnn.cells import activations, initializers
from jaxrnn.cells.antisymmetric import antisymmetric
from jaxrnn.cells.bidirectional import aligned, bidirectional, both_ways
from jaxrnn.cells.compose import dense, residual, stack
from jaxrnn.cells.coupled_lstm import coupled_lstm
from jaxrnn.cells.elman import elman
from jaxrnn.cells.encoder_decoder import encoder_decoder
from jaxrnn.cells.gru import gru
from jaxrnn.cells.leaky import leaky
from jaxrnn.cells.lru import lru
from jaxrnn.cells.lstm import LSTMState, lstm
from jaxrnn.cells.mgu import mgu
from jaxrnn.cells.min_gru import min_gru
from jaxrnn.cells.noise import dropout, with_keys, zoneout
from jaxrnn.cells.normalization import (
    Moments,
    Normalization,
    batch_norm,
    batch_statistics,
    layer_norm,
    with_statistics,
)
from jaxrnn.cells.orthogonal_rnn import orthogonal_matrix, orthogonal_rnn
from jaxrnn.cells.peephole_lstm import peephole_lstm
from jaxrnn.cells.skip import skip

__all__ = [
    "LSTMState",
    "Moments",
    "Normalization",
    "activations",
    "aligned",
    "antisymmetric",
    "batch_norm",
    "batch_statistics",
    "bidirectional",
    "both_ways",
    "coupled_lstm",
    "dense",
    "dropout",
    "elman",
    "encoder_decoder",
    "gru",
    "initializers",
    "layer_norm",
    "leaky",
    "lru",
    "lstm",
    "mgu",
    "min_gru",
    "orthogonal_matrix",
    "orthogonal_rnn",
    "peephole_lstm",
    "residual",
    "skip",
    "stack",
    "with_keys",
    "with_statistics",
    "zoneout",
]
