"""Training on a mesh is training without one: on 4 virtual devices and on two processes, one killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import mesh_program
import numpy as np
import pages
import pytest

import jaxrnn as jr

ESTIMATORS = ("full", "chunked", "randomized", "rtrl")
CASES = [
    *(("float64", name, "sampler", False, "explicit") for name in ESTIMATORS),
    *(("float64", name, "sequence", True, "auto") for name in ESTIMATORS),
    ("float64", "full", "sampler", True, "with seeds"),
    ("float64", "full", "sequence", True, "one seed"),
    ("float32", "full", "sampler", True, "explicit"),
    ("float32", "rtrl", "sequence", False, "explicit"),
]
BAR = {"float64": 1e-12, "float32": 1e-6}


def started(*arguments, devices=1):
    """The program in a process of its own, which dies before the test would wait for ever."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(Path(pages.__file__).parent), os.environ.get("PYTHONPATH", "")]
    flags = f"{pages.QUICK_XLA} --xla_force_host_platform_device_count={devices}"
    # Threads: see `test_sharding`.
    env = os.environ | {"XLA_FLAGS": flags, "NPROC": "16", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = ["timeout", "-s", "KILL", "300", sys.executable, mesh_program.__file__, *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def both(kind, *arguments):
    """(exit code, what it printed, standard error) of each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [started(kind, i, port, *arguments) for i in range(2)]
    ends = [process.communicate() for process in processes]
    return [(process.returncode, *end) for process, end in zip(processes, ends, strict=True)]


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    process = started("devices", json.dumps(CASES), tmp_path_factory.mktemp("four"), devices=4)
    out, err = process.communicate()
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join(map(str, case)) for case in CASES])
def test_training_on_four_devices_is_training_on_one(four, number):
    difference, _ = four["cases"][number]
    assert difference <= BAR[CASES[number][0]]


def test_an_update_is_reduced_once(four):
    for case, (_, names) in zip(CASES, four["cases"], strict=True):
        assert names == ["all-reduce"] or case[-1] == "with seeds", case


def test_a_checkpoint_goes_on_with_and_without_a_mesh(four):
    assert all(difference <= 1e-12 for difference, _, _ in four["resumed"].values())
    assert four["resumed"]["same"][1]


def test_what_comes_back_lies_as_without_a_mesh(four):
    assert all(kinds == ["SingleDeviceSharding"] for _, _, kinds in four["resumed"].values())


def test_two_processes_train_as_one_and_end_together_at_a_signal_to_one(tmp_path):
    (code, out, err), (other_code, other_out, other_err) = both("pair", tmp_path, "full,randomized")
    assert code == 0 and other_code == 0, err[-2000:] + other_err[-2000:]
    found, other = (json.loads(text.splitlines()[-1]) for text in (out, other_out))
    assert found == other
    for name, leaves in found["trained"].items():
        expected = jax.tree.leaves(mesh_program.outcome(mesh_program.train(name)))
        for leaf, wanted in zip(leaves, expected, strict=True):
            wanted = np.asarray(wanted)
            np.testing.assert_allclose(leaf, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max(initial=1e-30))
    assert found["interrupted"] == [True, 4] and found["steps saved"] == [0, 4]


def arrays(folder):
    """All but the times, of which one stands in the file's structure."""
    with np.load(folder / "trained.npz") as file:
        return {name: file[name] for name in file.files if "seconds" not in name and name != "__structure__"}


def test_when_one_process_is_killed_the_other_says_so_and_all_go_on_to_the_same_bits(tmp_path):
    steps = mesh_program.LATER
    (code, _, err), (killed, *_) = both("process", tmp_path / "killed", steps, 1)
    assert killed == -signal.SIGKILL or killed == 128 + signal.SIGKILL
    assert code != 0
    assert "training.train: a process of this run is gone, one of 2; start all of them again" in err
    assert "with resume=True to go on from step 8." in err
    for name, heard in (("killed", 4), ("whole", steps)):
        (code, out, err), (_, other, _) = both("process", tmp_path / name, steps)
        assert code == 0, err[-2000:]
        # Callbacks run in one process only, and after a resumption hear of new steps only.
        assert [json.loads(text.splitlines()[-1])["heard"] for text in (out, other)] == [heard, 0]
    resumed, whole = arrays(tmp_path / "killed"), arrays(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    assert all(np.array_equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("shape", "names", "match"),
    [
        ((1, 1), ("a", "b"), r"mesh has the axes \('a', 'b'\); expected one"),
        ((1,), ("seeds",), r"mesh has the axes \('seeds',\); expected one"),
    ],
)
def test_a_mesh_of_other_axes_is_refused(shape, names, match):
    with pytest.raises(ValueError, match=f"training.train: {match}"):
        mesh_program.train(mesh=jax.make_mesh(shape, names))


@pytest.mark.usefixtures("unchecked_types")  # a mesh of more devices than there are
def test_a_batch_that_the_mesh_does_not_divide_is_refused():
    mesh = jax.sharding.AbstractMesh((3,), ("batch",))
    with pytest.raises(ValueError, match="a batch of data has 8, and mesh has 3 devices along 'batch'"):
        jr.training.mesh.layout_on(mesh, jax.eval_shape(mesh_program.sample, jax.random.key(0)), 1)
