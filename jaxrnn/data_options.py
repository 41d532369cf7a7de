"""The options of the command line that say which data, and the numbers that options are."""

from __future__ import annotations

import argparse
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrnn.tasks import Task

__all__ = ["add", "count", "integer", "positive", "seed", "settings", "task"]

_LENGTHS = {
    "text": 100,
    "series": 30,
    "adding": 100,
    "delayed_copy": 100,
    "temporal_order": 100,
    "linear_process": 100,
    "copying": 120,
    "sequential_parity": 20,
    "flip_flop": 100,
    "sine_generator": 100,
    "case_restoration": 64,
    "hyphenation": 16,
    "surnames": 16,
}
"""task -> steps of a sequence unless --length says otherwise."""


def add(parser: argparse.ArgumentParser):
    """Add the options to the parser; returns the group of those that exclude each other."""
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--text", metavar="FILE", help="a UTF-8 text to model, character by character")
    data.add_argument("--csv", metavar="FILE", help="a CSV file to forecast, with --column")
    data.add_argument(
        "--task",
        choices=_LENGTHS,
        default="text",
        help="built-in data: Python's reference, prices, words, names, or a synthetic task",
    )
    parser.add_argument(
        "--with",
        dest="settings",
        metavar="NAME=VALUE",
        type=_setting,
        nargs="+",
        action="extend",
        default=[],
        help="settings of --task, such as delay=30 of delayed_copy",
    )
    parser.add_argument("--column", metavar="NAME", help="the column to forecast, of --csv or --task series")
    parser.add_argument(
        "--inputs", metavar="NAME", nargs="+", help="the columns that the network reads (default: that one)"
    )
    parser.add_argument(
        "--alphabet", choices=("letters", "all"), default="letters", help="27 symbols, or all"
    )
    parser.add_argument("--length", type=positive, help="steps of a sequence (each task has its own)")
    parser.add_argument("--batch", type=positive, default=16, help="sequences of a batch (%(default)s)")
    return data


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What --with says; ValueError if an option speaks of other data than those that are read."""
    if (options.column or options.inputs) and options.csv is None and options.task != "series":
        option = "--column" if options.column else "--inputs"
        raise ValueError(f"{option} needs --csv FILE or --task series.")
    types = _types_of_settings(options.task)
    found = {}
    for name, value in options.settings:
        if name not in types:
            raise ValueError(
                f"--with {name}: {options.task} has no such setting; expected {' or '.join(types) or 'none'}."
            )
        try:
            found[name] = types[name](value)
        except ValueError:
            expected = {int: "an integer", float: "a number"}[types[name]]
            raise ValueError(f"--with {name}={value}: expected {expected}.") from None
    return found


def task(options: argparse.Namespace) -> Task:
    """The task that the options name; ValueError or OSError if the data are no good."""
    from jaxrnn import tasks

    given = settings(options)
    name = "series" if options.csv is not None else options.task
    files = {
        "text": partial(tasks.text, options.text, alphabet=options.alphabet),
        "series": partial(tasks.series, options.csv, column=options.column, inputs=options.inputs),
    }
    constructor = files.get(name) or getattr(tasks, name)
    return constructor(length=options.length or _LENGTHS[name], batch_size=options.batch, **given)


def _types_of_settings(name):
    """name -> type, of what a task takes; text and series have options of their own."""
    from jaxrnn import tasks

    if name in ("text", "series"):
        return {}
    parameters = inspect.signature(getattr(tasks, name)).parameters
    types = {key: type(parameter.default) for key, parameter in parameters.items()}
    others = ("length", "batch_size")
    return {key: kind for key, kind in types.items() if kind in (int, float, str) and key not in others}


def _setting(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def positive(text: str) -> int:
    """An integer of at least 1."""
    return integer(text, 1)


def count(text: str) -> int:
    """An integer of at least 0."""
    return integer(text, 0)


def seed(text: str) -> int:
    """An integer that JAX takes as a seed."""
    return integer(text, 0, 2**32 - 1)


def integer(text: str, minimum: int, maximum: int | None = None) -> int:
    """An integer within bounds; an error of argparse otherwise."""
    try:
        value = int(text)
    except ValueError:
        value = minimum - 1
    if value < minimum:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {minimum}")
    if maximum is not None and value > maximum:
        raise argparse.ArgumentTypeError(f"{text!r} is larger than {maximum}")
    return value
