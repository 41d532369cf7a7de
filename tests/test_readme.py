"""The examples of the README and of the docs' first page, as a reader would paste them."""

import subprocess
import sys
from pathlib import Path

import pages
import pytest

_ROOT = Path(__file__).parents[1]
_EXAMPLES = {
    f"{page} {i}": block.code
    for page in ("README.md", "docs/index.md")
    for i, block in enumerate(pages.blocks(_ROOT / page))
}


def test_both_pages_begin_with_the_same_example():
    assert _EXAMPLES["README.md 0"] == _EXAMPLES["docs/index.md 0"]


@pytest.mark.parametrize("example", dict.fromkeys(_EXAMPLES.values()), ids=["first", "second"])
def test_example_runs(example, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    if "savefig" in example:
        assert (tmp_path / "norm_by_lag.png").stat().st_size > 1000


def test_version_is_the_same_in_package_and_project():
    import tomllib

    import jaxrnn

    assert tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"] == jaxrnn.__version__
