"""Dates written out in a language, into ISO 8601: a small translation."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import _checks
from jaxrnn.losses import softmax_cross_entropy
from jaxrnn.tasks._items import frequency_loss, padded, split_items
from jaxrnn.tasks.task import Source, Task
from jaxrnn.types import Batch

__all__ = ["dates"]

_ISO = "0123456789-"
_LENGTH = len("yyyy-mm-dd")


@_checks.signature("tasks.dates")
def dates(
    *, locales: Sequence[str] = ("en",), years: tuple[int, int] = (1950, 2049), batch_size: int = 32
) -> Task:
    """Translate "March 7, 2023" into "2023-03-07": many-to-many of unequal length (E2).

    A task for `cells.encoder_decoder`. The text is Babel's long format. The first T_in steps hold it, padded
    on the left, so that it ends where the decoder begins; they weigh 0. The last ten steps hold the previous
    character of the answer (teacher forcing; first a start symbol) and ask for the next; they weigh 1/10
    each.

    About a tenth of the dates is held out, drawn by hash of the date, so that none of them is trained on in
    any language. A batch draws date and locale apart.

    Parameters
    ----------
    locales : one or more, as Babel calls them, such as ``("en", "fr", "de")``.
    years : the first and the last, within 1000..9999.
    batch_size : B.

    Returns
    -------
    Task
        Batches with xs = (characters [B, T, V], in_decoder [B, T]), as `cells.encoder_decoder` reads them:
        one-hot, zeros for padding, and booleans. The symbols are 0123456789-, the start, and whatever else
        the texts hold, in the order of Unicode. Targets [B, T] are places within 0123456789-, and 0 where
        they do not weigh. ``input_size`` is V, ``output_size`` 11. Its baseline is the cross-entropy of the
        frequencies of the characters at each of the ten places.

    Raises
    ------
    ValueError
        If a locale is unknown to Babel, given twice, or there is none, years are not in order within
        1000..9999, or batch_size < 1.
    ImportError
        Without Babel.

    Example
    -------
    >>> task = dates(locales=["en", "fr"], batch_size=2)
    >>> batch = task.sample(jax.random.key(0))
    >>> "".join("0123456789-"[i] for i in batch.targets[0, -10:])
    '1986-11-07'

    Reference
    ---------
    Sutskever, Vinyals & Le, Sequence to sequence learning with neural networks, 2014 (the shape).
    """
    batch_size = _checks.at_least("tasks.dates", "batch_size", batch_size, 1)
    days = _days(years)
    texts = [text for locale in _locales(locales) for text in _long(locale, days)]
    symbols = [*_ISO, "start", *sorted(set("".join(texts)) - set(_ISO))]
    read = padded(texts, symbols, max(map(len, texts)), left=True).reshape(len(locales), len(days), -1)
    written = padded([day.isoformat() for day in days], _ISO, _LENGTH)
    train, held_out = split_items("tasks.dates", [day.isoformat() for day in days])
    n_read = read.shape[-1]

    def sampler(rows):
        texts, answers = jnp.asarray(read[:, rows]), jnp.asarray(written[rows])
        start = jnp.full((batch_size, 1), len(_ISO), answers.dtype)
        in_decoder = np.arange(n_read + _LENGTH) >= n_read

        def sample(key):
            key_locale, key_day = jax.random.split(key)
            locale = jax.random.randint(key_locale, (batch_size,), 0, len(locales))
            day = jax.random.randint(key_day, (batch_size,), 0, len(rows))
            answer = answers[day]
            tokens = jnp.concatenate([texts[locale, day], start, answer[:, :-1]], axis=1)
            decoding = jnp.tile(jnp.asarray(in_decoder), (batch_size, 1))
            return Batch(
                (jax.nn.one_hot(tokens, len(symbols)), decoding),
                jnp.pad(answer, ((0, 0), (n_read, 0))),
                jnp.asarray(decoding, float) / _LENGTH,
            )

        return sample

    places = [frequency_loss(written[train, i], written[held_out, i], len(_ISO)) for i in range(_LENGTH)]
    return Task(
        name="dates",
        input_size=len(symbols),
        output_size=len(_ISO),
        sample=sampler(train),
        held_out=sampler(held_out),
        step_loss=softmax_cross_entropy,
        baseline=float(np.mean(places)),
        baseline_name="character frequencies by position",
        loss_unit="nats per character",
        source=Source.of(
            f"dates {years[0]} to {years[1]} by Babel, {', '.join(locales)}",
            "\n".join(texts).encode(),
            len(texts),
            "dates",
        ),
        reference="Sutskever, Vinyals & Le 2014",
        encoder_decoder=True,
    )


def _days(years):
    years = _checks.listed("tasks.dates", "years", years, "the first and the last year")
    span = [_checks.integer("tasks.dates", "years", year) for year in years]
    if len(span) != 2 or not 1000 <= span[0] <= span[1] <= 9999:
        raise ValueError(f"tasks.dates: years is {years}; expected 1000 <= first <= last <= 9999.")
    start, end = datetime.date(span[0], 1, 1).toordinal(), datetime.date(span[1], 12, 31).toordinal()
    return [datetime.date.fromordinal(day) for day in range(start, end + 1)]


def _locales(names):
    with _checks.installed("tasks.dates", "Babel", "tasks"):
        from babel import Locale
        from babel.localedata import locale_identifiers
    known = set(locale_identifiers())
    names = _checks.listed("tasks.dates", "locales", names, "names such as ['en']")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(
                f"tasks.dates: locales has {name!r}, which Babel does not know; expected names such as 'en', "
                "'de', 'pt_BR'."
            )
    if not 1 <= len(names) == len(set(names)):
        raise ValueError(f"tasks.dates: locales is {tuple(names)}; expected one or more, each once.")
    return [Locale.parse(name) for name in names]


def _long(locale, days):
    from babel.dates import format_date

    return [format_date(day, "long", locale) for day in days]
