"""Execute notebooks/*.py (jupytext percent) and fail on any error or warning.

The executed copies, as .ipynb and .html-free, go to build/notebooks/, which git ignores; nothing else is written.

    python tools/run_notebooks.py [NAME ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
# A warning is an error here; JAX's own compiled code raises none.
STRICT = "import warnings\nwarnings.simplefilter('error')"


def run(path: Path, out: Path) -> bool:
    """Whether the notebook runs through; its executed copy is written either way."""
    notebook = jupytext.read(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    )
    began = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{path.name}: failed\n{error}", file=sys.stderr)
        return False
    finally:
        del notebook.cells[0]
        out.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, out / f"{path.stem}.ipynb")
    print(f"{path.name}: {time.perf_counter() - began:.0f} s -> {(out / path.stem).relative_to(ROOT)}.ipynb")
    return True


def main(names: list[str]) -> int:
    """Run the named notebooks, or all."""
    paths = [ROOT / "notebooks" / f"{Path(name).stem}.py" for name in names]
    paths = paths or sorted((ROOT / "notebooks").glob("*.py"))
    results = [run(path, ROOT / "build" / "notebooks") for path in paths]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
