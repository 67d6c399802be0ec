"""The sentences with which Envoy answers when a model's server does not run."""

from __future__ import annotations

from llm_streaming.mesh.processes.envoy import Part

_STATUS = 503
_LOST = (
    "the server of this model does not answer, most likely because it has exited and is being started again: try again "
    "in a few seconds; `llm-streaming get` shows its state, and mesh.logs or `llm-streaming logs` shows why it exited"
)

# Envoy's flags for a server that cannot be reached, or that closes the connection before it answers.
_FLAGS = {"response_flag_filter": {"flags": ["UF", "UC", "UH", "UR", "URX", "LR"]}}
_IS_GRPC = {"header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}}


def lost_server_replies() -> list[Part]:
    """Build the mappers of a listener that replace Envoy's own "upstream connect error or disconnect/reset …"."""
    both = {"and_filter": {"filters": [_FLAGS, _IS_GRPC]}}
    return [
        {"filter": both, "body": {"inline_string": _LOST}},  # Envoy sends it as the details of the gRPC status
        {"filter": _FLAGS, "body_format_override": {"json_format": _as_openai(_LOST)}},
    ]


def refuse(match: Part, sentence: str, *, grpc: bool) -> Part:
    """Build a route that answers every request with status 503 and a sentence."""
    body: Part = {"inline_string": sentence}
    response = {"body": body} if grpc else {"body_format": {"json_format": _as_openai(sentence)}}
    return {"match": match, "direct_response": {"status": _STATUS, **response}}


def _as_openai(sentence: str) -> Part:
    return {"error": {"message": sentence, "type": "server_error", "code": "server_lost"}}
