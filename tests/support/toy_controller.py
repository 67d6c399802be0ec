"""A small stand-in for Seldon Core 2: runs the Models of an API server on an embedded mesh."""

import contextlib
import json
import threading
from typing import Any, Self

import httpx

from llm_streaming.errors import LLMStreamingError
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.progress import reporting_to
from tests.support.api_server import ApiServer
from tests.support.cluster import READY, balanced, unmet

MODELS = "/apis/mlops.seldon.io/v1alpha1/namespaces/seldon/models"
FINALIZER = "seldon.model.finalizer"


class ToyController:
    """Watches Models, deploys each on the mesh, and writes the result into the Model's status.

    A deleted Model is removed once it is no longer on the mesh. The service ``seldon-mesh`` leads to the mesh. Use as a
    context manager.
    """

    def __init__(self, api: ApiServer, mesh: EmbeddedMesh) -> None:
        self._mesh = mesh
        self._http = httpx.Client(base_url=api.url, trust_env=False, timeout=None)
        self._seen = "0"  # the version of the last change that was handled
        self._settled: dict[str, int] = {}  # the generation of each Model that is on the mesh
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        host, port = mesh.address.split(":")
        api.add("services", "seldon", "seldon-mesh", balanced(int(port), ip=host))

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._watching.join()
        self._http.close()

    def _watch(self) -> None:
        """Handle every change until the controller ends, with one short watch after another."""
        while not self._ended.is_set():
            asked = {"watch": "true", "resourceVersion": self._seen, "timeoutSeconds": "0.5"}
            with contextlib.suppress(httpx.TransportError), self._http.stream("GET", MODELS, params=asked) as events:
                for line in events.iter_lines():
                    event = json.loads(line)
                    self._seen = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "DELETED":
                        with reporting_to(lambda _: None):
                            self._reconcile(event["object"])

    def _reconcile(self, model: dict[str, Any]) -> None:
        metadata = model["metadata"]
        name, generation = metadata["name"], metadata["generation"]
        if "deletionTimestamp" in metadata:
            if self._settled.pop(name, None):
                self._mesh.delete(model)
            self._patch(name, {"metadata": {"finalizers": None}})
        elif self._settled.get(name) != generation:
            self._patch(name, {"metadata": {"finalizers": [FINALIZER]}})
            conditions = self._deploy(model)
            if conditions == READY:
                self._settled[name] = generation
            self._patch(f"{name}/status", {"status": {"conditions": conditions}})

    def _deploy(self, model: dict[str, Any]) -> list[dict[str, str]]:
        """Deploy a Model, and return its conditions."""
        try:
            self._mesh.apply(model)
        except LLMStreamingError as error:
            return unmet("ScheduleFailed", str(error))
        try:
            self._mesh.wait(model["metadata"]["name"])
        except LLMStreamingError as error:
            return unmet("ModelFailed", str(error))
        return READY

    def _patch(self, path: str, change: dict[str, Any]) -> None:
        headers = {"content-type": "application/merge-patch+json"}
        self._http.patch(f"{MODELS}/{path}", content=json.dumps(change), headers=headers)
