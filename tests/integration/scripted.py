"""A mesh whose one model relays to a scripted provider: what the provider does is up to the test."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_streaming.manifests import Model, Server, to_yaml
from llm_streaming.mesh.embedded import EmbeddedMesh
from tests.provider import Provider, Reply, Request, failed, provider_in_thread

NO_SCRIPT = failed(500, {"error": {"message": "no script for this"}})


class Scripted:
    """The mesh, its model, and the provider's replies by the text of a request's last message."""

    model = "scripted"

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
        config = {
            "model_id": "gpt",
            "base_url": scripted._provider.base_url,
            "max_retries": 0,
            "timeout": 1,
            "keep_alive": 0.2,
        }
        settings = {"implementation": "mlserver_llm_api.LLMRuntime", "parameters": {"extra": {"config": config}}}
        (folder / "models" / "scripted").mkdir(parents=True)
        (folder / "models" / "scripted" / "model-settings.json").write_text(json.dumps(settings))
        (folder / "servers").mkdir()
        server = Server(name="api", capabilities=("scripted",))
        (folder / "servers" / "api.yaml").write_text(to_yaml(server.as_dict()))
        with EmbeddedMesh(servers=folder / "servers", models=folder / "models") as scripted.mesh:
            scripted.mesh.apply(
                Model(name="scripted", storage_uri="models/scripted", requirements=("scripted",)).as_dict()
            )
            scripted.mesh.wait("scripted")
            yield scripted
