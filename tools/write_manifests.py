"""The manifests in this repository, as code: ``python -m tools.write_manifests`` writes them anew."""

from __future__ import annotations

from llm_streaming.manifests import Model, Server, to_yaml
from llm_streaming.paths import project_root

_SELDON_MODELS = "gs://seldon-models/llm-runtimes-settings/models"

_CPU_COMMENT = """\
A folder of this repository, which the embedded mesh reads as it is. For a cluster, copy the folder to a bucket that
the cluster can read, such as gs://<bucket>/models/local-chat-completions-cpu, and put that address here."""

_VLLM_COMMENT = """\
A folder of this repository for vLLM on a machine without a GPU. `make setup-vllm-cpu` puts the weights into it."""

# Each model's name, address, requirement and comment.
_MODELS = (
    ("openai-chat-completions", f"{_SELDON_MODELS}/api/openai/models/openai-chat-completions", "openai", ""),
    ("local-chat-completions", f"{_SELDON_MODELS}/local/chat/models/local-chat-completions", "llm-local", ""),
    ("local-chat-completions-cpu", "models/local-chat-completions-cpu", "llm-local", _CPU_COMMENT),
    ("local-chat-completions-vllm-cpu", "models/local-chat-completions-vllm-cpu", "llm-local", _VLLM_COMMENT),
)


def manifests() -> dict[str, str]:
    """Return the text of every manifest, by its path inside ``manifests/``."""
    texts = {f"servers/{name}.yaml": to_yaml(Server.of_runtime(name, name=name).as_dict()) for name in ("api", "local")}
    for name, address, requirement, comment in _MODELS:
        model = Model(name=name, storage_uri=address, requirements=(requirement,))
        texts[f"{name}.yaml"] = to_yaml(model.as_dict(), comment=comment)
    return texts


def write() -> None:
    """Write every manifest into the project's ``manifests/``."""
    folder = project_root() / "manifests"
    for path, text in manifests().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    write()
