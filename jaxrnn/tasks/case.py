"""Case restoration: which letters were capitals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._items import frequency_loss
from jaxrnn.tasks._topics import python_topics
from jaxrnn.tasks.task import Source, Task
from jaxrnn.tasks.windows import random_windows, split
from jaxrnn.types import Batch

__all__ = ["case_restoration"]


@_checks.signature("tasks.case_restoration")
def case_restoration(characters: str | None = None, *, length: int = 64, batch_size: int = 32) -> Task:
    """Read a text in lower case and say at each letter whether it was a capital (many-to-many, E2).

    Windows are random places of the first 90 % of the text; held-out windows come from the rest. Every run
    of white space is one space. What is no letter weighs 0, and each letter 1/(T·share), with the share of
    letters in the text: so the expected loss is the mean over letters, as the baseline is.

    Capitals in the middle of a word follow a start that the network has not seen as a capital, and those
    of names follow from letters behind them: no network that reads from left to right reaches 0.

    Parameters
    ----------
    characters : a text. By default the language reference that CPython ships as ``pydoc_data.topics``,
        more than 400,000 characters, of whose letters some 2 % are capitals.
    length, batch_size : T and B.

    Returns
    -------
    Task
        Batches with xs [B, T, V], one-hot over the lower-cased characters that occur, in the order of
        Unicode, and targets [B, T], 1 for a capital. Its baseline is the cross-entropy of the frequency of
        capitals among letters.

    Raises
    ------
    ValueError
        If the text is shorter than two windows or one of its parts holds no letter, or length or
        batch_size is below 1.

    Example
    -------
    >>> task = case_restoration("One of Two. " * 20, length=11, batch_size=1)
    >>> batch = task.sample(jax.random.key(1))
    >>> "".join(" .efnotw"[i] for i in jnp.argmax(batch.xs[0], axis=-1)), batch.targets[0]
    ('o. one of t', Array([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1], dtype=int32))
    """
    length, batch_size = sizes("tasks.case_restoration", length, 1, batch_size)
    name = "characters"
    if characters is None:
        name, characters = python_topics()
    characters = " ".join(characters.split())
    # "İ" is two characters in lower case; it stays as it is, so that every step is one character.
    lower = [c.lower() if len(c.lower()) == 1 else c for c in characters]
    capitals = np.array([a != b for a, b in zip(lower, characters, strict=True)], np.int32)
    symbols = sorted(set(lower))
    index = {symbol: i for i, symbol in enumerate(symbols)}
    letter = np.array([symbol.isalpha() for symbol in symbols], bool)
    tokens = np.array([index[c] for c in lower], np.int32)
    train, held_out = (
        part.T for part in split(np.stack([tokens, capitals], -1), f"tasks.case_restoration: {name}", length)
    )
    for part in (train, held_out):
        if not letter[part[0]].any():
            raise ValueError(f"tasks.case_restoration: a part of {name} holds no letter; give another text.")

    def sampler(part):
        # Character and answer travel as one number, so that a window cuts both at the same place.
        windows = random_windows(jnp.asarray(2 * part[0] + part[1]), batch_size, length)
        share = float(np.mean(letter[part[0]]))

        def sample(key):
            both, _ = windows(key)
            weights = jnp.asarray(letter)[both // 2].astype(float) / (length * share)
            return Batch(jax.nn.one_hot(both // 2, len(symbols)), both % 2, weights)

        return sample

    return Task(
        name="case_restoration",
        input_size=len(symbols),
        output_size=2,
        sample=sampler(train),
        held_out=sampler(held_out),
        step_loss=softmax_cross_entropy,
        baseline=frequency_loss(*((part[1], letter[part[0]]) for part in (train, held_out)), 2),
        baseline_name="frequency of capitals",
        loss_unit="nats per letter",
        source=Source.of(name, characters.encode(), len(characters), f"characters, {len(symbols)} symbols"),
    )
