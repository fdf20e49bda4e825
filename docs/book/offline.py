"""A Sphinx extension: what lets the book's pages do without a server and without the internet."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

# A page that is opened as a file may not read others, so it lists what it found without excerpts.
SEARCH = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"


def visit_math(translator, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw by themselves; MathJax is 2 MB elsewhere."""
    text, block = node.astext(), isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(text, as_block=block)
        translator.body.append(f"<p>{formula}</p>" if block else formula)
    except MathError as error:
        why = f"the formula {text!r} cannot be drawn ({error})"
        logging.getLogger(__name__).warning(why, location=node)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.add_js_file(None, body=SEARCH)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
