"""What is made before the pages are read: the notebooks' pages, their gallery, the tutorial's pictures.

All of it lies in docs/notebooks/ and docs/pictures/, which git ignores.
"""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pages
from myst_parser.slugs import github_slugify
from PIL import Image
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
WIDTH = 400  # pixels of a thumbnail

PICTURE = """````{{container}} picture
[![{caption}]({thumbnail})]({link})

[{caption}]({link})
````
"""


def notebook_pages(app):
    """Copies of the executed notebooks, as pages; and gallery.txt, which the page gallery.md includes."""
    folder = Path(app.srcdir, "notebooks")
    shutil.rmtree(folder / "thumbnails", ignore_errors=True)
    (folder / "thumbnails").mkdir(parents=True)
    parts = []
    names = [path.stem for path in sorted(ROOT.glob("notebooks/*.py"))]
    for name in names:
        # Without a run, such as in a build that make did not begin, a page is the notebook without outputs.
        runs = [ROOT / "build/notebooks" / f"{name}.ipynb", ROOT / "notebooks" / f"{name}.ipynb"]
        copy = next((path for path in runs if path.exists()), None)
        if copy is not runs[0]:
            LOGGER.info("notebooks/%s.py was not run; make notebooks does that", name)
        if copy:
            text = copy.read_text(encoding="utf-8")
            write_if_new(folder / f"{name}.ipynb", text)
            parts.append(gallery_of(name, nbformat.reads(text, as_version=4), folder))
    for stale in {path.stem for path in folder.glob("*.ipynb")} - set(names):
        (folder / f"{stale}.ipynb").unlink()
    write_if_new(folder / "gallery.txt", "\n".join(parts))


def write_if_new(path, text):
    """Write a file unless it says so already, so that Sphinx reads again only what changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def gallery_of(name, notebook, folder):
    """The part of the gallery for one notebook; every picture is named by the heading that precedes it."""
    title, heading, pictures = name, None, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for level, text in re.findall(r"^(#+) (.+)$", cell.source, re.M):
                title, heading = (text, None) if level == "#" else (title, text)
            continue
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                thumbnail = f"thumbnails/{name}-{len(pictures)}.png"
                draw_thumbnail(output.data["image/png"], folder / thumbnail)
                anchor = f"#{github_slugify(heading)}" if heading else ""
                pictures.append(
                    PICTURE.format(
                        caption=re.sub(r"^\d+\. ", "", heading or title),
                        thumbnail=f"notebooks/{thumbnail}",
                        link=f"notebooks/{name}.ipynb{anchor}",
                    )
                )
    grid = ["`````{container} gallery", *pictures, "`````"] if pictures else []
    return "\n".join([f"## [{title}](notebooks/{name}.ipynb)", "", *grid, ""])


def draw_thumbnail(png, path):
    """A small copy with few colours."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        small = image.convert("RGB")
    small.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    small.quantize(128).save(path, optimize=True)


def tutorial_pictures(app):
    """Run the tutorial's blocks where its pictures belong, unless they are newer than what they show."""
    page, folder = Path(app.srcdir, "tutorial.md"), Path(app.srcdir, "pictures")
    drawn = folder / ".drawn"
    newest = max(path.stat().st_mtime for path in (page, *ROOT.glob("jaxrnn/**/*.py")))
    if drawn.exists() and drawn.stat().st_mtime > newest:
        return
    folder.mkdir(exist_ok=True)
    settings = {"XLA_FLAGS": pages.QUICK_XLA, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg"}
    # The tests run the tutorial too, and take from here what is compiled.
    settings |= {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, pages.__file__, str(page)]
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if run.returncode:
        LOGGER.warning("the tutorial does not run:\n%s", run.stderr)
        return
    drawn.touch()


def setup(app):
    """Both, before Sphinx looks for pages."""
    app.connect("builder-inited", notebook_pages)
    app.connect("builder-inited", tutorial_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
