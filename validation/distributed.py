"""Training on 4 virtual devices and on two processes against one device, and one of two processes killed.

Two processes over loopback with gloo; 6 updates by Adam of two seeds, by programs that XLA hardly optimises.
Killed is ``jaxrnn train --distributed``, by SIGKILL, as soon as its second checkpoint is there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from docs._ext.pages import QUICK_XLA
from validation.harness import table

TITLE = "Training on several devices"
ESTIMATORS = ("full", "chunked", "sliding", "randomized", "rtrl", "uoro")
BARS = {"float64": 1e-12, "float32": 1e-6}
EVERY, STEPS = 40, 240
LIMIT = 60.0
"""Seconds within which the survivor has to end."""
ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "training" / "mesh_program.py"


def run() -> tuple[str, list[str]]:
    """Two tables: differences an estimator, and what became of the process that was left."""
    differences, broken = _differences()
    with tempfile.TemporaryDirectory() as folder:
        killed, own = _killed(Path(folder))
    return f"{differences}\n\n{killed}", broken + own


def _differences():
    cases = [[dtype, name, "sampler", False, "explicit"] for dtype in BARS for name in ESTIMATORS]
    flags = {"XLA_FLAGS": f"{QUICK_XLA} --xla_force_host_platform_device_count=4", "NPROC": "16"}
    on_devices = _program("devices", json.dumps(cases), **flags)
    port = _free_port()
    first, second = (
        _program("compared", str(i), str(port), ",".join(ESTIMATORS), XLA_FLAGS=QUICK_XLA) for i in range(2)
    )
    devices, processes = _printed(on_devices)["cases"], _printed(first)
    broken = [] if processes == _printed(second) else ["the two processes have different results"]
    rows = []
    for (dtype, name, *_), (difference, collectives) in zip(cases, devices, strict=True):
        other = processes[dtype][name]
        rows.append([f"`{name}`, {dtype}", f"{difference:.1e}", f"{other:.1e}", " ".join(collectives)])
        if not max(difference, other) <= BARS[dtype]:
            broken.append(f"{name}, {dtype}: {difference:.1e} and {other:.1e}; the bar is {BARS[dtype]:.0e}")
        if collectives != ["all-reduce"]:
            broken.append(f"{name}, {dtype}: an update sends {collectives}; expected one all-reduce")
    header = ("largest relative difference", "4 devices", "2 processes", "an update sends")
    return table(header, rows), broken


def _killed(folder):
    rows, broken = [], []
    for process in _commands(folder / "whole"):
        process.communicate()
    for victim in (0, 1):
        processes = _commands(folder / f"{victim}")
        _wait_for(folder / f"{victim}" / "checkpoints" / f"{2 * EVERY}", processes)
        processes[victim].kill()
        began = time.monotonic()
        survivor = processes[1 - victim]
        _, message = survivor.communicate()
        took = time.monotonic() - began
        processes[victim].communicate()
        said = f"a process of this run is gone, one of {len(processes)}" in message
        for process in _commands(folder / f"{victim}", "--resume"):
            process.communicate()
        same = _arrays(folder / f"{victim}") == _arrays(folder / "whole")
        rows.append(
            [
                f"{victim}",
                f"{took:.1f}",
                f"{survivor.returncode}",
                *("no yes".split()[ok] for ok in (said, same)),
            ]
        )
        if not (said and same and survivor.returncode and took <= LIMIT):
            broken.append(f"process {victim} killed: {rows[-1][1:]}, {message[-300:]}")
    header = (
        "killed process",
        "the other ended after [s]",
        "exit code",
        "its message",
        "resumed to the same bits",
    )
    return table(header, rows), broken


def _commands(out, *options: str) -> Sequence[subprocess.Popen]:
    """The two processes of one training."""
    port = _free_port()
    fixed = (
        f"--task adding --cell elman --hidden 4 --length 8 --batch 4 --steps {STEPS} --every {EVERY} --quiet"
    )
    joined = ["--distributed", "--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"]
    command = ["-m", "jaxrnn", "train", *fixed.split(), "--out", str(out), *options, *joined]
    return [_start([*command, str(i)], XLA_FLAGS=QUICK_XLA) for i in range(2)]


def _program(*arguments: str, **environment: str) -> subprocess.Popen:
    return _start([str(PROGRAM), *arguments], **environment)


def _start(arguments, **environment):
    paths = [str(ROOT), str(ROOT / "docs" / "_ext"), os.environ.get("PYTHONPATH", "")]
    env = (
        os.environ
        | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "JAX_PLATFORMS": "cpu"}
        | environment
    )
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = threading.Timer(300, process.kill)  # whatever happens, a campaign ends
    watch.daemon = True
    watch.start()
    return process


def _printed(process):
    out, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args}: exit code {process.returncode}: {error[-2000:]}")
    return json.loads(out.splitlines()[-1])


def _wait_for(path, processes):
    while not path.exists() and all(process.poll() is None for process in processes):
        time.sleep(0.01)


def _arrays(folder):
    """Every array of the result but the times, of which one stands in the file's structure."""
    with np.load(folder / "trained.npz") as file:
        names = [name for name in file.files if "seconds" not in name and name != "__structure__"]
        return {name: (file[name].shape, file[name].tobytes()) for name in names}


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
