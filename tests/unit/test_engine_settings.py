from pathlib import Path
from typing import Any

import pytest

from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL, resolve_model, small_model_path
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.engines.settings import complete_request, schema_warnings
from llm_streaming.errors import EngineError

FILE, PATH = "model-settings.json:", "parameters.extra.config.model_settings"

KNOWN = LlamaCppSettings().readers(set())


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_STREAMING_MODEL", raising=False)


def test_settings_may_be_strings_as_seldon_core_hands_them_on() -> None:
    given = {
        "n_ctx": "512",
        "n_parallel": 2,
        "n_threads": None,
        "seed": "0",
        "default_generate_kwargs": '{"top_p": 0.5}',
    }
    assert LlamaCppSettings.from_mapping(given) == LlamaCppSettings(
        n_ctx=512, n_parallel=2, seed=0, default_generate_kwargs={"top_p": 0.5}
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_ctxt": 1}, f"{FILE} there is no setting {PATH}.n_ctxt (did you mean n_ctx?)"),
        (
            {"gpu_memory_utilization": 0.9},
            f"{FILE} there is no setting {PATH}.gpu_memory_utilization: "
            "there are allow_grammar, allow_samplers, default_generate_kwargs, model, n_batch, n_ctx, n_parallel, "
            "n_threads, seed, stall_timeout",
        ),
        (
            {"n_ctx": "many"},
            f"{FILE} {PATH}.n_ctx: Input should be a valid integer, unable to parse string as an integer, "
            "but got 'many'",
        ),
        ({"n_parallel": 0}, f"{FILE} {PATH}.n_parallel: Input should be greater than or equal to 1, but got 0"),
        ({"n_batch": True}, f"{FILE} {PATH}.n_batch: Input should be a valid integer, but got True"),
        (
            {"n_ctx": 1.5},
            f"{FILE} {PATH}.n_ctx: Input should be a valid integer, got a number with a fractional part, but got 1.5",
        ),
        ({"seed": "-1"}, f"{FILE} {PATH}.seed: Input should be greater than or equal to 0, but got '-1'"),
        ({"model": ""}, f"{FILE} {PATH}.model: String should have at least 1 character, but got ''"),
        (
            {"default_generate_kwargs": "["},
            "The setting default_generate_kwargs must be a mapping of parameters, not '['.",
        ),
        (
            {"default_generate_kwargs": {"top_" + "x" * 1000: 1}},
            f"llama.cpp has no parameter top_{'x' * 60}…: there are {', '.join(sorted(KNOWN))}.",
        ),
        ({"default_generate_kwargs": {"top-p": 1}}, "llama.cpp has no parameter top-p (did you mean top_p?)."),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError) as raised:
        LlamaCppSettings.from_mapping(given)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_ctx": 128}, "max_tokens is 256: give an integer from 1 to 128, the model's context in tokens."),
        (
            {"default_generate_kwargs": {"json_schema": {"type": "string", "minLength": 5, "maxLength": 3}}},
            "The schema in json_schema has minLength 5, maxLength 3: no value fits.",
        ),
        (
            {"default_generate_kwargs": {"grammar": "x"}},
            "grammar is not taken: it can stall the model for everybody; leave it out, or set allow_grammar in the "
            "model's settings.",
        ),
    ],
)
def test_default_parameters_have_the_limits_of_requests(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError) as raised:
        LlamaCppSettings.from_mapping({"default_generate_kwargs": {"max_tokens": 256}, **settings})
    assert str(raised.value) == f"The setting default_generate_kwargs cannot be used: {message}"
    assert raised.value.code == "invalid_setting"


def test_settings_may_allow_what_is_refused_otherwise() -> None:
    kwargs = {"grammar": "x", "samplers": ["top_k"]}
    allowed = {"allow_grammar": "true", "allow_samplers": True, "default_generate_kwargs": kwargs}
    assert LlamaCppSettings.from_mapping(allowed).default_generate_kwargs == kwargs


def test_the_small_model_comes_from_its_wheel() -> None:
    assert resolve_model(SMALL_MODEL, Path("/nowhere")) == small_model_path()
    assert small_model_path().read_bytes()[:4] == b"GGUF"


def test_the_variable_names_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    monkeypatch.setenv("LLM_STREAMING_MODEL", str(other))
    with pytest.raises(EngineError) as raised:
        small_model_path()
    assert str(raised.value) == f"LLM_STREAMING_MODEL names {other}, and there is no such file: correct it or unset it."
    other.touch()
    assert resolve_model(SMALL_MODEL, tmp_path) == other
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LLM_STREAMING_MODEL", "~/other.gguf")
    assert resolve_model(SMALL_MODEL, Path("/nowhere")) == other


def test_without_its_wheel_the_small_model_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineError) as raised:
        small_model_path()
    assert str(raised.value) == (
        "SmolLM2-135M-Instruct is not installed: run `make setup`, or set LLM_STREAMING_MODEL to a .gguf file."
    )


def test_models_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "settings"
    inside, outside = folder / "a.gguf", tmp_path / "b.gguf"
    folder.mkdir()
    inside.touch()
    outside.touch()
    assert resolve_model("a.gguf", folder) == inside
    assert resolve_model(str(outside), folder) == outside
    with pytest.raises(EngineError) as leaving:
        resolve_model("../b.gguf", folder)
    with pytest.raises(EngineError) as missing:
        resolve_model("c.gguf", folder)
    assert [str(leaving.value), str(missing.value)] == [
        f"The model ../b.gguf lies outside {folder}: name a file inside it, or give an absolute path.",
        f"There is no model file {folder / 'c.gguf'}: put a .gguf file there, or set model to SmolLM2-135M-Instruct.",
    ]


TAGS = {"type": "array", "items": {"type": "string", "format": "email"}, "uniqueItems": True}
WARNED = "The model does not follow these keywords of the request's schemas, so check the answer: format, uniqueItems"


@pytest.mark.parametrize(
    "parameters",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "tags", "schema": TAGS}}},
        {"response_format": {"type": "json_object", "schema": TAGS}},
        {"json_schema": TAGS},
        {"tools": [{"type": "function", "function": {"name": "tag", "parameters": {"properties": {"tags": TAGS}}}}]},
    ],
)
def test_a_constraint_that_the_model_does_not_follow_is_a_warning(parameters: dict[str, Any]) -> None:
    assert schema_warnings({"messages": [], **parameters}, LlamaCppSettings().readers) == [WARNED]


@pytest.mark.parametrize("parameters", [{}, {"json_schema": {"type": "string"}}, {"json_schema": 5}, {"unknown": 5}])
def test_other_requests_have_no_warnings(parameters: dict[str, Any]) -> None:
    assert schema_warnings(parameters, LlamaCppSettings().readers) == []


def test_parameters_that_never_change_an_answer_are_not_passed_on() -> None:
    request = {"messages": [{"role": "user", "content": "Hi"}], "service_tier": "auto", "user": "u", "metadata": {}}
    read = complete_request(request, {}, "llama.cpp", LlamaCppSettings().readers(set()))
    assert read == {"messages": request["messages"]}
