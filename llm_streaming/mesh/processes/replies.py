"""The messages in Envoy's own responses: as gRPC's status, or in JSON as OpenAI's API reports errors."""

from __future__ import annotations

from llm_streaming.mesh.processes.envoy import Part, extension

_LOST = (
    "the server of this model does not answer, most likely because it has exited and is being started again: try again "
    "in a few seconds; `llm-streaming get` shows its state, and mesh.logs or `llm-streaming logs` shows why it exited"
)
_SERVER_LOST = "server_lost"  # the error's code

# Envoy's flags for a server that cannot be reached, or that closes the connection before it answers.
_NO_ANSWER = {"response_flag_filter": {"flags": ["UF", "UC", "UH", "UR", "URX", "LR"]}}
_IS_GRPC = {"header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}}


def error_reply(
    selected: Part, text: str, *, status: int | None = None, kind: str = "server_error", code: str | None = None
) -> list[Part]:
    """Build the mappers that replace a response of Envoy itself, such as the one to a request without a route.

    The response has the form of OpenAI's API, because OpenAI's client shows no other message.

    Args:
        selected: the filter that selects the responses, such as from `cel`.
        text: the message.
        status: the HTTP status; by default Envoy's own.
        kind: the error's ``type``.
        code: the error's ``code``.
    """
    new_status = {} if status is None else {"status_code": status}
    by_grpc = {"and_filter": {"filters": [selected, _IS_GRPC]}}
    return [
        {"filter": by_grpc, "body": {"inline_string": text}, **new_status},
        {"filter": selected, "body_format_override": _as_openai(text, kind, code), **new_status},
    ]


def cel(expression: str) -> Part:
    """Build a filter for `error_reply` from an expression in the Common Expression Language with Envoy's names."""
    kind = "access_loggers.filters.cel.v3.ExpressionFilter"
    return {"extension_filter": extension("access_loggers.extension_filters.cel", kind, expression=expression)}


def lost_server_replies() -> list[Part]:
    """Build the mappers that replace Envoy's own "upstream connect error or disconnect/reset …"."""
    return error_reply(_NO_ANSWER, _LOST, code=_SERVER_LOST)


def refuse(match: Part, text: str, *, grpc: bool) -> Part:
    """Build a route that answers every request with status 503 and a message."""
    body = (
        {"body": {"inline_string": text}} if grpc else {"body_format": _as_openai(text, "server_error", _SERVER_LOST)}
    )
    return {"match": match, "direct_response": {"status": 503, **body}}


def _as_openai(text: str, kind: str, code: str | None) -> Part:
    return {"json_format": {"error": {"message": text, "type": kind, "code": code}}}
