"""Other libraries' cells, plain functions and torch's weights as a `Cell`; a library is imported on use."""

from jaxrnn.adapters.equinox import equinox
from jaxrnn.adapters.flax_linen import flax_linen
from jaxrnn.adapters.flax_nnx import flax_nnx
from jaxrnn.adapters.haiku import haiku
from jaxrnn.adapters.keras import keras
from jaxrnn.adapters.plain import from_step
from jaxrnn.adapters.torch import from_torch

__all__ = ["equinox", "flax_linen", "flax_nnx", "from_step", "from_torch", "haiku", "keras"]
