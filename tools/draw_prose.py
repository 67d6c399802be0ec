"""Print docstrings, messages and pages drawn at random, so that readers can mark what they had to read twice.

``python -m tools.draw_prose --seed 7`` prints 60 docstrings, 30 messages and the names of 3 pages. The same seed draws
the same prose from the same files. The code is not printed, because a good sentence is clear without it.
"""

import argparse
import ast
import random
import textwrap
from collections.abc import Iterator

from llm_streaming.paths import project_root

PACKAGES = ("llm_streaming", "mlserver_llm_api", "mlserver_llm_local")
SHORTEST_MESSAGE = 30  # characters; shorter strings are names and keys
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Yield each docstring of the package, with its file and the name of the documented object."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, DEFINITIONS) and (text := ast.get_docstring(node)):
                yield f"{module}:{getattr(node, 'name', 'the module')}", text


def messages(trees: dict[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Yield each message of the package after its file and line; ``{…}`` replaces each inserted value."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for argument in node.args:
                    text = text_of(argument)
                    if len(text) >= SHORTEST_MESSAGE and " " in text:
                        yield f"{module}:{node.lineno}", text


def text_of(node: ast.expr) -> str:
    """Return the text of a string or an f-string, or an empty string for any other expression."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) if isinstance(value, ast.Constant) else "{…}" for value in node.values)
    return ""


def draw(seed: int) -> Iterator[str]:
    """Yield the headings and the drawn texts."""
    root = project_root()
    generator = random.Random(seed)  # noqa: S311 - the numbers need not be secret
    files = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py") if "_pb2" not in path.name)
    trees = {str(path.relative_to(root)): ast.parse(path.read_text()) for path in files}
    pages = sorted(str(path.relative_to(root)) for path in [*root.glob("*.md"), *(root / "docs").glob("*.md")])
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
    """Print the texts that a seed draws."""
    parser = argparse.ArgumentParser(prog="python -m tools.draw_prose", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    print("\n\n".join(draw(parser.parse_args().seed)))


if __name__ == "__main__":
    main()
