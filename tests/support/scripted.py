"""A mesh whose models relay to a scripted provider: what the provider does is up to the test."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_streaming.manifests import Model, Server, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from tests.support.provider import Provider, Reply, Request, failed, provider_in_thread

NO_SCRIPT = failed(500, {"error": {"message": "no script for this"}})


class Scripted:
    """The mesh, its models, and the provider's replies by the text of a request's last message."""

    model = "scripted"
    impatient = "impatient"
    """The same, but it waits for the provider no longer than a second."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.mesh: EmbeddedMesh
        self._provider: Provider
        self._loop: asyncio.AbstractEventLoop

    def last_request(self) -> dict[str, Any]:
        """The body of the request that the provider got last, without the provider's name of the model."""
        return {name: value for name, value in self._provider.requests[-1].body.items() if name != "model"}

    def wait_for_disconnection(self) -> None:
        """Return when the client of the last request has left."""
        gone = self._provider.requests[-1].disconnected.wait()
        asyncio.run_coroutine_threadsafe(gone, self._loop).result(timeout=20)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have the provider's loop make a call, such as setting an event of a reply."""
        self._loop.call_soon_threadsafe(call)

    def log(self) -> str:
        """What the server has logged."""
        return self.mesh.logs(self.model)

    def _reply(self, request: Request) -> Reply:
        content = request.body["messages"][-1]["content"]
        return self.replies.get(content if isinstance(content, str) else content[0]["text"], NO_SCRIPT)


@contextmanager
def scripted_mesh(folder: Path) -> Iterator[Scripted]:
    """Open the mesh, with `folder` for its manifests and models."""
    scripted = Scripted()
    with provider_in_thread(respond=scripted._reply) as (scripted._provider, scripted._loop):
        (folder / "servers").mkdir()
        server = Server(name="api", capabilities=("scripted",))
        (folder / "servers" / "api.yaml").write_text(to_yaml(server.as_dict()))
        _write_settings(folder, scripted.model, base_url=scripted._provider.base_url)
        _write_settings(folder, scripted.impatient, base_url=scripted._provider.base_url, timeout=1)
        with EmbeddedMesh(servers=folder / "servers", models=folder / "models") as scripted.mesh:
            for name in (scripted.model, scripted.impatient):
                model = Model(name=name, storage_uri=f"models/{name}", requirements=("scripted",))
                scripted.mesh.apply(model.as_dict())
            scripted.mesh.wait()
            yield scripted


def _write_settings(folder: Path, name: str, **config: Any) -> None:
    config = {"model_id": "gpt", "max_retries": 0, "keep_alive": 0.2, **config}
    settings = {"implementation": "mlserver_llm_api.LLMRuntime", "parameters": {"extra": {"config": config}}}
    (folder / "models" / name).mkdir(parents=True)
    (folder / "models" / name / "model-settings.json").write_text(json.dumps(settings))
