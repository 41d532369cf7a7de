"""Data to train on, each with its loss and the baseline that a predictor without memory reaches."""

from jaxrnn.tasks.adding import adding
from jaxrnn.tasks.case import case_restoration
from jaxrnn.tasks.copying import copying
from jaxrnn.tasks.dates import dates
from jaxrnn.tasks.delayed_copy import delayed_copy
from jaxrnn.tasks.digits import digits
from jaxrnn.tasks.flip_flop import flip_flop
from jaxrnn.tasks.hyphenation import hyphenation
from jaxrnn.tasks.influence_balancing import influence_balancing
from jaxrnn.tasks.linear_process import linear_process
from jaxrnn.tasks.parity import sequential_parity
from jaxrnn.tasks.series import series
from jaxrnn.tasks.sine_generator import sine_generator
from jaxrnn.tasks.surnames import surnames
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.temporal_order import temporal_order
from jaxrnn.tasks.text import text
from jaxrnn.tasks.text_stream import TextStream, text_stream

__all__ = [
    "Source",
    "Task",
    "TextStream",
    "adding",
    "case_restoration",
    "copying",
    "dates",
    "delayed_copy",
    "digits",
    "flip_flop",
    "hyphenation",
    "influence_balancing",
    "linear_process",
    "sequential_parity",
    "series",
    "sine_generator",
    "surnames",
    "temporal_order",
    "text",
    "text_stream",
]
