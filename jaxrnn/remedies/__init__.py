"""Each cure of vanishing and exploding gradients as a switch, and a bench that measures what it does."""

from jaxrnn.remedies.bench import Bench, Outcome, bench
from jaxrnn.remedies.catalogue import MAX_NORM, REMEDIES, remedy
from jaxrnn.remedies.reach import Reach
from jaxrnn.remedies.setup import Remedy, Setup, Sizes, layer_of

__all__ = [
    "MAX_NORM",
    "REMEDIES",
    "Bench",
    "Outcome",
    "Reach",
    "Remedy",
    "Setup",
    "Sizes",
    "bench",
    "layer_of",
    "remedy",
]
