"""docs/contract.md: every citation leads to a section, and the package reads every example."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
import yaml

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.manifests import Model, Server, read_manifests
from llm_streaming.paths import project_root
from llm_streaming.protocol import (
    Tensor,
    decode_completion,
    decode_error,
    decode_event,
    decode_request,
    encode_request,
)
from llm_streaming.protocol.tensors import OUTPUT_NAMES
from llm_streaming.runtimes.settings import APISettings, LocalSettings, read_settings

ROOT = project_root()
PAGE = (ROOT / "docs" / "contract.md").read_text()
SECTIONS = ["Request", "Response", "Errors", "Model settings", "SC2 resources and routes", "Kubernetes API server"]
SETTINGS: dict[str, Any] = {
    "mlserver_llm_api.LLMRuntime": APISettings,
    "mlserver_llm_local.runtime.Local": LocalSettings,
}

FOLDERS = ("benchmarks", "docs", "llm_streaming", "mlserver_llm_api", "mlserver_llm_local", "tests", "tools")
KINDS = (".ipynb", ".json", ".md", ".proto", ".py", ".rst", ".yaml", ".yml")
# "contract §2", "contract §2 and §3", "contract §1 to §6", "contract.md §4"; §N stands for any.
CITED = re.compile(r"contract(?:\.md)? §\w+(?:(?:, | and | to )§\w+)*")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def kind_of(example: dict[str, Any]) -> str:
    """The kind of a JSON example, by the key that no other kind has."""
    keys = ("inputs", "outputs", "implementation", "messages", "error", "kind")
    (kind,) = [key for key in keys if key in example and not (key == "outputs" and "inputs" in example)]
    return kind


EXAMPLES = [json.loads(block) for block in blocks("json")]
EVENTS = [json.loads(line) for line in re.findall(r"^data: (.*)$", "".join(blocks("text")), re.MULTILINE)]
RESPONSES = [one for one in EXAMPLES if kind_of(one) == "outputs"]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in EXAMPLES if kind_of(one) == kind]


def citations() -> Iterator[tuple[str, str]]:
    """Each cited section, with the file that cites it."""
    files = chain(ROOT.glob("*.md"), *(ROOT.joinpath(folder).rglob("*") for folder in FOLDERS))
    for path in files:
        if path.suffix in KINDS and path.name != "test_contract.py":
            for found in CITED.findall(path.read_text()):
                yield from ((section, str(path.relative_to(ROOT))) for section in re.findall(r"§(\w+)", found))


def test_the_sections_are_numbered_in_order() -> None:
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE) == [f"{n}. {name}" for n, name in enumerate(SECTIONS, start=1)]


def test_every_citation_leads_to_a_section() -> None:
    cited = list(citations())
    sections = {str(number) for number in range(1, len(SECTIONS) + 1)}
    assert [(section, path) for section, path in cited if section not in sections] == []
    assert {section for section, _ in cited} == sections


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    headings = [heading.lower() for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)]
    anchors = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}
    assert [link for link in re.findall(r"\]\(#([^)]+)\)", PAGE) if link not in anchors] == []


def test_every_section_names_its_sources() -> None:
    sections = re.split(r"^## \d\. ", PAGE, flags=re.MULTILINE)[1:]
    assert ["**Sources.**" in section for section in sections] == [True] * len(SECTIONS)


def test_every_source_in_this_repository_exists() -> None:
    ours = re.findall(r"`((?:llm_streaming|tests|docs)/[^`]*)`", PAGE)
    assert ours
    assert [path for path in ours if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("body", of_kind("inputs"))
def test_a_request_is_what_the_client_encodes(body: dict[str, Any]) -> None:
    inputs = [Tensor.from_json(tensor) for tensor in body["inputs"]]
    outputs = [output["name"] for output in body.get("outputs", [])]
    assert encode_request(decode_request(inputs, body.get("parameters"), outputs)) == body


@pytest.mark.parametrize("response", [*RESPONSES, *EVENTS])
def test_the_outputs_of_a_response_are_in_order(response: dict[str, Any]) -> None:
    names = [output["name"] for output in response["outputs"]]
    assert names == [name for name in OUTPUT_NAMES if name in names]
    assert {(tuple(one["shape"]), one["datatype"], len(one["data"])) for one in response["outputs"]} == {
        ((1, 1), "BYTES", 1)
    }


def test_the_events_of_the_page_are_read_as_it_says() -> None:
    chunks = [one for one in RESPONSES if not one["parameters"] and "chunk" in one["outputs"][-1]["data"][0]]
    read = [decode_event(one) for one in [*chunks, *EVENTS]]
    assert [event.content for event in read] == ["Hello", "", "Hello", " there"]
    assert [event.raw.get("object") for event in read] == ["chat.completion.chunk"] * 2 + [None] * 2


def test_the_whole_answer_is_read_as_it_says() -> None:
    (whole,) = [one for one in RESPONSES if '"chat.completion"' in one["outputs"][-1]["data"][0]]
    answer = decode_completion(whole)
    assert (answer.content, answer.finish_reason) == ("Hello there!", "length")
    assert answer.usage == {"completion_tokens": 3, "prompt_tokens": 33, "total_tokens": 36}


def test_the_failed_event_and_the_error_object_say_the_same() -> None:
    (failed,) = [one for one in RESPONSES if one["parameters"]]
    assert failed["parameters"]["error"] == failed["outputs"][-1]["data"][0]
    with pytest.raises(EngineError) as raised:
        decode_event(failed)
    error = raised.value
    assert (error.status, error.type, error.code, error.retry_after) == (
        429, "rate_limit_error", "rate_limit_exceeded", 7
    )  # fmt: skip
    _, body = of_kind("error")
    assert body == json.loads(failed["parameters"]["error"]) == error.as_openai()


def test_mlservers_error_is_the_refusal_of_a_request_without_roles() -> None:
    whole, _ = of_kind("error")
    with pytest.raises(ProtocolError) as refused:
        decode_request([])
    assert str(decode_error(whole["error"])) == str(refused.value)


@pytest.mark.parametrize("settings", of_kind("implementation"))
def test_the_runtimes_take_the_settings(settings: dict[str, Any]) -> None:
    read_settings(SETTINGS[settings["implementation"]], settings["parameters"]["extra"])
    assert json.loads((ROOT / "models" / settings["name"] / "model-settings.json").read_text()) == settings


def test_the_manifests_are_valid() -> None:
    manifests = [yaml.safe_load(block) for block in blocks("yaml")]
    assert [one["kind"] for one in manifests] == ["Model", "Server"]
    resources = [resource for one in manifests for resource in read_manifests(one)]
    assert [resource.document for resource in resources] == manifests
    model, server = resources
    assert isinstance(model, Model)
    assert isinstance(server, Server)
    assert server.holds(model.requirements)


def test_openais_body_names_the_model_of_its_settings() -> None:
    (body,) = of_kind("messages")
    assert body["model"] in [settings["name"] for settings in of_kind("implementation")]
