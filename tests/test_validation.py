"""Every campaign of `python -m validation` has its part, and its place in the page."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from validation import __main__ as validation
from validation.ladder import row

_ROOT = Path(__file__).parents[1]


def test_the_page_includes_the_part_of_every_campaign_in_their_order():
    page = (_ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    included = re.findall(r"^```\{include\} \.\./validation/results/(\w+)\.md$", page, re.M)
    assert included == list(validation.NAMES)


def test_every_part_is_that_of_a_campaign():
    assert sorted(path.stem for path in validation.RESULTS.iterdir()) == sorted(validation.NAMES)


@pytest.mark.parametrize("name", validation.NAMES)
def test_a_part_says_which_file_made_it_and_when(name):
    part = (validation.RESULTS / f"{name}.md").read_text(encoding="utf-8")
    file = re.search(rf"\(`(validation/{name}(?:\.py|/))`\)\n\n", part)[1]
    assert (_ROOT / file).exists()
    assert re.search(r"^(Measured \d{4}-\d\d-\d\d .* in \d+ s: |Not measured yet: )", part, re.M)


@pytest.fixture
def campaign(monkeypatch, tmp_path):
    """A campaign of nothing, whose broken bars the test appends."""
    module = ModuleType("validation.nothing", "Nothing at all.\n\nMore.")
    module.__file__, module.TITLE, module.broken = str(_ROOT / "validation" / "nothing.py"), "Nothing", []
    module.run = lambda: ("| a table |", module.broken)
    monkeypatch.setitem(sys.modules, "validation.nothing", module)
    monkeypatch.setattr(validation, "NAMES", ("nothing",))
    monkeypatch.setattr(validation, "RESULTS", tmp_path)
    return module


@pytest.mark.parametrize(("broken", "code"), [([], 0), (["off by 1"], 1)])
def test_a_campaign_writes_its_part_and_a_broken_bar_fails(campaign, broken, code, capsys):
    campaign.broken += broken
    assert validation.main(["nothing"]) == code
    part = (validation.RESULTS / "nothing.md").read_text(encoding="utf-8")
    assert part in capsys.readouterr().out
    assert part.startswith("Nothing at all. (`validation/nothing.py`)\n\nMeasured 2")
    assert part.endswith(
        "| a table |\n\n" + ("Broken bars:\n\n- off by 1\n" if code else "Broken bars: none.\n")
    )


def test_an_unknown_campaign_is_named(campaign, capsys):
    assert campaign.TITLE and validation.main(["something"]) == 2
    assert capsys.readouterr().err == "validation: something unknown; expected some of nothing.\n"


def held(*rows):
    return [made.held for made in rows]


def test_a_row_of_the_ladder_holds_within_its_bar_and_never_for_a_nan():
    assert held(*(row.below("", "", error, 1e-3) for error in (1e-3, 2e-3, np.nan))) == [True, False, False]
    pairs = ([1, 2.5], [1, 2.6], [np.nan, 2])
    assert held(*(row.number("", "", got, [1, 2], 0.5) for got in pairs)) == [True, False, False]
    leaf = np.array([-np.inf, 1.0])
    others = (leaf, leaf + 1e-15, leaf * np.nan)
    assert held(*(row.equal("", "", {"a": got}, {"a": leaf}) for got in others)) == [True, False, False]


def test_errors_are_relative_to_the_largest_entry_of_their_leaf():
    truth = (np.array([1.0, 100.0]), np.array([0.1]))
    np.testing.assert_allclose(row.relative((truth[0] + 1, truth[1]), truth), 0.01)
    np.testing.assert_allclose(row.relative((truth[0], truth[1] + 0.1), truth), 1)
    assert np.isnan(row.relative((truth[0], truth[1] * np.nan), truth))
    assert np.isnan(row.relative((truth[0] * np.nan, truth[1]), truth))


def test_a_mean_is_held_to_four_of_its_standard_errors():
    samples = np.random.default_rng(0).normal(size=(400, 3))
    means = samples.mean(axis=0)
    offsets = (3.9, -3.9, 4.1, np.nan)
    error = samples.std(axis=0, ddof=1) / 20
    rows = [row.unbiased("", "", samples, means + z * error) for z in offsets]
    assert held(*rows) == [True, True, False, False]


def test_a_check_that_fails_to_run_does_not_hold(capsys):
    def check():
        raise ValueError("a | b\nand more")

    (found,) = row.rows_of(check)
    assert found.measured == "ValueError: a \\| b" and not found.held
    assert "Traceback" in capsys.readouterr().err
