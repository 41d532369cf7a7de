"""Files of a report, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["all_or_nothing"]


@contextmanager
def all_or_nothing(folder: Path) -> Generator[Path, None, None]:
    """A temporary folder in or beside `folder`, whose files move there only if the body succeeds.

    Opening it also finds out, before any work, that the folder cannot be written.

    Raises
    ------
    OSError
        If the folder cannot be made or written, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder to write the report into.")
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Inside a folder that is there already: it may be the only place to write, or a disk of its own.
    place = folder if folder.is_dir() else folder.parent
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=place))
    try:
        yield draft
        draft.chmod(0o755)
        folder.mkdir(exist_ok=True)
        for file in sorted(draft.iterdir(), key=lambda file: file.suffix == ".html"):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in made:
            _remove_if_empty(parent)


def _remove_if_empty(folder):
    with suppress(OSError):
        folder.rmdir()
