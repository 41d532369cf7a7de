"""A text of any size, read from disk batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.types import Batch, StepLoss

__all__ = ["TextStream", "text_stream"]


class TextStream(Sequence[Batch]):
    """The batches of a text in order: the b-th sequence of batch i continues that of batch i - 1.

    ``len(stream)`` batches, ``stream[i]`` reads one, with ``xs`` [B, T, V] or [B, T] and ``targets`` [B, T]
    in host memory. Nothing else is kept.
    """

    input_size: int
    """V, the number of symbols; also the size of the logits."""
    step_loss: StepLoss = staticmethod(softmax_cross_entropy)

    def __init__(self, path: Path, length: int, batch_size: int, alphabet: str, one_hot: bool):
        self.input_size, self._index = _alphabet(alphabet)
        self._rows = np.eye(self.input_size, dtype=jnp.result_type(float)) if one_hot else None
        self._path, self._length = path, length
        with path.open("rb") as file:
            size = file.seek(0, 2)
        lane = (size - 1) // batch_size
        self._n_batches = lane // length
        if self._n_batches < 1:
            raise ValueError(
                f"tasks.text_stream: {path.name} has {size} bytes; expected at least "
                f"{batch_size * length + 1} for {batch_size} sequences of {length} steps. Give more text or "
                "smaller batches."
            )
        self._starts = lane * np.arange(batch_size)[:, None] + np.arange(length + 1)

    def __len__(self) -> int:
        """How many batches there are."""
        return self._n_batches

    def __getitem__(self, i):
        """Batch i; negative numbers count from the end."""
        number = range(self._n_batches)[_checks.integer("tasks.text_stream", "the index", i)]
        # Mapped anew for each batch: pages that were read would count as this process's memory for ever.
        text = np.memmap(self._path, np.uint8, "r")
        tokens = self._index[text[self._starts + number * self._length]]
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        return Batch(inputs if self._rows is None else self._rows[inputs], targets)


@_checks.signature("tasks.text_stream")
def text_stream(
    path: str | Path,
    *,
    length: int = 64,
    batch_size: int = 32,
    alphabet: str = "letters",
    one_hot: bool = True,
) -> TextStream:
    """Predict the next character of a text far larger than memory, in order, for a stream (E18).

    The text is cut into B equal parts, which are read side by side; each batch continues the sequences of
    the one before, so pass it to ``training.train(..., stream=True, steps=None)``.

    Parameters
    ----------
    path : a file.
    length, batch_size : T and B.
    alphabet : ``"letters"``: a-z in either case and a space for every other byte (27 symbols); ``"bytes"``:
        every byte is a symbol of its own (256).
    one_hot : whether inputs are one-hot rows [B, T, V], or the symbols' numbers [B, T], for a step that
        embeds them itself.

    Returns
    -------
    TextStream
        A sequence of `Batch` with ``input_size`` and ``step_loss``. At most ``(size - 1) mod B·T`` bytes of
        the file are left over.

    Raises
    ------
    ValueError
        If the file is shorter than one batch.
    OSError
        If it cannot be read.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "text")
    >>> _ = path.write_text("where does the gradient go? " * 100)
    >>> stream = text_stream(path, length=10, batch_size=4)
    >>> len(stream), stream[0].xs.shape
    (69, (4, 10, 27))
    """
    length = _checks.at_least("tasks.text_stream", "length", length, 1)
    batch_size = _checks.at_least("tasks.text_stream", "batch_size", batch_size, 1)
    _checks.choice("tasks.text_stream", "alphabet", alphabet, ("bytes", "letters"))
    path = _checks.file("tasks.text_stream", "path", path)
    return TextStream(path, length, batch_size, alphabet, one_hot)


def _alphabet(name):
    """(number of symbols, byte -> symbol)."""
    if name == "bytes":
        return 256, np.arange(256, dtype=np.int32)
    index = np.zeros(256, np.int32)
    for first in (ord("a"), ord("A")):
        index[first : first + 26] = 1 + np.arange(26)
    return 27, index
