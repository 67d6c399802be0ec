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


def manifests() -> dict[str, str]:
    """The text of every manifest, by its path inside ``manifests/``."""
    openai = Model(
        name="openai-chat-completions",
        storage_uri=f"{_SELDON_MODELS}/api/openai/models/openai-chat-completions",
        requirements=("openai",),
    )
    local = Model(
        name="local-chat-completions",
        storage_uri=f"{_SELDON_MODELS}/local/chat/models/local-chat-completions",
        requirements=("llm-local",),
    )
    cpu = Model(
        name="local-chat-completions-cpu",
        storage_uri="models/local-chat-completions-cpu",
        requirements=("llm-local",),
    )
    vllm = Model(
        name="local-chat-completions-vllm-cpu",
        storage_uri="models/local-chat-completions-vllm-cpu",
        requirements=("llm-local",),
    )
    return {
        "openai-chat-completions.yaml": to_yaml(openai.as_dict()),
        "local-chat-completions.yaml": to_yaml(local.as_dict()),
        "local-chat-completions-cpu.yaml": to_yaml(cpu.as_dict(), comment=_CPU_COMMENT),
        "local-chat-completions-vllm-cpu.yaml": to_yaml(vllm.as_dict(), comment=_VLLM_COMMENT),
        "servers/api.yaml": to_yaml(Server(name="api", capabilities=("openai",)).as_dict()),
        "servers/local.yaml": to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()),
    }


def write() -> None:
    """Write every manifest into the project's ``manifests/``."""
    folder = project_root() / "manifests"
    for path, text in manifests().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    write()
