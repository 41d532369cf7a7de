"""What the adapters of modules share."""

from __future__ import annotations

__all__ = ["refuse_loop"]


def refuse_loop(function: str, module) -> None:
    """TypeError if it is not a cell but runs one, as ``nn.RNN`` and Keras' ``LSTM`` do."""
    if hasattr(module, "cell"):
        raise TypeError(
            f"{function}: {type(module).__name__} runs a cell over a whole sequence; give its cell, .cell."
        )
