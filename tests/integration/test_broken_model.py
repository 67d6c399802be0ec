"""A model file that is cut off: what does not need it works, and each answer that needs it says so."""

from pathlib import Path

import pytest

from llm_streaming import ChatClient
from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.errors import InferenceError, MeshError
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from tests.conftest import CPU, OPENAI

QUESTION = [{"role": "user", "content": "Name a colour."}]


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "half.gguf"
    path.write_bytes(small_model_path().read_bytes()[:1_000_000])
    monkeypatch.setenv("LLM_STREAMING_MODEL", str(path))
    return path


def test_a_mesh_starts_with_a_broken_model_file_and_says_what_does_not_work(half: Path) -> None:
    cause = f"llama.cpp cannot load {half}: the model must be a complete .gguf file."
    with EmbeddedMesh() as mesh:
        mesh.apply(f"manifests/{OPENAI}.yaml")
        mesh.apply(f"manifests/{CPU}.yaml")
        mesh.wait(OPENAI)
        with pytest.raises(MeshError) as failed:
            mesh.wait(CPU)
        with ChatClient(mesh.address) as client, pytest.raises(InferenceError) as refused:
            list(client.stream(OPENAI, QUESTION))
    assert cause in str(failed.value)
    assert (refused.value.message, refused.value.status, refused.value.code) == (
        f"Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set, and the small local model cannot be used: {cause}",
        503,
        "no_model",
    )
