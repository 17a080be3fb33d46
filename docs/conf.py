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


def as_prose(app, what, name, obj, options, lines: list[str]) -> None:
    """Let a docstring be read as it is meant: |v| is a magnitude, and a colon in a first line is a colon."""
    in_example = False
    for number, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:  # reStructuredText takes |v| for a substitution
            lines[number] = re.sub(r"`[^`]*`|\|", lambda found: r"\|" if found[0] == "|" else found[0], line)
    if what in ("attribute", "data", "property"):  # Napoleon takes "some words: others" there for a type
        lines[:0] = ["..", ""]  # a first line that is an empty comment has none


def with_aliases(app, what, name, obj, options, signature: str | None, returns: str | None) -> tuple[str | None, ...]:
    """Print an alias of `autodoc_type_aliases` by its name also where it stands inside another type."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (signature, returns))


def without_requests(app, what, name, obj, skip: bool, options) -> bool | None:
    """scikit-learn writes `set_fit_request` and its like into estimators, whose words refer to its own glossary."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app) -> None:
    """Sphinx calls this once, before it builds."""
    app.connect("autodoc-process-docstring", as_prose, priority=400)  # before Napoleon, at 500
    app.connect("autodoc-process-signature", with_aliases)
    app.connect("autodoc-skip-member", without_requests)
