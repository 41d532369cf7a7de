"""``jaxrnn env``: what is installed and where it runs, for a report of a problem."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

__all__ = ["add_parser", "prepare", "table"]

_PACKAGES = (
    "jaxrnn", "jax", "jaxlib", "numpy", "scipy", "optax", "matplotlib", "flax", "equinox", "dm-haiku",
    "keras", "torch", "safetensors", "mpmath", "scikit-learn", "faker", "babel", "pyphen",
)  # fmt: skip


def add_parser(commands) -> None:
    """Add the command to the command line."""
    text = "versions and devices, for a report of a problem"
    parser = commands.add_parser("env", help=text, description=text)
    parser.set_defaults(prepare=prepare)


def prepare(options: argparse.Namespace, command: str) -> Callable[[], None]:
    """The job."""
    del options, command
    return lambda: print(table())


def table() -> str:
    """A line for Python, each package that is installed, JAX's devices and settings."""
    import jax

    rows = [("Python", f"{platform.python_version()} on {platform.platform()}")]
    for name in _PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    rows += [
        ("devices", ", ".join(map(str, jax.devices()))),
        ("cores", str(os.cpu_count())),
        ("double precision", "on" if jax.config.read("jax_enable_x64") else "off"),
        ("OPENBLAS_NUM_THREADS", os.environ.get("OPENBLAS_NUM_THREADS", "unset")),
    ]
    return "\n".join(f"{name:<21}{value}" for name, value in rows)
