"""A mesh with a model of each runtime: one relays to a local provider, the other is the small model itself."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_streaming.manifests import STREAMING_ENV, Model, Server, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from tests.support.provider import Reply, Request, provider_in_thread

RELAY = "relay"
"""The model of the API runtime."""

SMALL = "small"
"""The model of the Local runtime, whose answers have at most `FEW` tokens."""

FEW = 4
MODELS = (RELAY, SMALL)


@contextmanager
def mesh_of_both_runtimes(folder: Path, respond: Callable[[Request], Reply]) -> Iterator[EmbeddedMesh]:
    """Open the mesh, with `folder` for its manifests and models; `respond` makes the provider's replies."""
    with provider_in_thread(respond=respond) as (provider, _):
        config = {"model_id": "gpt", "max_retries": 0, "base_url": provider.base_url}
        _write(folder, RELAY, "mlserver_llm_api.LLMRuntime", {"config": config})
        small = {"model": "SmolLM2-135M-Instruct", "default_generate_kwargs": {"max_tokens": FEW, "temperature": 0}}
        local = {"backend": "llamacpp", "config": {"model_settings": small}}
        _write(folder, SMALL, "mlserver_llm_local.runtime.Local", local)
        with EmbeddedMesh(servers=folder / "servers", models=folder / "models") as mesh:
            for name in MODELS:
                mesh.apply(Model(name=name, storage_uri=f"models/{name}", requirements=(name,)))
            mesh.wait()
            yield mesh


def _write(folder: Path, name: str, implementation: str, extra: dict[str, Any]) -> None:
    """Write the settings of a model, and the manifest of a server for it alone."""
    (folder / "models" / name).mkdir(parents=True)
    settings = {"implementation": implementation, "parameters": {"extra": extra}}
    (folder / "models" / name / "model-settings.json").write_text(json.dumps(settings))
    (folder / "servers").mkdir(exist_ok=True)
    server = Server(name=name, capabilities=(name,), env=STREAMING_ENV)
    (folder / "servers" / f"{name}.yaml").write_text(to_yaml(server.as_dict()))
