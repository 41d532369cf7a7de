"""Character language modelling on real text."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks._items import frequency_loss
from jaxrnn.tasks._topics import python_topics
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.windows import random_windows, split
from jaxrnn.types import Batch

__all__ = ["text"]

_LETTERS = " abcdefghijklmnopqrstuvwxyz"


@_checks.signature("tasks.text")
def text(
    path: str | Path | None = None, *, length: int = 64, batch_size: int = 32, alphabet: str = "letters"
) -> Task:
    """Predict the next character of a text: language modelling, many-to-many of equal length (E2).

    Inputs are one-hot characters [B, T, V], targets the next characters [B, T], from random windows of
    the first 90 %; held-out windows come from the rest.

    Parameters
    ----------
    path : a UTF-8 text file. By default the language reference that CPython ships as
        ``pydoc_data.topics``, more than 400,000 characters.
    length, batch_size : T and B.
    alphabet : ``"letters"`` lower-cases and maps every run of anything but a-z to one space (27 symbols);
        ``"all"`` keeps the text as it is.

    Returns
    -------
    Task
        Its baseline is the cross-entropy of the character frequencies, in nats per character.

    Raises
    ------
    ValueError
        If the file is empty, not text, or shorter than two windows.
    OSError
        If the file cannot be read.

    Example
    -------
    >>> task = text(length=8, batch_size=2)
    >>> task.sample(jax.random.key(0)).xs.shape
    (2, 8, 27)
    """
    length = _checks.at_least("tasks.text", "length", length, 1)
    batch_size = _checks.at_least("tasks.text", "batch_size", batch_size, 1)
    _checks.choice("tasks.text", "alphabet", alphabet, ("all", "letters"))
    if path is None:
        name, characters = python_topics()
        content = characters.encode()
    else:
        name, content, characters = _read(_checks.file("tasks.text", "path", path))
    if alphabet == "letters":
        characters = " ".join("".join(c if c in _LETTERS else " " for c in characters.lower()).split())
    if not characters:
        raise ValueError(f"tasks.text: {name} holds no letters a-z; give another file or alphabet='all'.")
    symbols = _LETTERS if alphabet == "letters" else "".join(sorted(set(characters)))
    index = {symbol: i for i, symbol in enumerate(symbols)}
    tokens = np.array([index[c] for c in characters], np.int32)
    train, held_out = split(tokens, f"tasks.text: {name}", length)
    return Task(
        name="text",
        input_size=len(symbols),
        output_size=len(symbols),
        sample=_batches(train, batch_size, length, len(symbols)),
        held_out=_batches(held_out, batch_size, length, len(symbols)),
        step_loss=softmax_cross_entropy,
        baseline=frequency_loss(train, held_out, len(symbols)),
        baseline_name="character frequencies",
        loss_unit="nats per character",
        source=Source.of(name, content, len(characters), f"characters, {len(symbols)} symbols"),
    )


def _batches(tokens, batch_size, length, n_symbols):
    windows = random_windows(jnp.asarray(tokens), batch_size, length)

    def sample(key):
        inputs, targets = windows(key)
        return Batch(jax.nn.one_hot(inputs, n_symbols), targets)

    return sample


def _read(path):
    content = path.read_bytes()
    if not content:
        raise ValueError(f"tasks.text: {path.name} is empty; expected a text file.")
    try:
        characters = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"tasks.text: {path.name} is not UTF-8 text (byte {error.start}); expected a text file."
        ) from error
    if "\0" in characters:
        raise ValueError(f"tasks.text: {path.name} holds NUL bytes; expected a text file, not a binary one.")
    return path.name, content, characters
