"""A mesh whose models relay to a provider that replies as a test says."""

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
    """The mesh, its models, and the provider's replies.

    Args:
        replies: the replies by the text of a request's last message.
        provider: the provider.
        loop: the provider's event loop.
        mesh: the mesh.
    """

    model = "scripted"
    impatient = "impatient"
    """A model like `model`, which waits for the provider for one second at most."""

    def __init__(
        self, replies: dict[str, Reply], provider: Provider, loop: asyncio.AbstractEventLoop, mesh: EmbeddedMesh
    ) -> None:
        self.replies = replies
        self.mesh = mesh
        self._provider = provider
        self._loop = loop

    def last_request(self) -> dict[str, Any]:
        """The body of the last request to the provider, without the provider's name of the model."""
        return {name: value for name, value in self._provider.requests[-1].body.items() if name != "model"}

    def wait_for_request(self, text: str) -> None:
        """Return when the provider has a request whose last message is this text."""
        provider = self._provider

        async def arrive() -> None:
            async with provider.arrived:
                await provider.arrived.wait_for(
                    lambda: any(request.body["messages"][-1]["content"] == text for request in provider.requests)
                )

        asyncio.run_coroutine_threadsafe(arrive(), self._loop).result(timeout=60)

    def wait_for_disconnection(self) -> None:
        """Return when the client of the last request has left."""
        gone = self._provider.requests[-1].disconnected.wait()
        asyncio.run_coroutine_threadsafe(gone, self._loop).result(timeout=20)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call a function in the provider's event loop, such as the setter of a reply's event."""
        self._loop.call_soon_threadsafe(call)

    def log(self) -> str:
        """The server's log."""
        return self.mesh.logs(self.model)


@contextmanager
def scripted_mesh(folder: Path) -> Iterator[Scripted]:
    """Open the mesh, with `folder` for its manifests and models."""
    replies: dict[str, Reply] = {}

    def respond(request: Request) -> Reply:
        content = request.body["messages"][-1]["content"]
        return replies.get(content if isinstance(content, str) else content[0]["text"], NO_SCRIPT)

    with provider_in_thread(respond=respond) as (provider, loop):
        (folder / "servers").mkdir()
        server = Server(name="api", capabilities=("scripted",))
        (folder / "servers" / "api.yaml").write_text(to_yaml(server.as_dict()))
        _write_settings(folder, Scripted.model, base_url=provider.base_url)
        _write_settings(folder, Scripted.impatient, base_url=provider.base_url, timeout=1)
        with EmbeddedMesh(servers=folder / "servers", models=folder / "models") as mesh:
            for name in (Scripted.model, Scripted.impatient):
                mesh.apply(Model(name=name, storage_uri=f"models/{name}", requirements=("scripted",)))
            mesh.wait()
            yield Scripted(replies, provider, loop, mesh)


def _write_settings(folder: Path, name: str, **config: Any) -> None:
    config = {"model_id": "gpt", "max_retries": 0, "keep_alive": 0.2, **config}
    settings = {"implementation": "mlserver_llm_api.LLMRuntime", "parameters": {"extra": {"config": config}}}
    (folder / "models" / name).mkdir(parents=True)
    (folder / "models" / name / "model-settings.json").write_text(json.dumps(settings))
