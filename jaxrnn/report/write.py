"""Files of a report, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["all_or_nothing"]


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, whose files move there only if the body succeeds.

    Opening it also finds out, before any work, that the folder cannot be written.

    Raises
    ------
    OSError
        If the folder cannot be made or written, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder to write the report into.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        folder.mkdir(exist_ok=True)
        for file in sorted(draft.iterdir(), key=lambda file: file.suffix == ".html"):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
