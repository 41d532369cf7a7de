"""The tutorial and the how-to guides do what they say, and the reference names every public name."""

import re
from pathlib import Path

import jax
import pages
import public_names
import pytest

import jaxrnn as jr

_DOCS = Path(__file__).parents[1] / "docs"
_PAGES = {
    str(page.relative_to(_DOCS)): page for page in [_DOCS / "tutorial.md", *sorted(_DOCS.glob("howto/*.md"))]
}
_WITH_BLOCKS = [name for name, page in _PAGES.items() if pages.blocks(page)]
_FRAGMENTS = ["estimators.md", "numerics.md", "remedies.md"]
_RUN_ELSEWHERE = ["adapters.md", "index.md"]
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|(?<=e\^)-?\d+(?:\.\d+)?")


def assert_same_output(printed, said):
    """The same words, and numbers within a tenth and two units of their last digit."""
    assert _NUMBER.sub("#", printed) == _NUMBER.sub("#", said)
    for got, expected in zip(_NUMBER.findall(printed), _NUMBER.findall(said), strict=True):
        mantissa, _, exponent = expected.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(got) - float(expected)) <= 0.1 * abs(float(expected)) + 2 * unit, (got, said)


@pytest.fixture
def as_a_user_has_jax():
    """The defaults of JAX, which a page may change."""
    before = {
        name: getattr(jax.config, name)
        for name in ("jax_enable_x64", "jax_numpy_rank_promotion", "jax_numpy_dtype_promotion")
    }
    for name, value in zip(before, (False, "allow", "standard"), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("as_a_user_has_jax")
@pytest.mark.parametrize("name", _WITH_BLOCKS)
def test_page_prints_what_it_says(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for block in pages.blocks(_PAGES[name]):
        pages.execute(_PAGES[name], block, namespace)
        assert_same_output(capsys.readouterr().out, block.output)
    shown = re.findall(r"\]\(pictures/(.*?)\)", _PAGES[name].read_text(encoding="utf-8"))
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(shown)


@pytest.mark.usefixtures("as_a_user_has_jax")
@pytest.mark.parametrize("name", _FRAGMENTS)
def test_fragment_runs_where_the_names_it_begins_with_exist(name, monkeypatch):
    bench = jr.remedies.bench
    small = {"hidden_size": 4, "steps": 2, "seeds": 1, "progress": False}
    monkeypatch.setattr(jr.remedies, "bench", lambda *args, **options: bench(*args, **(options | small)))
    key = jax.random.key(0)
    task = jr.tasks.text(length=8, batch_size=2)
    cell = jr.cells.stack(jr.cells.elman(27, 4), jr.cells.dense(4, 27))
    params = cell.init(key)
    names = {
        "jr": jr, "key": key, "cell": cell, "params": params, "step_loss": task.step_loss, "task": task,
        "batch": task.sample(key), "h_0": cell.initial_states(params, batch_size=2),
        "estimator": jr.gradients.full(cell.step, task.step_loss),
    }  # fmt: skip
    for block in pages.blocks(_DOCS / name):
        pages.execute(_DOCS / name, block, names)


def test_every_guide_has_a_block_and_every_block_is_run():
    assert set(_PAGES) - set(_WITH_BLOCKS) == {"howto/index.md"}
    with_blocks = {str(page.relative_to(_DOCS)) for page in _DOCS.rglob("*.md") if pages.blocks(page)}
    assert with_blocks == {*_WITH_BLOCKS, *_FRAGMENTS, *_RUN_ELSEWHERE}


def test_the_tutorial_quotes_only_numbers_that_its_blocks_hold_or_print():
    page = _PAGES["tutorial.md"]
    quoted = set(_NUMBER.findall(pages.prose(page)))
    held = " ".join(block.code + block.output for block in pages.blocks(page))
    reading_minutes, percent_of_the_horizon = "15", "99"
    known = {float(number) for number in _NUMBER.findall(held)} | {0, 1}
    known |= {float(reading_minutes), float(percent_of_the_horizon)}
    assert len(quoted) > 10
    assert {number for number in quoted if float(number) not in known} == set()


@pytest.mark.parametrize(
    ("printed", "said", "same"),
    [
        ("loss 0.52", "loss 0.50", True),
        ("loss 0.62", "loss 0.50", False),
        ("e^-27.4", "e^-17.4", False),
        ("1.3e-2", "4.3e-2", False),
        ("at 3: vanishing", "at 3: stable", False),
        ("1 2", "1", False),
    ],
)
def test_outputs_that_differ_are_told_apart(printed, said, same):
    if same:
        assert_same_output(printed, said)
        return
    with pytest.raises(AssertionError):
        assert_same_output(printed, said)


def test_every_public_name_is_in_the_reference():
    directives = re.findall(
        r"^\.\. (?:auto\w+|py:\w+):: ([\w.]+)", (_DOCS / "api.md").read_text(encoding="utf-8"), re.M
    )
    assert public_names.undocumented(set(directives)) == []
    assert public_names.undocumented(set(directives) - {"jaxrnn.cells.gru"}) == ["jaxrnn.cells.gru"]
