"""How Sphinx builds the documentation: Markdown through MyST, the reference from the docstrings."""

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

autodoc_member_order = "bysource"
default_role = "py:obj"  # docstrings name things in single backticks; what has a page is linked

html_theme = "furo"
html_title = f"glassnet {release}"
