"""Results in a few words: what a terminal and a notebook show of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import diagnosis, dynamics, gradients, jacobians, remedies, training
from jaxrnn._display import brief
from jaxrnn._result_type import result_type
from jaxrnn.types import Trajectory


@result_type
class Small(NamedTuple):
    """A result."""

    label: str
    values: np.ndarray


@result_type
class Told(NamedTuple):
    """A result with words of its own."""

    values: np.ndarray

    def __str__(self):
        return "a < b"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1.5, -2.0, 0.25]), "float64[3], -2 to 1.5"),
        (np.array([1.0, np.nan, -np.inf]), "float64[3], 1 to 1, 2 not finite"),
        (np.full((2, 2), np.nan), "float64[2, 2], none finite"),
        (np.array([[True, False, False, False]]), "bool[1, 4], 25 % true"),
        (np.array([3 + 4j, 0.0]), "complex128[2], moduli, 0 to 5"),
        (np.array(["a", "b"]), "<U1[2]"),
        (np.zeros((0, 3)), "float64[0, 3]"),
        (np.float32(0.1), "0.1"),
        (np.array([True]), "True"),
        (Small("a", np.ones(1)), "Small(...)"),
        ((1, None), "(1, None)"),
        ("x" * 100, "'" + "x" * 69 + "…"),
        (list(range(100)), "list of 100"),
        ((np.ones(2), None), "tuple of 2"),
        ({"W_hh": np.ones(100), "b": np.ones(100)}, "dict of 2: W_hh, b"),
    ],
)
def test_a_value_in_a_few_words(value, text):
    assert brief(value) == text


def test_arrays_of_jax_are_told_also_where_they_have_no_values():
    assert brief(jnp.ones(3, jnp.bfloat16)) == "bfloat16[3], 1 to 1"
    assert brief(jax.random.split(jax.random.key(0), 3)).endswith("[3]")
    seen = []
    jax.jit(lambda x: seen.append(brief(x)))(jnp.ones((2, 3), jnp.float32))
    assert seen == ["float32[2, 3]"]


def test_a_short_result_is_one_line_and_a_long_one_has_a_line_for_each_field():
    assert repr(Small("a", np.arange(3))) == "Small(label='a', values=int64[3], 0 to 2)"
    long = repr(Small("x" * 60, np.linspace(0, 1, 1000).reshape(10, 100)))
    assert long.splitlines() == [
        "Small(",
        f"    label='{'x' * 60}',",
        "    values=float64[10, 100], 0 to 1,",
        ")",
    ]


def test_a_notebook_shows_a_table_and_the_words_of_a_result_safely():
    page = Told(np.arange(3))._repr_html_()
    assert page.startswith("<pre>a &lt; b</pre><table>")
    assert "<th style='text-align:left'>values</th>" in page and "int64[3], 0 to 2" in page
    assert "<pre>" not in Small("<b>", np.ones(2))._repr_html_()
    assert "&lt;b&gt;" in Small("<b>", np.ones(2))._repr_html_()
    assert str(Told(np.arange(3))) == "a < b"


def results(module):
    """The NamedTuples of a module whose fields are arrays, by its `__all__`."""
    found = (getattr(module, name) for name in module.__all__)
    ours = (kind for kind in found if isinstance(kind, type) and kind.__module__.startswith("jaxrnn."))
    return {kind for kind in ours if hasattr(kind, "_fields")}


def test_every_result_is_shown_this_way():
    made = {Trajectory}.union(*map(results, (diagnosis, dynamics, gradients, jacobians, remedies, training)))
    # What is no result: settings, what an estimator or optimizer carries, a pattern that is an argument.
    others = {"AdaptiveCarry", "Checkpoints", "InfluencePattern", "MonitorState", "OnlineCarry", "Remedy"}
    others |= {"Bifurcation", "Setup", "Sizes", "StreamCarry"}
    assert {kind.__name__ for kind in made if not hasattr(kind, "_repr_html_")} <= others
    assert len(made) > 20
