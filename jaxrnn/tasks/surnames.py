"""Surnames, and the country that they come from."""

from __future__ import annotations

import importlib
import pkgutil
import unicodedata
from collections import Counter
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks._batches import at_the_end, sizes
from jaxrnn.tasks._items import frequency_loss, padded, split_items
from jaxrnn.tasks.task import Source, Task
from jaxrnn.weights import weights_from_lengths

__all__ = ["surnames"]

_LOCALES = ("de_DE", "en_GB", "es_ES", "et_EE", "fi_FI", "fr_FR", "hr_HR", "it_IT", "nl_NL", "sv_SE")


@_checks.signature("tasks.surnames")
def surnames(*, locales: Sequence[str] = _LOCALES, length: int = 16, batch_size: int = 32) -> Task:
    """Read a surname letter by letter and say at its end where it comes from (many-to-one, E2).

    The names are Faker's lists, in lower case. Names of more than `length` characters are left out, and
    those that occur in several of the locales. About a tenth of the names is held out, drawn by hash.
    Sequences differ in length: padding is all zeros and weighs 0, the last letter weighs 1.

    Parameters
    ----------
    locales : two or more, as Faker calls them; class i is the i-th. By default ten in Latin script.
    length, batch_size : T, the padded length, and B.

    Returns
    -------
    Task
        Batches with xs [B, T, V], one-hot over the characters that occur, in the order of Unicode, and
        targets [B, T], the class at every step. Its baseline is the cross-entropy of the classes'
        frequencies.

    Raises
    ------
    ValueError
        If a locale is unknown to Faker, given twice or without names of its own, if there is but one, or
        length or batch_size is below 1.
    ImportError
        Without Faker.

    Example
    -------
    >>> task = surnames(locales=["fi_FI", "it_IT"], batch_size=3)
    >>> batch = task.sample(jax.random.key(0))
    >>> batch.xs.shape == (3, 16, task.input_size), batch.weights.sum(axis=1)
    (True, Array([1., 1., 1.], dtype=float32))

    Reference
    ---------
    Robertson, Classifying names with a character-level RNN, the PyTorch tutorials, 2017 (with other names).
    """
    length, batch_size = sizes("tasks.surnames", length, 1, batch_size)
    names, classes = _names(
        _checks.listed("tasks.surnames", "locales", locales, "names such as ['de_DE']"), length
    )
    symbols = sorted(set("".join(names)))
    tokens, ends = padded(names, symbols, length), np.array([len(name) for name in names], np.int32)
    train, held_out = split_items("tasks.surnames", names)

    def sampler(rows):
        letters, end, target = (jnp.asarray(column[rows]) for column in (tokens, ends, classes))

        def sample(key):
            row = jax.random.randint(key, (batch_size,), 0, len(rows))
            batch = at_the_end(jax.nn.one_hot(letters[row], len(symbols)), target[row])
            return batch._replace(weights=weights_from_lengths(end[row], length, form="last"))

        return sample

    content = "\n".join(f"{locales[i]} {name}" for i, name in zip(classes, names, strict=True))
    return Task(
        name="surnames",
        input_size=len(symbols),
        output_size=len(locales),
        sample=sampler(train),
        held_out=sampler(held_out),
        step_loss=softmax_cross_entropy,
        baseline=frequency_loss(classes[train], classes[held_out], len(locales)),
        baseline_name="class frequencies",
        loss_unit="nats",
        source=Source.of(f"surnames of Faker, {', '.join(locales)}", content.encode(), len(names), "names"),
        reference="Robertson 2017",
    )


def _names(locales, length):
    """(names, classes [N]), without those of several locales."""
    with _checks.installed("tasks.surnames", "Faker", "tasks"):
        from faker.providers import person
    known = {module.name for module in pkgutil.iter_modules(person.__path__) if module.ispkg}
    for locale in locales:
        _checks.choice("tasks.surnames", "locales", locale, known)
    if len(set(locales)) < max(2, len(locales)):
        raise ValueError(f"tasks.surnames: locales is {locales}; expected two or more, each once.")
    lists = [importlib.import_module(f"{person.__name__}.{locale}").Provider.last_names for locale in locales]
    # A locale without a list inherits one, whose only name is Doe.
    found = [set() if names is person.Provider.last_names else _plain(names, length) for names in lists]
    occurrences = Counter(name for names in found for name in names)
    own = [sorted(name for name in names if occurrences[name] == 1) for names in found]
    for locale, names in zip(locales, own, strict=True):
        if not names:
            raise ValueError(
                f"tasks.surnames: locales has {locale}, for which Faker holds no names of its own of up to "
                f"{length} characters. Leave it out."
            )
    classes = np.repeat(np.arange(len(locales), dtype=np.int32), [len(names) for names in own])
    return [name for names in own for name in names], classes


def _plain(names, length):
    plain = {unicodedata.normalize("NFC", name.strip().lower()) for name in names}
    return {name for name in plain if 0 < len(name) <= length}
