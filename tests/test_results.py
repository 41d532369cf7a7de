"""Results survive a file: same types, same values, arrays that NumPy reads alone."""

import json
from collections import namedtuple
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as jr
from jaxrnn.cells.lstm import LSTMState
from jaxrnn.diagnosis import Comparison, Diagnosis, Saturation
from jaxrnn.dynamics import Branch, FixedPoints, LinearApproximation, Sensitivity, Stability
from jaxrnn.gradients import Decomposition, Fidelity, KeptLags, LagProfile, Measures
from jaxrnn.jacobians import GrowthRates, NormByLag, Norms, Spectrum
from jaxrnn.report import Settings, Study
from jaxrnn.report.snapshots import Snapshots
from jaxrnn.training import History, TrainResult

rng = np.random.default_rng(0)


def a(*shape):
    return rng.normal(size=shape)


def mask(*shape):
    return rng.normal(size=shape) > 0


NORMS = Norms(np.where(np.tri(3, dtype=bool), a(3, 3), -np.inf), a(3, 3), mask(3, 3))
RATES = GrowthRates(a(2, 2), np.full((2, 2), np.inf), a(2), mask(2, 2), a(2, 3, 2), np.array([[1, 2, 3]] * 2))
HISTORY = History(a(2, 3), np.array([[1.0, np.nan, np.inf]] * 2), a(3), 0.25)
TRAINED = TrainResult(
    ({"W_hh": a(2, 3, 3)}, {}), optax.adam(0.1).init({"w": jnp.ones(2)}), ({"h": a(2, 3)}, ()), HISTORY, False
)
COMPARISON = Comparison(
    ("1", "full"), (1, None), (TRAINED, TRAINED), a(2, 2), a(2, 2), a(2, 2), np.array([3, 4])
)
DIAGNOSIS = Diagnosis(
    verdict="unknown",
    reason="weil λ ≥ 1 “so”",
    advice=(),
    horizon=None,
    lam=1.5,
    gamma=None,
    norms=NORMS,
    norm_by_lag=NormByLag(a(3), a(3), a(3), np.array([0.0, -np.inf, np.nan])),
    growth_rates=RATES,
    fan_lags=np.array([1, 2]),
    fan=Spectrum(a(2, 2), a(2, 2), mask(2, 2)),
    lag_profile=a(2),
    window_error=a(2),
    saturation={"0": Saturation(a(4), a(5), None), "1.h": Saturation(a(4), a(5), 0.5)},
)
MEASURES = Measures(*map(np.asarray, a(5)))
SNAPSHOTS = Snapshots(np.arange(2), np.arange(3), np.arange(1, 3), DIAGNOSIS.fan)
RESULTS = {
    "Norms": NORMS,
    "Spectrum": DIAGNOSIS.fan,
    "GrowthRates": RATES,
    "FixedPoints": FixedPoints(
        {"h": a(2, 3)}, a(2), np.array([3, 4]), mask(2), mask(2), mask(2), mask(2), np.array([0, -1])
    ),
    "Branch": Branch(
        a(3),
        {"h": a(3, 2)},
        a(3, 2) * 1j,
        a(3),
        mask(3),
        mask(),
        np.array([0, 1, 0]),
        a(3),
        {"h": a(3, 2)},
        a(3) + 1j,
    ),
    "LinearApproximation": LinearApproximation({"h": a(3, 2)}, a(3), a(3)),
    "Sensitivity": Sensitivity(a(3), {"h": a(3, 2)}, a(3)),
    "Stability": Stability(a(2, 3) + 1j * a(2, 3), a(2, 3, 3) * 1j, a(2, 3, 3) * 1j, a(2)),
    "Decomposition": Decomposition(a(), {"w": a(2)}, {"w": a(3, 2)}, a(3, 3), {"w": a(3, 3)}, a(3, 3)),
    "Fidelity": Fidelity(*MEASURES, MEASURES, {"w": MEASURES}),
    "LagProfile": LagProfile(a(), {"w": a(2)}, a(3), {"w": a(3)}, a(3), a(3), a(3), a(3)),
    "KeptLags": KeptLags(a(3), a(3), a(3)),
    "Trajectory": jr.Trajectory(
        LSTMState(a(3), a(3)), (LSTMState(a(4, 3), a(4, 3)), ()), a(4, 2), {"x": a(4)}
    ),
    "Batch": jr.Batch(a(2, 3, 1), a(2, 3), None),
    "History": HISTORY,
    "TrainResult": TRAINED,
    "Comparison": COMPARISON,
    "Diagnosis": DIAGNOSIS,
    "Settings": Settings(4, 2, 1, (1, None), 0, True, False),
    "Snapshots": SNAPSHOTS,
    "Study": Study("gru", COMPARISON, DIAGNOSIS, SNAPSHOTS),
    "Study without a comparison": Study("gru", None, DIAGNOSIS, None),
}


def assert_same(got, expected):
    """Same library types, same Python values, bitwise the same arrays."""
    if isinstance(expected, jax.Array | np.ndarray | np.generic):
        assert isinstance(got, np.ndarray)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        assert got.tobytes() == np.asarray(expected).tobytes()
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        for name in expected:
            assert_same(got[name], expected[name])
    elif isinstance(expected, tuple | list):
        ours = type(expected).__module__.startswith(("jaxrnn", "builtins"))
        assert type(got) is (type(expected) if ours else tuple)
        assert len(got) == len(expected)
        for x, y in zip(got, expected, strict=True):
            assert_same(x, y)
    else:
        assert type(got) is type(expected)
        assert got == expected or (got != got and expected != expected)


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_type_survives_a_file(tmp_path, name):
    jr.save(tmp_path / "r.npz", RESULTS[name])
    assert_same(jr.load(tmp_path / "r.npz"), RESULTS[name])


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(10**30), 0.1, float("nan"), float("-inf"), "", "λ \"'\n\0", (), [], {}, ((),),
        {"": {"": 1}}, {"a": (), "b": [(), {}]}, np.array("text"), np.float32(1.5), np.zeros((0, 3)),
        np.array([1 + 2j]), np.array([np.nan, -np.inf, -0.0]), np.int8([1, -1]), jnp.ones(2, jnp.float16),
    ],
    ids=repr,
)  # fmt: skip
def test_any_tree_of_plain_values_survives_a_file(tmp_path, value):
    jr.save(tmp_path / "r.npz", value)
    assert_same(jr.load(tmp_path / "r.npz"), value)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_survive_a_file_and_draw_the_same_numbers(tmp_path, impl):
    keys = jax.random.split(jax.random.key(3, impl=impl), 2)
    jr.save(tmp_path / "r.npz", {"keys": keys, "x": 1})
    loaded = jr.load(tmp_path / "r.npz")
    assert loaded["keys"].dtype == keys.dtype and loaded["x"] == 1
    np.testing.assert_array_equal(jax.random.bits(loaded["keys"][1]), jax.random.bits(keys[1]))


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    jr.save(tmp_path / "r.npz", {"x": 1})

    def full(file, **arrays):
        del arrays
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        jr.save(tmp_path / "r.npz", {"x": 2})
    assert jr.load(tmp_path / "r.npz") == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["r.npz"]


def test_numpy_alone_reads_every_array_under_its_path(tmp_path):
    jr.save(tmp_path / "r.npz", {"studies": {"gru": RESULTS["Study"]}})
    with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["studies.gru.diagnosis.norms.log_norm"], NORMS.log_norm)
        np.testing.assert_array_equal(file["studies.gru.comparison.results.1.history.loss"], HISTORY.loss)


def test_paths_that_collide_keep_their_own_arrays(tmp_path):
    tree = {"a": {"b": np.array(1), "b_": np.array(2)}, "a.b": np.array(3), "a.b_": np.array(4)}
    reserved = ("", "array", "file", "args", "allow_pickle", "__structure__")
    tree |= {name: np.array(i) for i, name in enumerate(reserved)}
    jr.save(tmp_path / "r.npz", tree)
    assert_same(jr.load(tmp_path / "r.npz"), tree)


def test_a_path_without_ending_means_the_same_file_for_both(tmp_path):
    jr.save(str(tmp_path / "run.1"), {"x": np.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["run.1.npz"]
    assert_same(jr.load(str(tmp_path / "run.1")), {"x": np.ones(2)})


@pytest.mark.parametrize("content", [b"", b"not a zip", "npz", "npy"])
def test_a_foreign_file_is_a_value_error_that_names_it(tmp_path, content):
    path = tmp_path / "other.npz"
    if content == "npz":
        np.savez(path, x=np.ones(2))
    elif content == "npy":
        np.save(tmp_path / "other.npy", np.ones(2))
        (tmp_path / "other.npy").rename(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.npz was not written by jaxrnn's save"):
        jr.load(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        jr.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (slice(1), "the result is a slice"),
        ({"a": [{1, 2}]}, "a.0 is a set"),
        ({"f": len}, "f is a builtin_function_or_method"),
        ({1: np.ones(1)}, "the result is a dict"),
        (1j, "is a complex"),
        (np.array([None]), "dtype object"),
        (jnp.ones(2, jnp.bfloat16), "dtype bfloat16"),
    ],
    ids=repr,
)
def test_what_a_file_cannot_hold_is_a_type_error_and_leaves_no_file(tmp_path, value, message):
    with pytest.raises(TypeError, match=message):
        jr.save(tmp_path / "r.npz", value)
    assert not list(tmp_path.iterdir())


def test_somebody_elses_named_tuple_comes_back_as_a_tuple(tmp_path):
    jr.save(tmp_path / "r.npz", namedtuple("Point", "x y")(1, np.ones(2)))
    assert_same(jr.load(tmp_path / "r.npz"), (1, np.ones(2)))


@pytest.mark.parametrize(
    "kind", ["jaxrnn.results:save", "jaxrnn._checks:NumericalError", "jaxrnn.types:Missing"]
)
def test_a_file_cannot_name_code_to_run(tmp_path, kind):
    structure = [kind, {"path": ["value", str(tmp_path / "hacked")], "result": ["value", 1]}]
    np.savez(tmp_path / "r.npz", __structure__=json.dumps(structure))
    with pytest.raises(ValueError, match="no result type"):
        jr.load(tmp_path / "r.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["r.npz"]
