"""Sphinx extension: resolves short names in docstrings, and shows defaults of dataclasses."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def without_factories(*event: object) -> tuple[object, object] | None:
    """Show the default of a dataclass field with a factory as ``...``, because ``<factory>`` is not Python."""
    *_, arguments, returned = event
    return (arguments.replace("<factory>", "..."), returned) if isinstance(arguments, str) else None


def by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a name in a docstring by its last part, because docstrings may omit or vary the name's module."""
    if node.get("refdomain") != "py":
        return None
    name: str = node["reftarget"]
    if name.startswith("llm_streaming."):
        name = name.rpartition(".")[2]
    node["refspecific"] = True
    python = env.domains.python_domain
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both functions to Sphinx's events."""
    app.connect("autodoc-process-signature", without_factories)
    app.connect("missing-reference", by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
