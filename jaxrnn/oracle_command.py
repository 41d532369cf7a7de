"""``jaxrnn oracle FILE``: the library's spectrum of given step Jacobians beside the exact one."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable
from functools import partial

import numpy as np

from jaxrnn import _checks

__all__ = ["add_parser", "prepare", "table"]

LN10 = 2.302585092994046


def add_parser(commands, integer: Callable[[str], int]) -> None:
    """Add the command to the command line; `integer` reads a t or k."""
    text = "exact singular values of a product of step Jacobians, beside the library's"
    parser = commands.add_parser("oracle", help=text, description=text)
    parser.add_argument(
        "file", metavar="FILE", help=".npy, or .npz with `js` or one array: step Jacobians [T, n, n]"
    )
    parser.add_argument("--t", type=integer, help="the pair (t, k) of ∂h_t/∂h_k (default: t = T)")
    parser.add_argument("--k", type=integer, default=0, help="default: %(default)s")
    parser.set_defaults(prepare=prepare)


def prepare(options: argparse.Namespace, command: str) -> Callable[[], None]:
    """The job; ValueError or OSError if the file or the pair is no good."""
    del command
    js = _load(options.file)
    try:
        T, _ = _checks.jacobian_chain(options.file, js)
        t, k = _checks.pair(options.file, T if options.t is None else options.t, options.k, T)
    except (IndexError, TypeError) as error:
        raise ValueError(str(error)) from error
    if not np.all(np.isfinite(js[k:t].astype(float))):
        raise ValueError(f"{options.file}: a step Jacobian between k = {k} and t = {t} is not finite.")
    return lambda: print(table(js, t, k))


def _load(path):
    """The array of a file; ValueError if there is none, or more than one to choose from."""
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            name = loaded.files[0] if len(loaded.files) == 1 else "js"
            if name in loaded.files:
                return loaded[name]
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npy or .npz file of numbers.") from error
    raise ValueError(f"{path} holds {', '.join(loaded.files) or 'nothing'}; expected `js`, or one array.")


def table(js: np.ndarray, t: int, k: int) -> str:
    """Index, log10 σ exact and by `spectrum` in the dtype of js, its error bound, certified or not."""
    import jax

    from jaxrnn.jacobians import oracle, spectrum

    exact = oracle.spectrum(js, t, k)
    jax.config.update("jax_enable_x64", True)  # or JAX would round float64 to float32
    ours = jax.jit(partial(spectrum, t=t, k=k))(js)
    title = f"∂h_{t}/∂h_{k}, n = {js.shape[1]}, {js.dtype}; log10 of the singular values"
    lines = [title, f"{'i':>4}{'exact':>20}{'spectrum':>20}{'error bound':>14}  certified"]
    for i, (truth, value, error, certified) in enumerate(zip(exact, *map(np.asarray, ours), strict=True), 1):
        truth, value, error = (float(x) / LN10 for x in (truth, value, error))
        verdict = "yes" if certified else "no"
        lines.append(f"{i:>4}{truth:>20.10f}{value:>20.10f}{error:>14.1e}  {verdict}")
    return "\n".join(lines)
