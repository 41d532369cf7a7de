"""The examples of docs/adapters.md, as a reader would paste them."""

import json
import re
from pathlib import Path

import jax
import pages
import pytest

_PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
DIAGNOSED = ["Flax NNX", "Flax Linen", "Equinox", "Haiku", "Keras", "torch", "A plain function"]
TITLES = re.findall(r"^## (.*)$", _PAGE.read_text(encoding="utf-8"), re.M)
EXAMPLES = dict(zip(TITLES, pages.blocks(_PAGE), strict=True))


def execute(name):
    with jax.enable_x64(False):
        pages.execute(_PAGE, EXAMPLES[name], {"__name__": "example"})
    jax.effects_barrier()


def test_every_adapter_has_an_example():
    assert list(EXAMPLES) == [
        *DIAGNOSED[:-1], "In a training loop of your own", DIAGNOSED[-1],
    ]  # fmt: skip


@pytest.mark.parametrize("name", DIAGNOSED)
def test_example_diagnoses_a_trained_model_in_at_most_five_lines(name, capsys):
    last_lines = EXAMPLES[name].code.rstrip().split("\n\n")[-1].strip().splitlines()
    assert len(last_lines) <= 5
    execute(name)
    assert "nats per step" in capsys.readouterr().out


def test_a_loop_of_ones_own_is_told_where_the_gradient_goes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    execute("In a training loop of your own")
    first = json.loads(capsys.readouterr().out)
    steps = [json.loads(line)["step"] for line in Path("log.jsonl").read_text().splitlines()]
    assert steps == [0, 10, 20] and first["step"] == 0
    assert {"grad_norm", "update_norm", "monitored/by_lag/median/2", "monitored/certified"} <= first.keys()
