"""What guests of a shared mesh may do: less than whoever keeps it, because they are on another's machine and bill."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.remote import requests

# A Model's parameters override its settings. Of those, `base_url` would send the presenter's key to whom a guest names,
# `model_id` choose what the presenter pays for, and `model_settings` name files.
_PARAMETERS = frozenset({"keep_alive"})

_MOST_MODELS = 8  # of all guests together; each takes memory

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")


def check_guest(call: requests.AnyCall, mesh: EmbeddedMesh) -> None:
    """Check that a guest may make a call.

    Raises:
        ManifestError: a manifest is malformed.
        MeshError: the call is not for guests.
    """
    match call:
        case requests.Reset():
            raise MeshError("only who keeps the shared mesh can reset it, in a shell on that machine")
        case requests.Apply() if call.manifest.get("kind") == "Model":
            _check_model(Model.from_dict(call.manifest), mesh)


def _check_model(model: Model, mesh: EmbeddedMesh) -> None:
    if refused := sorted(model.parameters.keys() - _PARAMETERS):
        raise MeshError(
            f"model '{model.name}': spec.parameters may not set {', '.join(refused)} on a shared mesh, only "
            f"{', '.join(sorted(_PARAMETERS))}"
        )
    standing = {one["metadata"]["name"] for one in mesh.resources("Model")}
    if model.name not in standing and len(standing) >= _MOST_MODELS:
        raise MeshError(
            f"the shared mesh holds {_MOST_MODELS} models, as many as it may: use one of "
            f"{', '.join(sorted(standing))}, or ask the presenter to run `llm-streaming reset`"
        )


def masked(answer: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the call returns
    """Have a call answered, without a word of it that is a secret of this process's environment.

    Raises:
        ManifestError: as the call does, without such a word either.
        MeshError: the same.
    """
    try:
        return json.loads(_mask(json.dumps(answer(), default=str)))
    except (ManifestError, MeshError) as error:
        raise type(error)(_mask(str(error))) from None


def _mask(text: str) -> str:
    for name, value in os.environ.items():
        if _SECRET.search(name.upper()) and len(value) >= 8:
            text = text.replace(value, f"<{name}>")
    return text
