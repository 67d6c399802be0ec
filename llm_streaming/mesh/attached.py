"""The embedded mesh of another process: the one that ``llm-streaming up`` keeps open."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Self

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import read_manifests
from llm_streaming.mesh.base import Manifest
from llm_streaming.mesh.telling import tell

VARIABLE = "LLM_STREAMING_MESH"
"""The environment variable that leads other processes to the mesh: the path of its control socket."""

_ANSWER_TIMEOUT = 30.0  # seconds for the first answer; milliseconds are usual

_RAISED = {kind.__name__: kind for kind in (ManifestError, MeshError)}


class AttachedMesh:
    """A mesh that another process keeps open, used from here. It stays open when this is closed.

    Args:
        control: the path of its control socket (see `llm_streaming.mesh.control`).

    Raises:
        MeshError: nobody keeps a mesh open there, or whoever does is stopped.
    """

    def __init__(self, control: str) -> None:
        self._control = control
        self._closed = False
        self._address: str = self._call("address")

    @property
    def closed(self) -> bool:
        """Whether it can be used no more; when the process that keeps it ends, its socket goes too."""
        return self._closed or not Path(self._control).exists()

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return self._address

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint: the same, as on SC2."""
        return self._address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``; raises as `EmbeddedMesh.metrics_address` does."""
        return str(self._call("metrics_address", server))

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest, a file of this process's; raises as `EmbeddedMesh.apply` does."""
        for document in read_manifests(manifest):
            self._call("apply", document)

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default; raises as `EmbeddedMesh.wait` does."""
        self._call("wait", *names, timeout=timeout)

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest; raises as `EmbeddedMesh.delete` does."""
        for document in read_manifests(manifest):
            self._call("delete", document)

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The Models or Servers there are; raises as `EmbeddedMesh.resources` does."""
        found: list[dict[str, Any]] = self._call("resources", kind)
        return found

    def logs(self, model: str) -> str:
        """What the server that holds a model has logged; raises as `EmbeddedMesh.logs` does."""
        return str(self._call("logs", model))

    def close(self) -> None:
        """Let go of the mesh, which stays open. May be called again."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(self, call: str, *arguments: object, **options: object) -> Any:  # noqa: ANN401 - of many types
        """Have the other process make a call, and tell here what it tells there."""
        if self._closed:
            raise MeshError("the mesh is closed: connect again")
        request = json.dumps({"call": call, "arguments": arguments, "options": options}, default=str)
        with self._connected() as connection, connection.makefile("rb") as lines:
            connection.settimeout(_ANSWER_TIMEOUT if call == "address" else None)  # other calls take what they take
            try:
                connection.sendall(request.encode() + b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "told" not in message:
                        return _outcome(message)
                    tell(message["told"])
            except ConnectionError:
                pass  # as when it ends without an answer
            except TimeoutError:
                raise MeshError(
                    f"the mesh does not answer within {_ANSWER_TIMEOUT:g} s: if `llm-streaming up` was stopped by "
                    "Ctrl-Z, `fg` in its shell lets it go on"
                ) from None
        raise MeshError("the mesh ended before it answered: what `llm-streaming up` printed says why")

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._control)
        except OSError:
            connection.close()
            raise MeshError(
                f"{VARIABLE} names {self._control}, where no mesh is open any more: run `llm-streaming up` again and "
                "the line that it prints, or unset the variable"
            ) from None
        return connection


def _outcome(message: dict[str, Any]) -> Any:  # noqa: ANN401 - what the call returns
    if "raised" in message:
        raise _RAISED.get(message["raised"], MeshError)(message["message"])
    return message["returned"]


def named_in_environment() -> str | None:
    """The control socket that the environment leads to; None where it names none."""
    return os.environ.get(VARIABLE) or None
