"""Recurrent cells as pure functions, with plain-dict parameters in the notes' orientation (z = W h)."""

from jaxrnn.cells import activations, initializers
from jaxrnn.cells.antisymmetric import antisymmetric
from jaxrnn.cells.compose import dense, residual, stack
from jaxrnn.cells.coupled_lstm import coupled_lstm
from jaxrnn.cells.elman import elman
from jaxrnn.cells.gru import gru
from jaxrnn.cells.leaky import leaky
from jaxrnn.cells.lru import lru
from jaxrnn.cells.lstm import LSTMState, lstm
from jaxrnn.cells.mgu import mgu
from jaxrnn.cells.min_gru import min_gru
from jaxrnn.cells.orthogonal_rnn import orthogonal_matrix, orthogonal_rnn
from jaxrnn.cells.peephole_lstm import peephole_lstm

__all__ = [
    "LSTMState",
    "activations",
    "antisymmetric",
    "coupled_lstm",
    "dense",
    "elman",
    "gru",
    "initializers",
    "leaky",
    "lru",
    "lstm",
    "mgu",
    "min_gru",
    "orthogonal_matrix",
    "orthogonal_rnn",
    "peephole_lstm",
    "residual",
    "stack",
]
