"""Draw docstrings, messages and pages at random, for a reader who marks what needs a second reading.

``python -m tools.draw_prose --seed 7`` prints 60 docstrings, 30 messages and the names of 3 pages. The same seed draws
the same prose from the same files. Nothing but the prose is printed, because a good sentence needs no code beside it.
"""

import argparse
import ast
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("llm_streaming", "mlserver_llm_api", "mlserver_llm_local")
SHORTEST_MESSAGE = 30  # characters; shorter strings are names and keys
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Yield each docstring of the package, with the name of what it documents."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, DEFINITIONS) and (text := ast.get_docstring(node)):
                yield f"{module}:{getattr(node, 'name', 'the module')}", text


def messages(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Yield each sentence that the package raises, prints or reports, with ``{…}`` for what is filled in."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for argument in node.args:
                    text = text_of(argument)
                    if len(text) >= SHORTEST_MESSAGE and " " in text:
                        yield f"{module}:{node.lineno}", text


def text_of(node: ast.expr) -> str:
    """The text of a string or an f-string; empty for any other expression."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) if isinstance(value, ast.Constant) else "{…}" for value in node.values)
    return ""


def draw(seed: int) -> Iterator[str]:
    """Yield the drawn prose, one paragraph each."""
    generator = random.Random(seed)  # noqa: S311 - no secret
    files = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "_pb2" not in path.name)
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in files}
    pages = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
    for title, found, count in (
        ("Docstrings", list(docstrings(trees)), 60),
        ("Messages", list(messages(trees)), 30),
    ):
        yield f"# {title}"
        for number, (where, text) in enumerate(generator.sample(found, count), 1):
            yield f"{number}. {where}\n{textwrap.indent(text, '    ')}"
    yield "# Pages"
    yield "\n".join(generator.sample(pages, 3))


def main() -> None:
    """Print what a seed draws."""
    parser = argparse.ArgumentParser(prog="python -m tools.draw_prose", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    print("\n\n".join(draw(parser.parse_args().seed)))


if __name__ == "__main__":
    main()
