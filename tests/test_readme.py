"""The README's examples, as a reader would paste them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_EXAMPLES = re.findall(r"```python\n(.*?)```", (_ROOT / "README.md").read_text(encoding="utf-8"), re.S)


def test_readme_has_both_examples():
    assert len(_EXAMPLES) == 2


@pytest.mark.parametrize("example", _EXAMPLES, ids=["twenty lines", "own cell"])
def test_readme_example_runs(example, tmp_path):
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
