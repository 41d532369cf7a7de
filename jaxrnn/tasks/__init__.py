"""Data to train on, each with its loss and the baseline that a predictor without memory reaches."""

from jaxrnn.tasks.influence_balancing import influence_balancing
from jaxrnn.tasks.series import series
from jaxrnn.tasks.synthetic import adding, delayed_copy, linear_process, temporal_order
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.text import text

__all__ = [
    "Source",
    "Task",
    "adding",
    "delayed_copy",
    "influence_balancing",
    "linear_process",
    "series",
    "temporal_order",
    "text",
]
