"""What the page's explorer is given: every pair's singular values, as the tables have them."""

import base64
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import cells, unroll
from jaxrnn.jacobians import Spectrum, product, step_jacobians
from jaxrnn.report import Study
from jaxrnn.report.explorer import explorer
from jaxrnn.report.snapshots import Snapshots, snapshots

CELL = cells.elman(2, 3)


def history(*gains):
    params = CELL.init(jax.random.key(0))
    return [(10 * i, params | {"W_hh": gain * params["W_hh"]}) for i, gain in enumerate(gains)]


def of_length(T, *gains):
    xs = jax.random.normal(jax.random.key(1), (T, 2))
    return xs, snapshots(CELL.step, history(*gains), jnp.zeros(3), xs)


def test_each_moment_holds_the_singular_values_of_every_product():
    xs, found = of_length(5, 0.5, 1.5)
    assert list(found.steps) == [0, 10] and list(found.times) == [0, 1, 2, 3, 4, 5]
    assert list(found.ranks) == [1, 2, 3]
    for moment, (_, params) in enumerate(history(0.5, 1.5)):
        trajectory = unroll(CELL.step, params, jnp.zeros(3), xs)
        for t, k in [(5, 0), (4, 2), (3, 3)]:
            P = product(CELL.step, params, trajectory, t, k)
            expected = np.log(np.linalg.svd(P, compute_uv=False))
            np.testing.assert_allclose(found.spectra.log_sigma[moment, t, k], expected, atol=1e-12)
    assert np.all(found.spectra.log_sigma[:, 1, 2] == -np.inf), "k is after t"


@pytest.mark.parametrize("T", [51, 100, 101, 120])
def test_a_long_sequence_is_shown_at_even_steps_that_end_at_its_end(T):
    xs, found = of_length(T, 1.0)
    (_, params), *_ = history(1.0)
    js = step_jacobians(CELL.step, params, unroll(CELL.step, params, jnp.zeros(3), xs))
    assert found.times[-1] == T and len(found.times) <= 51 and len(set(np.diff(found.times))) == 1
    i, j = len(found.times) - 4, 2
    t, k = found.times[[i, j]]
    P = np.linalg.multi_dot(np.asarray(js[k:t])[::-1])
    assert abs(found.spectra.log_sigma[0, i, j, 0] - np.log(np.linalg.norm(P, 2))) < 1e-10
    above = np.triu_indices(len(found.times), 1)
    assert np.all(found.spectra.log_sigma[0][above] == -np.inf)


def numbers_of(page):
    text = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def unpacked(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_the_page_holds_the_tables_pair_by_pair():
    _, found = of_length(5, 0.5, 1.5)
    (numbers,) = numbers_of(explorer([Study("elman", None, None, found)]))
    t, k = np.tril_indices(6)
    decades = found.spectra.log_sigma[:, t, k] / np.log(10)
    np.testing.assert_allclose(
        unpacked(numbers["norm"], "<f4"), decades[..., 0].ravel(), rtol=1e-6, atol=1e-7
    )
    below = unpacked(numbers["below"], "<i2").reshape(2, -1, 2)
    np.testing.assert_allclose(below / 1000, decades[..., :1] - decades[..., 1:], atol=5.1e-4)
    assert np.all(unpacked(numbers["certified"], "u1") == 1) and numbers["loss"] == {}


def test_what_is_not_known_is_marked_and_breaks_nothing():
    log_sigma = np.full((1, 2, 2, 2), np.nan)
    log_sigma[0, 1, 1], log_sigma[0, 1, 0] = [0, -100], [-np.inf, -np.inf]
    certified = np.isfinite(log_sigma)
    table = Spectrum(log_sigma, np.where(certified, 0.0, np.inf), certified)
    found = Snapshots(np.array([0]), np.arange(2), np.array([1, 2]), table)
    (numbers,) = numbers_of(explorer([Study("<elman>", None, None, found)]))
    norm = unpacked(numbers["norm"], "<f4")
    assert np.isnan(norm[0]) and norm[1] == -np.inf and norm[2] == 0
    assert list(unpacked(numbers["certified"], "u1")) == [0, 0, 1]
    # 43 decades below the norm are more than two bytes hold.
    assert list(unpacked(numbers["below"], "<i2")) == [-1, -1, -1]


def test_without_spectra_there_is_nothing_to_explore():
    assert explorer([Study("elman", None, None, None)]) == ""
