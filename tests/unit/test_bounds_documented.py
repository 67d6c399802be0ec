"""The tables of limits in docs/runtimes.md are those of the code."""

from llm_streaming.engines.bounds.parameters import llamacpp_parameters, vllm_parameters
from llm_streaming.engines.bounds.values import Kind, anything
from llm_streaming.paths import project_root

CONTEXT = 123_456_789
TABLES = {
    "llamacpp": llamacpp_parameters(CONTEXT, allow_grammar=True, allow_samplers=True, unfollowed=set()),
    "vllm": vllm_parameters(CONTEXT, allow_grammar=False, unfollowed=set()),
}


def rows() -> list[str]:
    """One row for each kind of value and the backends whose parameters have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in TABLES["llamacpp"] | TABLES["vllm"]:
        words: dict[str, list[str]] = {}
        for backend, table in TABLES.items():
            kind = table.get(name)
            if isinstance(kind, Kind) and kind is not anything:
                words.setdefault(
                    kind.words.replace(", the model's context in tokens", "").replace(str(CONTEXT), "the context"), []
                ).append(backend)
        for text, backends in words.items():
            found.setdefault((text, "both" if len(backends) == len(TABLES) else backends[0]), []).append(f"`{name}`")
    return [f"| {', '.join(names)} | {text} | {backend} |" for (text, backend), names in found.items()]


def test_the_limits_of_parameters_are_documented() -> None:
    text = (project_root() / "docs" / "runtimes.md").read_text()
    table = text.split("| parameters | values | backend |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert table.splitlines() == rows()
