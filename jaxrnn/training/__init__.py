"""Training: one compiled loop, any estimator, any optax optimizer, several seeds at once."""

from jaxrnn.training.loop import History, TrainResult, train
from jaxrnn.training.monitor import MonitoredNorms, norm_monitor
from jaxrnn.training.optimizers import Optimizer, clipped_adam

__all__ = ["History", "MonitoredNorms", "Optimizer", "TrainResult", "clipped_adam", "norm_monitor", "train"]
