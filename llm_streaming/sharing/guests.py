"""Limits what guests of a shared mesh may do and see, because they use the presenter's machine, key and money."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.remote.requests import Request, RequestServer
from llm_streaming.mesh.remote.service import MeshService

# Parameters in a manifest override a model's settings. Guests may set only these: `base_url` could send the presenter's
# key to a guest's server, `model_id` could select a more expensive model, and `model_settings` could name files.
_PARAMETERS = frozenset({"keep_alive"})
_MAX_VALUE = 20  # characters; a wrong value is quoted in the Model's status, which everybody sees

_MAX_MODELS = 8  # on the whole mesh; each model uses memory

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL")
_MIN_SECRET = 8  # characters; shorter values also occur in ordinary words


class GuestService(RequestServer):
    """Serves the guests of a shared mesh on a separate socket, to which the gateway forwards their requests."""

    def __init__(self, mesh: EmbeddedMesh, service: MeshService) -> None:
        self._mesh = mesh
        self._service = service
        super().__init__(mesh.home / "guests.sock")

    def answer(self, request: Request) -> Any:  # noqa: ANN401 - each method returns a type of its own
        """Answer a guest's request as `MeshService.answer` does, if guests are allowed to make this request."""
        if request.method == "reset":
            raise MeshError("only the presenter can reset a shared mesh, in a shell on their machine")
        return self._service.answer(request, f"guest {request.user}", partial(check_model, mesh=self._mesh))

    def masked(self, value: Any) -> Any:  # noqa: ANN401 - text, or lists and mappings that contain text
        """Return a part of an answer, with the name of the variable in place of each secret of the environment."""
        if isinstance(value, Mapping):
            return {key: self.masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.masked(item) for item in value]
        if isinstance(value, str):
            for name, secret in os.environ.items():
                if _SECRET_NAME.search(name.upper()) and len(secret) >= _MIN_SECRET:
                    value = value.replace(secret, f"<{name}>")
        return value


def check_model(model: Model, mesh: EmbeddedMesh) -> None:
    """Check that a guest may apply a Model.

    Raises:
        MeshError: the Model has parameters that a guest may not set, or the mesh has too many models already.
    """
    if refused := sorted(model.parameters.keys() - _PARAMETERS):
        raise MeshError(
            f"model '{model.name}': a shared mesh does not accept {', '.join(refused)} in spec.parameters, only "
            f"{', '.join(sorted(_PARAMETERS))}"
        )
    if long := [name for name, value in model.parameters.items() if len(value) > _MAX_VALUE]:
        raise MeshError(
            f"model '{model.name}': on a shared mesh the value of {', '.join(long)} in spec.parameters has at most "
            f"{_MAX_VALUE} characters"
        )
    deployed = {resource["metadata"]["name"] for resource in mesh.resources("Model")}
    if model.name not in deployed and len(deployed) >= _MAX_MODELS:
        raise MeshError(
            f"the shared mesh already has {_MAX_MODELS} models, which is the limit: use one of "
            f"{', '.join(sorted(deployed))}, or ask the presenter to run `llm-streaming reset`"
        )
