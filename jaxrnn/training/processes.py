"""A training of several processes: what they decide together, and how they end when one of them is gone."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np

__all__ = ["any_process", "is_lost", "together"]

_LOST = re.compile(
    r"gloo|nccl|heartbeat|coordination|connection (reset|closed|refused)|socket closed|broken pipe"
    r"|UNAVAILABLE|DEADLINE_EXCEEDED|task is set to ERROR",
    re.IGNORECASE,
)
_HANDLERS = []
"""C functions that a signal may still call; without a reference they would be freed."""


def any_process(*flags: bool) -> list[bool]:
    """Whether each of these holds in some process; all of them must ask."""
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.array(flags)).any(axis=0).tolist()


def is_lost(error: BaseException) -> bool:
    """Whether JAX's error says that another process does not answer."""
    return isinstance(error, ConnectionError) or bool(_LOST.search(str(error)))


@contextmanager
def together(processes: int, saved: Callable[[], int | None]) -> Generator[None]:
    """Within it, an error of JAX since another process is gone is a ConnectionError that says how to go on.

    JAX's coordination service may notice first, and then aborts this process with a message of its own, which
    is of no use to whoever reads it: the same words are said then, behind it.
    """
    if processes == 1:
        yield
        return

    def message():
        step = saved()
        remedy = (
            "nothing was saved; pass checkpoints=, a folder that all processes share"
            if step is None
            else f"start all of them again with resume=True to go on from step {step}"
        )
        return f"training.train: a process of this run is gone, one of {processes}; {remedy}."

    restore = _said_at_abort(message)
    try:
        yield
    except Exception as error:
        if not is_lost(error):
            restore()
            raise
        # The handler stays: the coordination service may abort this process before the error is printed.
        raise ConnectionError(message()) from error
    except BaseException:
        restore()
        raise
    restore()


def _said_at_abort(message):
    """Have the message written when the process aborts; returns what undoes it.

    Python's own handlers would not run any more: they wait for the main thread.
    """
    if os.name != "posix":
        return lambda: None
    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p

    def say(_):
        os.write(2, f"\njaxrnn: {message()}\n".encode())

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(say)
    _HANDLERS[:] = [handler]
    before = set_handler(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    return lambda: set_handler(signal.SIGABRT, before)
