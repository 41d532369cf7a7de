"""Hyphenation: where a word may be divided."""

from __future__ import annotations

import re
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks._batches import sizes
from jaxrnn.tasks._items import frequency_loss, padded, split_items
from jaxrnn.tasks._topics import python_topics
from jaxrnn.tasks.task import Source, Task
from jaxrnn.types import Batch
from jaxrnn.weights import weights_from_lengths

__all__ = ["hyphenation"]

_PROSE = re.compile(r"(?<![\w.])[A-Za-z][a-z]{3,}(?![\w(])")
"""Words of four letters or more, and no names of Python's: nothing joined to a dot, a digit or a bracket."""


@_checks.signature("tasks.hyphenation")
def hyphenation(
    words: Iterable[str] | None = None, *, language: str = "en_US", length: int = 16, batch_size: int = 32
) -> Task:
    """Say after each letter of a word whether a hyphen may follow (many-to-many of equal length, E2).

    The answers are Pyphen's, which holds the hyphenation patterns of LibreOffice. Every word counts once,
    in lower case; those of more than `length` letters are left out. About a tenth of the words is held out,
    drawn by hash. Each letter weighs 1 / (letters of the word), padding, which is all zeros, 0.

    A hyphen depends on the letters behind it as well, which a network that reads from left to right does
    not know yet: no such network reaches 0.

    Parameters
    ----------
    words : by default those of the language reference that CPython ships as ``pydoc_data.topics``, more
        than two thousand.
    language : one of ``pyphen.LANGUAGES``.
    length, batch_size : T, the padded length, and B.

    Returns
    -------
    Task
        Batches with xs [B, T, V], one-hot over the letters that occur, in the order of Unicode, and
        targets [B, T], 1 where a hyphen may follow. Its baseline is the cross-entropy of the frequency of
        hyphens, whatever the letter.

    Raises
    ------
    ValueError
        If the language is unknown to Pyphen, a word holds anything but letters, the words are too few for
        two parts, or length or batch_size is below 1.
    ImportError
        Without Pyphen.

    Example
    -------
    >>> task = hyphenation(["recurrent", "network"] * 2 + [f"state{c}" for c in "abcdefghijklmnopqrst"])
    >>> task.source.length, task.sample(jax.random.key(0)).targets.shape
    (22, (32, 16))

    Reference
    ---------
    Liang, Word hy-phen-a-tion by com-put-er, 1983 (the patterns).
    """
    length, batch_size = sizes("tasks.hyphenation", length, 1, batch_size)
    with _checks.installed("tasks.hyphenation", "Pyphen", "tasks"):
        import pyphen
    _checks.choice("tasks.hyphenation", "language", language, pyphen.LANGUAGES)
    name = "words of pydoc_data.topics of CPython" if words is None else "words"
    kept = _distinct(_PROSE.findall(python_topics()[1]) if words is None else words, length)
    divide = pyphen.Pyphen(lang=language).positions
    symbols = sorted(set("".join(kept)))
    tokens, ends = padded(kept, symbols, length), np.array([len(word) for word in kept], np.int32)
    hyphens = np.zeros(tokens.shape, np.int32)
    for row, word in zip(hyphens, kept, strict=True):
        row[[place - 1 for place in divide(word)]] = 1
    train, held_out = split_items("tasks.hyphenation", kept)
    weights = (tokens >= 0) / np.maximum(ends, 1)[:, None]

    def sampler(rows):
        letters, end, target = (jnp.asarray(column[rows]) for column in (tokens, ends, hyphens))

        def sample(key):
            row = jax.random.randint(key, (batch_size,), 0, len(rows))
            xs = jax.nn.one_hot(letters[row], len(symbols))
            return Batch(xs, target[row], weights_from_lengths(end[row], length))

        return sample

    content = "\n".join(pyphen.Pyphen(lang=language).inserted(word) for word in kept)
    return Task(
        name="hyphenation",
        input_size=len(symbols),
        output_size=2,
        sample=sampler(train),
        held_out=sampler(held_out),
        step_loss=softmax_cross_entropy,
        baseline=frequency_loss(*((hyphens[rows], weights[rows]) for rows in (train, held_out)), 2),
        baseline_name="frequency of hyphens",
        loss_unit="nats per letter",
        source=Source.of(f"{name}, hyphens by Pyphen ({language})", content.encode(), len(kept), "words"),
        reference="Liang 1983",
    )


def _distinct(words, length):
    words = list(_checks.iterated("tasks.hyphenation", "words", words, "strings, a word each"))
    if not all(isinstance(word, str) for word in words):
        raise TypeError("tasks.hyphenation: words holds what is no string; expected strings, a word each.")
    kept = {word.lower() for word in words}
    for word in kept:
        if not word.isalpha():
            raise ValueError(f"tasks.hyphenation: words holds {word!r}; expected letters only.")
    return sorted(word for word in kept if len(word) <= length)
