"""Settings and models that vLLM cannot use, and what is said of them; in this process, where only one engine starts."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_streaming.engines.vllm.engine import VLLMEngine
from llm_streaming.errors import EngineError
from llm_streaming.paths import project_root
from tests.vllm.conftest import MODEL

FOLDER = project_root() / "models" / MODEL
CONFIG = json.loads((FOLDER / "model-settings.json").read_text())["parameters"]["extra"]["config"]["model_settings"]


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """No model hub is asked for anything, wherever this runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def refusal(folder: Path = FOLDER, **settings: Any) -> str:
    """What is said of the CPU model's settings with some of them changed."""
    with pytest.raises(EngineError) as raised:
        asyncio.run(VLLMEngine.load({**CONFIG, **settings}, folder))
    return str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_modle_len": 3}, "vLLM has no setting max_modle_len (did you mean max_model_len?)."),
        ({"ssl_keyfile": "key"}, "vLLM has no setting ssl_keyfile: "),
        ({"tensor_parallel_size": "many"}, "vLLM refuses a setting: tensor_parallel_size: invalid int value: 'many'."),
        ({"dtype": "float17"}, "vLLM refuses a setting: dtype: invalid choice: 'float17' (choose from "),
        ({"compilation_config": "{mode"}, "vLLM refuses a setting: compilation_config: Invalid JSON: "),
        ({"model": None}, "The setting model is missing: set it to a folder or to a model on the Hugging Face hub."),
        ({"default_generate_kwargs": {"top-p": 1}}, "vLLM has no parameter top-p (did you mean top_p?)."),
        ({"default_generate_kwargs": "["}, "The setting default_generate_kwargs must be a mapping of parameters, not "),
        (
            {"default_generate_kwargs": {"max_tokens": 4096}},
            "The setting default_generate_kwargs cannot be used: max_tokens is 4096: give an integer from 1 to 2048, "
            "the model's context in tokens.",
        ),
        (
            {"default_generate_kwargs": {"truncate_prompt_tokens": -1}},
            "The setting default_generate_kwargs cannot be used: truncate_prompt_tokens is not taken: it can ",
        ),
        ({"allow_grammar": "yes"}, "The setting allow_grammar must be true or false, not 'yes'."),
        (
            {"enable_chunked_prefill": True},
            "The setting enable_chunked_prefill must be false on a CPU, where it ends vLLM's engine: leave it out.",
        ),
        (
            {"max_num_batched_tokens": 512},
            f"vLLM cannot load {CONFIG['model']}: max_num_batched_tokens (512) is ",
        ),
        ({"max_model_len": "9000"}, f"vLLM cannot load {CONFIG['model']}: User-specified max_model_len (9000) is "),
        ({"tensor_parallel_size": 4}, f"vLLM cannot load {CONFIG['model']}: Total number of attention heads (9) must "),
        (
            {"tool_call_parser": None},
            f"vLLM cannot load {CONFIG['model']}: enable_auto_tool_choice requires tool_call_parser.",
        ),
        ({"chat_template": "none.jinja"}, f"vLLM cannot load {CONFIG['model']}: The supplied chat template string "),
        ({"model": "nobody/nothing"}, "vLLM finds no model nobody/nothing: it is neither a folder inside "),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_in_a_sentence(settings: dict[str, Any], message: str) -> None:
    said = refusal(**settings)
    assert said.startswith(message)
    assert "\n" not in said


def test_without_its_weights_the_small_model_is_asked_for(tmp_path: Path) -> None:
    assert "(`make setup-vllm-cpu` puts it there)" in refusal(tmp_path)


def test_too_little_memory_is_told_with_vllms_advice() -> None:
    """What the engine's own process fails of, so one has to start."""
    assert refusal(kv_cache_memory_bytes="1000000").startswith(
        f"vLLM cannot load {CONFIG['model']}: No available memory for the cache blocks. Try increasing "
        "`gpu_memory_utilization` when initializing the engine"
    )
