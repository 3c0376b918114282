"""Sphinx configuration; the generated parts of the pages are written before the pages are read."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.inspect import stringify_signature

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

import sixgym  # noqa: E402

generate.write_all(HERE / "_generated")

project = "sixgym"
author = "The sixgym authors"
copyright = "The sixgym authors, Apache-2.0"
version = release = sixgym.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tools/notebooks.py runs them, and they carry what they print and draw
nb_ipywidgets_js = {}  # of content delivery networks; no notebook has widgets
exclude_patterns = ["_build", "_generated"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
# RLlib has an environment of its own; a view is described beside a base that nobody imports.
autodoc_mock_imports = ["ray.rllib", "ray.tune"]
default_role = "literal"
napoleon_use_ivar = True  # fields of a NamedTuple are listed once

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "sixgym"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["pages.css"]


def _escape_shapes(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """The star of ``(rows, *shape)`` begins no emphasis."""
    lines[:] = [re.sub(r"(?<![*\\])\*(?=\w+\))", r"\\*", line) for line in lines]


def _own_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    """A class beside a base that is not imported is made as its own ``__init__`` says."""
    if what != "class" or arguments != "(*args, **kwargs)":
        return None
    found = inspect.signature(obj.__init__)
    made = found.replace(parameters=[*found.parameters.values()][1:])
    return stringify_signature(made, show_annotation=False, show_return_annotation=False), returns


def _inline_math(writer: Any, node: Any) -> None:
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block_math(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Connect what the pages need; formulas are MathML, which browsers draw without a network."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _escape_shapes)
    app.connect("autodoc-process-signature", _own_signature)
