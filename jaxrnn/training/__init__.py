"""Training: one compiled loop, any estimator, any optax optimizer, several seeds at once."""

from jaxrnn.training.loop import History, TrainResult, train
from jaxrnn.training.optimizers import Optimizer, clipped_adam

__all__ = ["History", "Optimizer", "TrainResult", "clipped_adam", "train"]
