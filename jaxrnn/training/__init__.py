"""Training: one compiled loop, any estimator, any optax optimizer, several seeds at once."""

from jaxrnn.training import callbacks
from jaxrnn.training.checkpoint import Checkpoints
from jaxrnn.training.history import History, TrainResult
from jaxrnn.training.loop import train
from jaxrnn.training.monitor import MonitoredNorms, MonitorState, monitor, norm_monitor
from jaxrnn.training.nonfinite import Failure, NonFiniteError
from jaxrnn.training.optimizers import Optimizer, clipped_adam
from jaxrnn.training.penalties import (
    Penalty,
    flossing_penalty,
    pascanu_penalty,
    penalized,
    spectral_norm_penalty,
)

__all__ = [
    "Checkpoints",
    "Failure",
    "History",
    "MonitorState",
    "MonitoredNorms",
    "NonFiniteError",
    "Optimizer",
    "Penalty",
    "TrainResult",
    "callbacks",
    "clipped_adam",
    "flossing_penalty",
    "monitor",
    "norm_monitor",
    "pascanu_penalty",
    "penalized",
    "spectral_norm_penalty",
    "train",
]
