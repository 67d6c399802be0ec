"""Rejects requests that no user of a mesh sends: from web pages, from elsewhere by DNS rebinding, and without a token.

Every Envoy of this project listens through `guarded_listener`. A web page can make a browser send requests to loopback,
and every account of the machine can connect there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llm_streaming.mesh.processes.envoy import TYPES, Part, listener

UNAUTHORIZED = (
    "this mesh requires a token, and the request's token is missing or wrong: pass mesh.token as the `token` of a "
    "client, as `api_key` of OpenAI's client, or in the header `Authorization: Bearer <token>`"
)

# Envoy checks the policies of a filter in the order of their names, and reports the first one that denies a request.
_DENIALS = {
    "2-host": (
        403,
        "this mesh answers only to 127.0.0.1, localhost and [::1], and the request's Host is another name: call the "
        "mesh at its address",
    ),
    "3-origin": (403, "this mesh does not serve web pages, and the request has an Origin: call it from a program"),
    "4-site": (403, "this mesh does not serve web pages, and a browser sent the request: call it from a program"),
    "5-type": (415, "a request needs the content type application/json, or application/grpc over gRPC"),
    "6-repository": (404, "a mesh does not load and unload models by MLServer's API: use `apply` and `delete`"),
    "7-pages": (404, "a mesh does not serve MLServer's documentation pages: docs/contract.md describes the API"),
}

_LOOPBACK_NAMES = r"127\.0\.0\.1|localhost|\[::1\]"
_TYPE = r"(?i)application/(json|grpc(\+[a-z0-9.-]+)?)[ \t]*(;.*)?"
_REPOSITORY = r"(?i)(/v2/repository(/.*)?|/inference\.GRPCInferenceService/Repository.*|/inference\.model_repository.*)"
_PAGES = r"(?i)/v2/models/[^/]+(/versions/[^/]+)?/docs(/.*)?"


def guarded_listener(
    name: str,
    at: tuple[str, int],
    manager: Part,
    *,
    token: str | None = None,
    unauthorized: str = UNAUTHORIZED,
    hosts: Sequence[str] = (),
    filters: Sequence[Part] = (),
    replies: Sequence[Part] = (),
    tls: Part | None = None,
) -> Part:
    """Build a listener that rejects the requests that this module describes, before it routes the others.

    Args:
        name: the listener's name.
        at: the host and the port.
        manager: further fields of the HTTP connection manager, at least the routes.
        token: the bearer token that requests must have; by default none.
        unauthorized: the message to requests without the token.
        hosts: names that requests may have as their Host, besides loopback's.
        filters: further HTTP filters, for the requests that are not rejected.
        replies: mappers for other responses of Envoy itself, from `error_reply`.
        tls: the TLS settings; by default the listener does not use TLS.
    """
    denials = {"1-token": (401, unauthorized), **_DENIALS}
    mappers = [mapper for policy, (status, text) in denials.items() for mapper in _denial(policy, status, text)]
    guard = {
        # Match and forward normalized paths, so that no other spelling of a path gets around a rule or a route.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "local_reply_config": {"mappers": [*mappers, *replies]},
    }
    return listener(name, at, {**manager, **guard}, filters=[_filter(token, hosts), *filters], tls=tls)


def error_reply(expression: str, text: str, *, status: int | None = None, kind: str = "server_error") -> list[Part]:
    """Build the mappers that replace a response of Envoy itself, such as the one to a request without a route.

    The response contains the text as gRPC's status message, or in JSON as OpenAI's API reports errors, because OpenAI's
    client shows no other message.

    Args:
        expression: selects the responses, in the Common Expression Language (CEL) with Envoy's attributes.
        text: the message.
        status: the HTTP status; by default Envoy's own.
        kind: the error's ``type``.
    """
    new_status = {} if status is None else {"status_code": status}
    error = {"error": {"message": text, "type": kind, "code": None}}
    by_grpc = f'{expression} && request.headers["content-type"].startsWith("application/grpc")'
    return [
        {"filter": _cel(by_grpc), "body": {"inline_string": text}, **new_status},
        {"filter": _cel(expression), "body_format_override": {"json_format": error}, **new_status},
    ]


def _denial(policy: str, status: int, text: str) -> list[Part]:
    denied = f'response.code_details == "rbac_access_denied_matched_policy[{policy}]"'
    return error_reply(denied, text, status=status, kind="invalid_request_error")


def _cel(expression: str) -> Part:
    kind = f"{TYPES}.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    config = {"@type": kind, "expression": expression}
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config}}


def _filter(token: str | None, hosts: Sequence[str]) -> Part:
    """Build the filter that denies requests, with a policy for each reason."""
    names = "|".join([_LOOPBACK_NAMES, *map(re.escape, hosts)])
    reads = {"or_rules": {"rules": [_header(":method", _exact(method)) for method in ("GET", "HEAD")]}}
    site = {"not_rule": _header("sec-fetch-site", _regex("none|same-origin"))}
    reasons = {
        "2-host": {"not_rule": _header(":authority", _regex(rf"(?i)({names})(:[0-9]{{1,5}})?"))},
        "3-origin": _present("origin"),
        "4-site": {"and_rules": {"rules": [_present("sec-fetch-site"), site]}},
        "5-type": {"not_rule": {"or_rules": {"rules": [reads, _header("content-type", _regex(_TYPE))]}}},
        "6-repository": {"url_path": {"path": _regex(_REPOSITORY)}},
        "7-pages": {"url_path": {"path": _regex(_PAGES)}},
    }
    if token is not None:
        reasons["1-token"] = {"not_rule": _header("authorization", _exact(f"Bearer {token}"))}
    policies = {name: {"permissions": [rule], "principals": [{"any": True}]} for name, rule in reasons.items()}
    kind = f"{TYPES}.extensions.filters.http.rbac.v3.RBAC"
    rules = {"action": "DENY", "policies": policies}
    return {"name": "envoy.filters.http.rbac", "typed_config": {"@type": kind, "rules": rules}}


def _header(name: str, match: Part) -> Part:
    return {"header": {"name": name, "string_match": match}}


def _present(name: str) -> Part:
    return {"header": {"name": name, "present_match": True}}


def _exact(text: str) -> Part:
    return {"exact": text}


def _regex(pattern: str) -> Part:
    return {"safe_regex": {"regex": pattern}}
