"""What makes JAX trace, lower and compile faster, and changes no test; also a plugin, for doctests."""

import gc
import os
import threading

from jax._src.interpreters import mlir
from pages import QUICK_XLA


def _shared(make_context):
    """JAX makes an MLIR context for every program: half of the time that it takes to lower a small one.

    A context may hold any number of programs, one after another, and keeps what they were made of; so a new
    one follows now and then. Each thread has its own, and so has a program that is made within another one.
    """
    local = threading.local()

    def context():
        if mlir.ir.Context.current is not None:
            return make_context()
        local.count = getattr(local, "count", -1) + 1
        if local.count % 200 == 0:
            local.context = make_context()
        return local.context

    return context


def pytest_configure():
    # Nearly all of the time is compilation; notebooks and reports run what users run.
    os.environ.setdefault("XLA_FLAGS", QUICK_XLA)
    # By default a tenth of the suite's time: what JAX traces and compiles lives long and is searched again.
    gc.set_threshold(50_000, 20, 20)
    # Where JAX has it no more, the suite is slower and the same.
    if hasattr(mlir, "make_ir_context"):
        mlir.make_ir_context = _shared(mlir.make_ir_context)
