"""The command line: ``jaxrnn report``, ``spectra``, ``compare``, ``train``, ``oracle`` and ``env``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from jaxrnn import data_options, env_command, oracle_command, train_command

__all__ = ["main"]

# SciPy's BLAS, which serves JAX's small SVDs and QRs on CPU, is many times slower on several threads; it
# reads this when it is loaded, at the first of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit code 2, without the usage."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    command = shlex.join(["jaxrnn", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        job = options.prepare(options, command)
    except (OSError, ValueError, ImportError) as error:
        return _bad_input(options, error)
    try:
        return job() or 0
    except (OSError, ImportError) as error:  # a folder that cannot be written, an extra that is missing
        return _bad_input(options, error)
    except KeyboardInterrupt:
        print(f"jaxrnn {options.command}: interrupted; no report was written.", file=sys.stderr)
        return 130


def _bad_input(options, error):
    print(f"jaxrnn {options.command}: error: {_one_line(error)}", file=sys.stderr)
    return 2


def _prepare_report(options, command):
    """The job of a report; ValueError or OSError if the options or the data are no good."""
    import jax

    from jaxrnn import report

    if options.x64:
        jax.config.update("jax_enable_x64", True)
    for name in options.cell:
        if name not in report.CELLS:
            raise ValueError(f"--cell {name!r} is unknown; expected some of {','.join(report.CELLS)}.")
    if options.command != "spectra" and options.steps == 0:
        raise ValueError("--steps 0 trains nothing to compare; only `jaxrnn spectra` takes it.")
    settings = report.Settings(
        hidden=options.hidden,
        steps=options.steps,
        seeds=options.seeds,
        windows=options.windows,
        seed=options.seed,
        with_spectra=options.command in ("report", "spectra"),
        with_comparison=options.command in ("report", "compare"),
    )
    return partial(_write_report, options, data_options.task(options), settings, command)


def _write_report(options, task, settings, command):
    from jaxrnn import report

    tables = report.build(
        task, options.cell, settings, options.out, command=command, progress=not options.quiet
    )
    print(tables)
    print(f"Open {os.path.join(options.out, 'index.html')} in a browser.")


def _one_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _build_parser():
    parser = _Parser(prog="jaxrnn", description="Where does the gradient of a recurrent network go?")
    parser.add_argument("--version", action="version", version=_versions())
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser, metavar="COMMAND")
    for name, help_text in (
        ("report", "train, diagnose and compare; write everything"),
        ("spectra", "Jacobian norms, spectra and the verdict only (--steps 0: untrained)"),
        ("compare", "truncated against full BPTT only"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        _add_options(command, compares=name != "spectra")
    train_command.add_parser(commands)
    oracle_command.add_parser(commands, data_options.count)
    env_command.add_parser(commands)
    return parser


def _versions():
    from importlib.metadata import version

    import jaxrnn

    return f"jaxrnn {jaxrnn.__version__}, jax {version('jax')}"


def _add_options(parser, compares):
    data_options.add(parser)
    parser.add_argument("--cell", type=_names, default="elman,gru,lstm", help="default: %(default)s")
    parser.add_argument(
        "--hidden", type=data_options.positive, default=64, help="units of the recurrent layer (%(default)s)"
    )
    parser.add_argument("--steps", type=data_options.count, default=300, help="training steps (%(default)s)")
    if compares:
        parser.add_argument(
            "--windows", type=_windows, default="1,4,16,64,full", help="truncation windows (%(default)s)"
        )
        parser.add_argument(
            "--seeds", type=data_options.positive, default=2, help="runs, trained side by side (%(default)s)"
        )
    else:
        parser.set_defaults(windows=(), seeds=1)
    parser.add_argument(
        "--seed", type=data_options.seed, default=0, help="where the random numbers start (%(default)s)"
    )
    parser.add_argument("--x64", action="store_true", help="compute in float64")
    parser.add_argument("--out", metavar="DIR", default="jaxrnn-report", help="folder (%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(prepare=_prepare_report)


def _names(text):
    """The names between commas, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return names


def _windows(text):
    return tuple(None if part == "full" else data_options.integer(part, 1) for part in _names(text))


if __name__ == "__main__":
    sys.exit(main())
