"""Data to train on, each with its loss and the baseline that a predictor without memory reaches."""

from jaxrnn.tasks.series import series
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.text import text

__all__ = ["Source", "Task", "series", "text"]
