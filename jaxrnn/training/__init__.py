"""Training: one compiled loop, any estimator, any optax optimizer, several seeds at once."""

from jaxrnn.training.loop import History, TrainResult, train

__all__ = ["History", "TrainResult", "train"]
