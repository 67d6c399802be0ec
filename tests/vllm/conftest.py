"""One mesh for all tests of vLLM, with SmolLM2 on it: the model takes most of a minute to load."""

from collections.abc import Iterator

import pytest

from llm_streaming.mesh.embedded.mesh import EmbeddedMesh

MODEL = "local-chat-completions-vllm-cpu"
MANIFEST = f"manifests/{MODEL}.yaml"


@pytest.fixture(scope="session")
def mesh(no_provider: None) -> Iterator[EmbeddedMesh]:
    """The embedded mesh with the model, ready."""
    with EmbeddedMesh() as mesh:
        mesh.apply(MANIFEST)
        mesh.wait(MODEL)
        yield mesh
