"""Every campaign of `python -m validation` has its part, and its place in the page."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from validation import __main__ as validation

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
