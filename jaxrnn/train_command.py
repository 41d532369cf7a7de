"""``jaxrnn train``: one network on one task, with checkpoints, to be resumed after anything."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial

from jaxrnn import data_options

__all__ = ["add_parser", "prepare"]

_ESTIMATORS = ("full", "chunked", "sliding", "randomized", "rtrl", "uoro")

_LOST = 30
# Seconds without a heartbeat after which a process is gone, where nothing tells the others sooner.


def add_parser(commands) -> None:
    """Add the command to the command line."""
    text = "train one network, with checkpoints: give the same command with --resume after an interruption"
    parser = commands.add_parser("train", help=text, description=text)
    data_options.add(parser).add_argument(
        "--stream", metavar="FILE", help="a text of any size, read once in order, with carried state"
    )
    parser.add_argument("--cell", default="lstm", help="elman, gru or lstm (%(default)s)")
    parser.add_argument("--hidden", type=data_options.positive, default=64, help="units (%(default)s)")
    parser.add_argument(
        "--steps", type=data_options.positive, help="updates (1000; all of --stream)", default=None
    )
    parser.add_argument("--estimator", choices=_ESTIMATORS, default="full", help="default: %(default)s")
    parser.add_argument(
        "--window", type=data_options.positive, default=16, help="of chunked and sliding (%(default)s)"
    )
    parser.add_argument("--keep", type=float, default=0.9, help="of randomized (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="of Adam (%(default)s)")
    parser.add_argument("--seeds", type=data_options.positive, default=1, help="side by side (%(default)s)")
    parser.add_argument("--seed", type=data_options.seed, default=0, help="default: %(default)s")
    parser.add_argument("--every", type=data_options.positive, default=1000, help="steps between checkpoints")
    parser.add_argument("--minutes", type=float, default=10.0, help="or minutes between them (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint, if any")
    parser.add_argument(
        "--nonfinite", choices=("stop", "skip", "keep"), default="stop", help="what a NaN does"
    )
    parser.add_argument("--x64", action="store_true", help="compute in float64")
    parser.add_argument("--out", metavar="DIR", default="jaxrnn-run", help="folder (%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--distributed", action="store_true", help="together with the other processes of a cluster's job"
    )
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of --distributed, where no cluster says it: process 0"
    )
    parser.add_argument("--processes", type=data_options.positive, metavar="N", help="how many there are")
    parser.add_argument("--process", type=data_options.count, metavar="I", help="which of them this one is")
    parser.set_defaults(prepare=prepare)


def prepare(options: argparse.Namespace, command: str) -> Callable[[], int]:
    """The job; ValueError or OSError if the options or the data are no good."""
    del command
    import jax

    from jaxrnn import cells, gradients, report, tasks

    if options.x64:
        jax.config.update("jax_enable_x64", True)
    if options.cell not in report.CELLS:
        raise ValueError(f"--cell {options.cell!r} is unknown; expected one of {','.join(report.CELLS)}.")
    _join(options)  # before JAX makes its first array
    if options.stream is not None:
        data_options.settings(options)  # a stream takes none
        alphabet = {"letters": "letters", "all": "bytes"}[options.alphabet]
        data = tasks.text_stream(
            options.stream, length=options.length or 64, batch_size=options.batch, alphabet=alphabet
        )
        sizes, step_loss = (data.input_size, data.input_size), data.step_loss
    else:
        task = data_options.task(options)
        data, sizes, step_loss = task.sample, (task.input_size, task.output_size), task.step_loss
    cell = cells.stack(
        report.CELLS[options.cell](sizes[0], options.hidden), cells.dense(options.hidden, sizes[1])
    )
    window = {"window": options.window} if options.estimator in ("chunked", "sliding") else {}
    keep = {"keep": options.keep} if options.estimator == "randomized" else {}
    estimator = getattr(gradients, options.estimator)(cell.step, step_loss, **window, **keep)
    return partial(_run, options, cell, estimator, data)


def _join(options):
    """Join the other processes, if there are any; ValueError if the options do not say which."""
    import jax

    by_hand = {name: getattr(options, name) for name in ("coordinator", "processes", "process")}
    given = [f"--{name}" for name, value in by_hand.items() if value is not None]
    if given and not options.distributed:
        raise ValueError(f"{given[0]} needs --distributed.")
    if given and len(given) < len(by_hand):
        raise ValueError(
            f"--distributed was given {' and '.join(given)}; expected all of --coordinator, --processes and "
            "--process, or none of them where Slurm, Open MPI or a TPU's host says it."
        )
    if given and options.process >= options.processes:
        raise ValueError(f"--process is {options.process}; expected 0 to {options.processes - 1}.")
    if options.distributed:
        try:
            jax.distributed.initialize(
                options.coordinator,
                options.processes,
                options.process,
                heartbeat_timeout_seconds=_LOST,
            )
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"--distributed: the other processes cannot be joined: {error}") from error


def _mesh(options):
    """All devices, if there are several; of one process only if the batch can be divided among them."""
    import jax

    count = jax.device_count()
    if count == 1:
        return None
    if not options.distributed and options.batch % count:
        print(
            f"jaxrnn train: --batch {options.batch} is no multiple of {count} devices: one of them is used.",
            file=sys.stderr,
        )
        return None
    return jax.make_mesh((count,), ("batch",))


def _run(options, cell, estimator, data):
    import jax

    import jaxrnn
    from jaxrnn.training import Checkpoints, clipped_adam, train

    main = jax.process_index() == 0
    streamed = options.stream is not None
    try:
        result = train(
            cell,
            estimator,
            clipped_adam(options.learning_rate),
            data,
            steps=options.steps or (None if streamed else 1000),
            key=jax.random.key(options.seed),
            seeds=options.seeds,
            stream=streamed,
            checkpoints=Checkpoints(
                os.path.join(options.out, "checkpoints"), every=options.every, minutes=options.minutes
            ),
            resume=options.resume,
            nonfinite=options.nonfinite,
            mesh=_mesh(options),
            progress=False if options.quiet else options.cell,
        )
    except jaxrnn.NumericalError as error:
        if main:
            print(f"jaxrnn train: {error}", file=sys.stderr)
        return 1
    except ConnectionError as error:
        print(f"jaxrnn train: {error}".replace("resume=True", "--resume"), file=sys.stderr, flush=True)
        os._exit(1)  # on a usual way out, JAX waits for the process that is gone
    except ValueError as error:  # settings that mean nothing, a folder that holds something else
        if not str(error).startswith("training."):
            raise
        print(f"jaxrnn train: error: {error}", file=sys.stderr)
        return 2
    done = result.history.loss.shape[1]
    if result.interrupted:
        if main:
            print(
                f"jaxrnn train: interrupted after step {done}, which is saved; the same command with "
                "--resume goes on.",
                file=sys.stderr,
            )
        return 130
    if main:
        _write(options, result, done)
    return 0


def _write(options, result, done):
    import jaxrnn

    path = os.path.join(options.out, "trained.npz")
    jaxrnn.save(path, result)
    loss = result.history.loss[:, -min(done, 20) :].mean()
    print(f"{done} steps; the loss of the last {min(done, 20)} is {loss:.4f}. Written to {path}.")
