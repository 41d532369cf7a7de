# ruff: noqa: ARG001, a hook takes what Sphinx gives
"""Sphinx settings. Nothing is fetched, neither when building nor when reading: the pages work from file://."""

import re
import sys
from pathlib import Path

import matplotlib
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

from public_names import undocumented  # noqa: E402

import jaxrnn  # noqa: E402

project = "jaxrnn"
author = "The jaxrnn developers"
release = version = jaxrnn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated", "mathml"]
exclude_patterns = ["_build"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"

smartquotes = False

html_theme = "furo"
html_title = f"jaxrnn {release}"
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
# The font is for formulas where the reader's machine has none with their letters.
html_static_path = ["_static", str(Path(matplotlib.get_data_path(), "fonts/ttf/STIXGeneral.ttf"))]
html_css_files = ["site.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"exclude-members": "__new__"}
# Annotations stay as they are written, shape strings included.
autodoc_type_aliases = {
    name: name
    for name in (
        "Array",
        "Bool",
        "Carry",
        "Float",
        "Int",
        "Key",
        "Params",
        "PyTree",
        "State",
        "StepFn",
        "StepLoss",
    )
}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False
napoleon_custom_sections = [("Reference", "References")]

ATTRIBUTES = {}


def warn_of_undocumented(app, env):
    """A warning, and so a failed build, for every public name that api.md leaves out."""
    for name in undocumented({name for name, *_ in env.get_domain("py").get_objects()}):
        LOGGER.warning("api.md does not document %s", name)


def warn_of_missing_files(app, docname, source):
    """A warning for every test file or notebook that a page names and that is not there."""
    for name in re.findall(r"(?:tests|notebooks|benchmarks|studies)/[\w/]+\.py", source[0]):
        if not (ROOT / name).exists():
            LOGGER.warning("%s names %s, which does not exist", docname, name)


def include_latest_results(app, docname, source):
    """The newest file, by its date, for ``LATEST(benchmarks/results/*.md)``."""

    def latest(match):
        found = max(ROOT.glob(match[1]), default=None)
        if found is None:
            LOGGER.warning("%s includes %s, which no file matches", docname, match[1])
        return f"../{found and found.relative_to(ROOT).as_posix()}"

    source[0] = re.sub(r"LATEST\((.+?)\)", latest, source[0])


def adapt_docstring(app, what, name, obj, options, lines):
    """The house's docstrings in the dialect that napoleon reads."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    if what in ("attribute", "property"):
        ATTRIBUTES[name] = list(lines)
    adapted, section = [], None
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if set(following) == {"-"} and line:
            section = line
        # |h| is an absolute value here, not a substitution.
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``)", line)
            line = "".join(p if p.startswith("``") else p.replace("|", r"\|") for p in parts)
        argument = re.match(r"(\*?\w[\w, ]*?) : (.+)", line)
        if section == "Parameters" and argument:
            adapted += [argument[1], "    " + argument[2]]
        else:
            adapted.append(line)
    lines[:] = adapted


def restore_attribute(app, what, name, obj, options, lines):
    """An attribute's docstring as it was: napoleon takes what precedes a colon for a type."""
    if what in ("attribute", "property"):
        lines[:] = [line.replace("|", r"\|") for line in ATTRIBUTES.pop(name)]


def plain_aliases(app, what, name, obj, options, signature, returns):
    """Names inside of unions, which autodoc wraps."""
    return tuple(
        part and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", part) for part in (signature, returns)
    )


def setup(app):
    """The hooks; the first runs before napoleon's own."""
    app.connect("autodoc-process-docstring", adapt_docstring, priority=100)
    app.connect("autodoc-process-docstring", restore_attribute, priority=900)
    app.connect("autodoc-process-signature", plain_aliases)
    app.connect("source-read", include_latest_results)
    app.connect("source-read", warn_of_missing_files)
    app.connect("env-check-consistency", warn_of_undocumented)
