"""Execute notebooks/*.py (jupytext percent) and fail on any error or warning.

The executed copies go to build/notebooks/ as .ipynb, which git ignores. Copies without outputs go beside the
sources, for JupyterLab and Colab, which open no .py as a notebook; `.ci/run` is red where a committed copy is
not of its source.

    python tools/run_notebooks.py [NAME ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

from pages import LIGHT_XLA, QUICK_XLA  # noqa: E402

MOSTLY_COMPILED = {"explore", "remedies", "trust"}
STRICT = "import gc, warnings\ngc.set_threshold(50_000, 20, 20)\nwarnings.simplefilter('error')"
# The kernel's own shutdown is not ours to judge.
LENIENT = "warnings.resetwarnings()\nwarnings.simplefilter('ignore')"


def environment(path: Path) -> dict[str, str]:
    """The caller's, and flags for compiling in less time, the least where that is most of a notebook."""
    flags = QUICK_XLA if path.stem in MOSTLY_COMPILED else LIGHT_XLA
    return {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}


def run(path: Path, folder: Path) -> bool:
    """Whether the notebook runs through; its executed copy is written either way."""
    notebook = jupytext.read(path)
    cells = notebook.cells
    for i, cell in enumerate(cells):
        cell.id = f"{path.stem}-{i}"  # else a random one, anew each time
    nbformat.write(notebook, path.with_suffix(".ipynb"))
    notebook.cells = [nbformat.v4.new_code_cell(STRICT), *cells, nbformat.v4.new_code_cell(LENIENT)]
    began = time.perf_counter()
    try:
        # The kernel's sockets are files, which would otherwise stay behind in the working directory.
        with tempfile.TemporaryDirectory() as sockets:
            manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
            resources = {"metadata": {"path": str(ROOT)}}
            try:
                client = NotebookClient(notebook, km=manager, timeout=600, resources=resources)
                client.execute(env=environment(path))
            finally:
                manager.shutdown_kernel(now=True)
    except CellExecutionError as error:
        print(f"{path.name}: failed\n{error}", file=sys.stderr)
        return False
    finally:
        notebook.cells = cells
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{path.stem}.ipynb")
    written = (folder / f"{path.stem}.ipynb").relative_to(ROOT)
    print(f"{path.name}: {time.perf_counter() - began:.0f} s, executed copy in {written}")
    return True


def main(names: list[str]) -> int:
    """Run the named notebooks, or all."""
    # Pictures go into the notebook, whatever backend the caller's shell asks for; one BLAS thread is faster.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    paths = [ROOT / "notebooks" / f"{Path(name).stem}.py" for name in names]
    paths = paths or list((ROOT / "notebooks").glob("*.py"))
    # The longest is begun first, so that it is not the last to end.
    paths = sorted(paths, key=lambda path: path.stat().st_size, reverse=True)
    with ProcessPoolExecutor(2) as workers:
        results = list(workers.map(run, paths, [ROOT / "build" / "notebooks"] * len(paths)))
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
