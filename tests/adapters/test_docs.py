"""The examples of docs/adapters.md, as a reader would paste them."""

import re
from pathlib import Path

import jax
import pytest

_PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (.*?)$.*?^```python\n(.*?)^```", _PAGE, re.S | re.M))


def test_every_adapter_has_an_example():
    assert list(EXAMPLES) == [
        "Flax NNX", "Flax Linen", "Equinox", "Haiku", "Keras", "torch", "A plain function",
    ]  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_diagnoses_a_trained_model_in_at_most_five_lines(name, capsys):
    last_lines = EXAMPLES[name].rstrip().split("\n\n")[-1].splitlines()
    assert len(last_lines) <= 5 or name in ("torch", "A plain function")
    with jax.enable_x64(False):
        exec(compile(EXAMPLES[name], f"docs/adapters.md: {name}", "exec"), {"__name__": "example"})
    assert "nats per step" in capsys.readouterr().out
