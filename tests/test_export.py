"""Results as dictionaries, for pandas and for xarray."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as jr
from jaxrnn.jacobians import NormByLag, Norms
from jaxrnn.training import History, TrainResult

rng = np.random.default_rng(0)
NORMS = Norms(jnp.asarray(rng.normal(size=(2, 3, 4))), jnp.zeros((2, 3, 4)), jnp.ones((2, 3, 4), bool))
HISTORY = History(rng.normal(size=(2, 5)), np.ones((2, 5)), np.arange(5.0), 1.5)
RUN = TrainResult({"W": np.ones((2, 3)), "layers": (np.zeros(2),)}, None, None, HISTORY, False)


def test_a_dictionary_holds_plain_values_all_the_way_down():
    found = RUN._replace(params={"W": jnp.ones(2)}).to_dict()
    assert type(found["history"]) is dict and found["interrupted"] is False and found["opt_state"] is None
    assert type(found["params"]["W"]) is np.ndarray
    np.testing.assert_array_equal(found["history"]["loss"], HISTORY.loss)


def test_a_frame_has_a_row_for_every_entry_of_the_table():
    frame = NORMS.to_pandas()
    assert list(frame.columns) == ["log_norm", "log_error", "certified"]
    assert frame.index.names == ["B", "A", "K"] and len(frame) == 24
    assert frame.loc[(1, 2, 3), "log_norm"] == float(NORMS.log_norm[1, 2, 3])


def test_arrays_of_other_axes_are_left_out_of_a_frame_and_numbers_are_its_attributes():
    frame = HISTORY.to_pandas()
    assert list(frame.columns) == ["loss", "grad_norm"] and frame.attrs == {"compile_seconds": 1.5}
    curve = NormByLag(*rng.normal(size=(3, 6)), None).to_pandas()
    assert curve.index.name == "L" and list(curve.columns) == ["median", "low", "high"]


def test_a_comparison_is_the_table_of_its_rows():
    ones = np.ones((1, 2))
    comparison = jr.diagnosis.Comparison(("full",), (None,), (RUN,), ones, ones, ones, np.ones(1))
    frame = comparison.to_pandas()
    assert frame.to_dict("records") == comparison.rows()


def test_a_dataset_names_the_axes_and_keeps_the_paths():
    dataset = RUN.to_xarray()
    assert dataset["history.loss"].dims == ("S", "steps") and dataset["history.seconds"].dims == ("steps",)
    np.testing.assert_array_equal(dataset["history.loss"], HISTORY.loss)
    assert dataset["params.W"].shape == (2, 3) and dataset["params.layers.0"].shape == (2,)
    assert dataset.attrs == {"interrupted": False}


def test_one_name_for_axes_of_two_lengths_is_told_apart():
    longer = NORMS._replace(log_error=np.zeros((2, 3, 7)))
    dataset = longer.to_xarray()
    assert dataset["log_norm"].dims == ("B", "A", "K") and dataset["log_error"].dims == (
        "B",
        "A",
        "log_error.K",
    )


@pytest.mark.parametrize(("batch", "names"), [((), ()), ((2,), ("B",)), ((2, 3), ("B0", "B1"))])
def test_the_axes_of_a_batch_lead(batch, names):
    table = np.zeros((*batch, 4, 5))
    assert Norms(table, table, table > 1).to_xarray()["log_norm"].dims == (*names, "A", "K")


def test_a_whole_diagnosis_goes_everywhere_and_comes_back(tmp_path):
    task = jr.tasks.series(length=5, batch_size=2)
    cell = jr.cells.stack(jr.cells.elman(4, 2), jr.cells.dense(2, 1))
    params = cell.init(jax.random.key(0))
    batch = task.sample(jax.random.key(1))
    diagnosis = jr.diagnose(cell.step, task.step_loss, params, cell.initial_states(params, 2), batch)
    dataset = diagnosis.to_xarray()
    assert dataset["norms.log_norm"].shape == diagnosis.norms.log_norm.shape
    assert dataset.attrs["verdict"] == diagnosis.verdict
    assert diagnosis.norms.to_pandas()["log_norm"].max() == diagnosis.norms.log_norm.max()
    diagnosis.save(tmp_path / "diagnosis")
    back = jr.load(tmp_path / "diagnosis")
    assert back.verdict == diagnosis.verdict
    np.testing.assert_array_equal(back.to_dict()["norms"]["log_norm"], diagnosis.norms.log_norm)


def test_a_result_without_a_table_has_no_frame():
    advice = jr.diagnosis.verdict.Verdict("stable", "why", ())
    with pytest.raises(TypeError, match=r"Verdict\.to_pandas: it holds no array"):
        advice.to_pandas()
