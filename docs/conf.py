"""How Sphinx builds the documentation: Markdown through MyST, the reference from the docstrings."""

import re

from glassnet import __version__

project = "glassnet"
author = "The glassnet authors"
copyright = f"2026, {author}"  # Sphinx's name for it
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# Names that say more than what they stand for.
autodoc_type_aliases = {name: name for name in ("AnyOptimizer", "ArrayLike", "FloatArray", "Floats", "State")}
autodoc_member_order = "bysource"
default_role = "py:obj"  # docstrings name things in single backticks; what has a page is linked

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_title = f"glassnet {release}"


def keep_bars(app, what, name, obj, options, lines: list[str]) -> None:
    """Let |v| in the prose of a docstring be a magnitude; reStructuredText takes it for a substitution."""
    in_example = False
    for number, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            lines[number] = re.sub(r"`[^`]*`|\|", lambda found: r"\|" if found[0] == "|" else found[0], line)


def setup(app) -> None:
    """Sphinx calls this once, before it builds."""
    app.connect("autodoc-process-docstring", keep_bars)
