"""Real data made of items: images, names, words, dates, each whole on one side of the split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from jaxrnn.tasks.windows import HELD_OUT

__all__ = ["frequency_loss", "padded", "split_items"]


def split_items(function: str, items: Iterable[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the training part, rows of the held-out part); ValueError if either is empty.

    An item's own hash decides. So equal items lie on one side, and an item stays on its side whatever
    other items there are.
    """
    border = int(HELD_OUT * 2**64)
    kept = [
        int.from_bytes(hashlib.sha256(i.encode() if isinstance(i, str) else i).digest()[:8]) < border
        for i in items
    ]
    train, held_out = np.flatnonzero(np.logical_not(kept)), np.flatnonzero(kept)
    if not (len(train) and len(held_out)):
        raise ValueError(
            f"{function}: {len(kept)} items are too few for a training and a held-out part, of which one "
            "would be empty; expected some dozens. Give more data."
        )
    return train, held_out


def padded(strings: Sequence[str], symbols: Sequence[str], length: int, *, left: bool = False) -> np.ndarray:
    """Places within `symbols` [N, length]; -1, which one-hot maps to zeros, is the padding."""
    index = {symbol: i for i, symbol in enumerate(symbols)}
    tokens = np.full((len(strings), length), -1, np.int32)
    for row, string in zip(tokens, strings, strict=True):
        row[length - len(string) if left else 0 :][: len(string)] = [index[c] for c in string]
    return tokens


def frequency_loss(train, held_out, classes: int) -> float:
    """Cross-entropy in nats of the classes' add-one frequencies, trained on one part and held to another.

    Each part is classes [N, ...], or a pair of classes and weights of one shape.
    """
    (found, weight), (asked, asked_weight) = (
        part if isinstance(part, tuple) else (part, np.ones(np.shape(part))) for part in (train, held_out)
    )
    counts = np.bincount(found.ravel(), weight.ravel(), minlength=classes) + 1
    return float(np.average(-np.log(counts / counts.sum())[asked], weights=asked_weight))
