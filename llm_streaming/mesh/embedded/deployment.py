"""A Model on a server of the embedded mesh."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_streaming.mesh.embedded.mlserver import MLServer


@dataclass
class Deployment:
    """A Model on a server; `loaded` is done when the model is ready, or holds why it is not."""

    name: str
    settings: dict[str, Any]
    folder: Path
    server: MLServer
    manifest: Mapping[str, Any] = field(compare=False)
    loaded: Future[None] = field(default_factory=Future, compare=False)

    @property
    def target(self) -> Path:
        """Its folder in the server's private repository."""
        return self.server.repository / self.name

    @property
    def failed(self) -> bool:
        """Whether it did not load."""
        return self.loaded.done() and self.loaded.exception() is not None

    def resource(self) -> dict[str, Any]:
        """The Model as a cluster shows it: its manifest, and SC2's conditions."""
        failure = self.loaded.exception() if self.loaded.done() else None
        if failure:
            said = {"status": "False", "message": "ModelFailed", "reason": str(failure)}
        elif self.loaded.done():
            said = {"status": "True"}
        else:
            said = {"status": "Unknown", "message": "ModelProgressing"}
        conditions = [{"type": kind, **said} for kind in ("ModelReady", "Ready")]
        return {**self.manifest, "status": {"conditions": conditions}}
