"""Training: one compiled loop, any estimator, any optax optimizer, several seeds at once."""

from jaxrnn.training import callbacks
from jaxrnn.training.loop import History, TrainResult, train
from jaxrnn.training.monitor import MonitoredNorms, MonitorState, monitor, norm_monitor
from jaxrnn.training.optimizers import Optimizer, clipped_adam
from jaxrnn.training.penalties import (
    Penalty,
    flossing_penalty,
    pascanu_penalty,
    penalized,
    spectral_norm_penalty,
)

__all__ = [
    "History",
    "MonitorState",
    "MonitoredNorms",
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
