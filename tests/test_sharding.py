"""On 4 virtual devices results are those of one device, computed where the data lies and reduced once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pages
import pytest
import sharded_program
from collectives import bytes_moved, collectives

ESTIMATORS = ["full", "full from init_state", "chunked", "sliding", "randomized", "rtrl", "uoro", "forward"]
ANALYSES = ["step_jacobians", "norms", "norms at", "spectrum", "growth_rates", "leading_growth_rates"]
OVER_T = ["norms over t", "spectra over t", "decompose over t", "lag_profile over t"]
REST = ["adaptive", "loss", "fidelity", "batch_norm", "probe vectors", "seeds"]
RUNS = {
    "float64": [
        *(("explicit", name) for name in (*ESTIMATORS, *ANALYSES, *OVER_T, *REST)),
        *(("in context", name) for name in ("full", "norms over t")),
        *(("auto", name) for name in ("full", "spectrum", "norms", "lag_profile over t")),
        *(("made explicit", name) for name in ("full", "norms over t")),
    ],
    "float32": [("explicit", name) for name in ("full", "rtrl", "norms", "growth_rates", "norms over t")],
}
BAR = {"float64": 1e-12, "float32": 1e-6}
CASES = [(dtype, f"{kind}: {name}") for dtype, runs in RUNS.items() for kind, name in runs]
T, N = sharded_program.T, 5


@pytest.fixture(scope="module")
def found():
    """dtype -> case -> (relative difference, collectives); XLA counts its devices when JAX starts."""
    flags = f"{pages.QUICK_XLA} --xla_force_host_platform_device_count={sharded_program.D}"
    paths = [str(Path(pages.__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    # Threads: batched LAPACK calls on more devices than cores wait for each other (see `_pytree.after`).
    env["NPROC"] = "16"
    results = {}
    for dtype, runs in RUNS.items():
        command = [sys.executable, sharded_program.__file__, dtype, json.dumps(runs)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        results[dtype] = json.loads(done.stdout)
    return results


def names(collectives):
    return [name for name, _ in collectives]


def sizes(collectives, name):
    """Entries of each result of the collectives of this name."""
    return [size for found, shapes in collectives for _, size in shapes if found == name]


@pytest.mark.parametrize(("dtype", "case"), CASES)
def test_results_on_four_devices_are_those_of_one(found, dtype, case):
    difference, _ = found[dtype][case]
    assert difference <= BAR[dtype]


@pytest.mark.parametrize(
    "case", [*(f"explicit: {name}" for name in ESTIMATORS), "in context: full", "made explicit: full"]
)
def test_an_estimate_is_reduced_once(found, case):
    assert names(found["float64"][case][1]) == ["all-reduce"]


@pytest.mark.parametrize("case", [f"explicit: {name}" for name in ANALYSES if name != "spectrum"])
def test_an_analysis_of_a_batch_needs_no_communication(found, case):
    assert found["float64"][case][1] == []


def test_a_spectrum_s_iteration_asks_only_whether_all_are_done(found):
    for kind in ("explicit", "auto"):
        assert found["float64"][f"{kind}: spectrum"][1] == [["all-reduce", [["pred", 1]]]]


def test_seeds_need_no_communication_and_probe_vectors_one_mean(found):
    assert found["float64"]["explicit: seeds"][1] == []
    assert names(found["float64"]["explicit: probe vectors"][1]) == ["all-reduce"]


@pytest.mark.parametrize("kind", ["explicit", "in context", "made explicit"])
def test_norms_over_t_pass_one_factor_on_and_gather_tables_only(found, kind):
    moved = found["float64"][f"{kind}: norms over t"][1]
    assert sorted(sizes(moved, "collective-permute")) == [1, N * N, N * N]
    assert max(sizes(moved, "all-gather") + sizes(moved, "all-reduce")) <= (T + 1) * (T + 5)
    assert "all-to-all" not in names(moved)


def test_collectives_and_their_bytes_are_read_from_the_text():
    text = """
      %a = (f64[4,3]{1,0}, /*index=1*/f32[]) all-reduce(%x, %y), channel_id=1
      ROOT %b = s32[7]{0} all-gather-start(%z), dimensions={0}
      %c = f64[9]{0} add(%u, %v)
    """
    assert collectives(text) == [("all-reduce", [("f64", 12), ("f32", 1)]), ("all-gather", [("s32", 7)])]
    assert bytes_moved(text) == 12 * 8 + 4 + 28
    assert bytes_moved(text, "all-gather") == 28
