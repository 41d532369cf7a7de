"""Recurrent cells as pure functions, with plain-dict parameters in the notes' orientation (z = W h)."""

from jaxrnn.cells import activations, initializers
from jaxrnn.cells.compose import dense, residual, stack
from jaxrnn.cells.elman import elman
from jaxrnn.cells.gru import gru
from jaxrnn.cells.lstm import LSTMState, lstm

__all__ = ["LSTMState", "activations", "dense", "elman", "gru", "initializers", "lstm", "residual", "stack"]
