"""Ctrl-C and SIGTERM: the chunk that runs is finished, then training ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["noticed"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noticed(say: Callable[[str], None]) -> Generator[Callable[[], bool]]:
    """A function that tells whether a signal has come; at the second one, KeyboardInterrupt at once.

    Python lets the main thread handle signals only; in another one, nothing is changed.
    """
    come = False

    def handle(number, frame):
        nonlocal come
        del frame
        if come:
            raise KeyboardInterrupt
        come = True
        say(f"{signal.Signals(number).name}: finishing this chunk of steps; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield lambda: come
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
