"""Generates, reads and checks Seldon Core 2 manifests, with the classes `Model` and `Server`.

The same two classes write manifests for a cluster and read manifests for the embedded mesh. They follow the field names
and defaults of the custom resources ``mlops.seldon.io/v1alpha1`` (contract §5).
"""

from llm_streaming.manifests.model import Model
from llm_streaming.manifests.schema import API_VERSION
from llm_streaming.manifests.server import STREAMING_ENV, SecretKey, Server, capabilities
from llm_streaming.manifests.yaml import Manifest, load_documents, read_manifests, read_servers, to_yaml

__all__ = [
    "API_VERSION",
    "STREAMING_ENV",
    "Manifest",
    "Model",
    "SecretKey",
    "Server",
    "capabilities",
    "load_documents",
    "read_manifests",
    "read_servers",
    "to_yaml",
]
