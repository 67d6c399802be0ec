"""Makes calls over HTTP, on a unix socket or through a tunnel (see `llm_streaming.mesh.remote.requests`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.mesh.progress import report
from llm_streaming.mesh.remote.requests import PATH, Address, AnyCall

_ANSWER_TIMEOUT = 30.0  # seconds for the first answer; milliseconds are usual

_RAISED = {kind.__name__: kind for kind in (ManifestError, MeshError)}


class NotReachedError(MeshError):
    """The call did not reach the mesh."""


class CallClient:
    """Has another process make calls, and tells here what it tells there.

    Args:
        to: the other's socket, or the ``host:port`` that leads to it.
    """

    def __init__(self, to: Path | str) -> None:
        self._to = to
        transport = httpx.HTTPTransport(uds=str(to) if isinstance(to, Path) else None)
        origin = "http://mesh" if isinstance(to, Path) else f"http://{to}"
        self._http = httpx.Client(base_url=origin, transport=transport, trust_env=False)

    def make(self, call: AnyCall) -> Any:  # noqa: ANN401 - of many types
        """Make a call.

        Raises:
            NotReachedError: nobody is there, or does not let this process in.
            MeshError: the call failed, or the other does not answer.
            ManifestError: the call failed.
        """
        # A call takes what it takes, but whether a mesh is there is answered at once.
        silence = _ANSWER_TIMEOUT if isinstance(call, Address) else None
        timeout = httpx.Timeout(silence, connect=_ANSWER_TIMEOUT)
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode(call)
        try:
            with self._http.stream("POST", PATH, content=content, headers=headers, timeout=timeout) as answer:
                if answer.is_error:  # the words are those of the Envoy on the way
                    raise NotReachedError(answer.read().decode(errors="replace"))
                for line in answer.iter_lines():
                    message = json.loads(line)
                    if "told" not in message:
                        return _outcome(message)
                    report(message["told"])
        except httpx.ConnectError:
            raise self._absence() from None
        except httpx.TimeoutException:
            raise MeshError(
                f"the mesh does not answer within {_ANSWER_TIMEOUT:g} s: if `llm-streaming up` was stopped by Ctrl-Z, "
                "`fg` in its shell lets it go on"
            ) from None
        except httpx.TransportError:
            pass  # as when it ends without an answer
        raise MeshError("the mesh ended before it answered: what `llm-streaming up` printed says why")

    def close(self) -> None:
        """Close the connections. May be called again."""
        self._http.close()

    def _absence(self) -> NotReachedError:
        if isinstance(self._to, str):
            return NotReachedError("the tunnel to the shared mesh has ended: connect again")
        return NotReachedError(
            f"LLM_STREAMING_MESH names {self._to}, where no mesh is open any more: run `llm-streaming up` again and "
            "the line that it prints, or unset the variable"
        )


def _outcome(message: dict[str, Any]) -> Any:  # noqa: ANN401 - what the call returns
    if "raised" in message:
        raise _RAISED.get(message["raised"], MeshError)(message["message"])
    return message["returned"]
