"""Rejects requests that do not come from a mesh's users: of web pages, of other machines, and without the token.

Every Envoy of this project listens through `guarded_listener`. A web page can make a browser send requests to loopback,
under another name too (DNS rebinding), and every account of the machine can connect there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llm_streaming.mesh.processes.envoy import Part, extension, listener
from llm_streaming.mesh.processes.replies import cel, error_reply

UNAUTHORIZED = (
    "this mesh requires a token, and the request's token is missing or wrong: pass mesh.token as the `token` of a "
    "client, as `api_key` of OpenAI's client, or in the header `Authorization: Bearer <token>`"
)

# Envoy checks the rules of a filter in the order of their names, and reports the first one that denies a request.
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
    mappers = [mapper for rule, (status, text) in denials.items() for mapper in _denial(rule, status, text)]
    guard = {
        # Match and forward normalized paths, so that no other spelling of a path gets around a rule or a route.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "local_reply_config": {"mappers": [*mappers, *replies]},
    }
    return listener(name, at, {**manager, **guard}, filters=[_filter(token, hosts), *filters], tls=tls)


def _denial(rule: str, status: int, text: str) -> list[Part]:
    denied = cel(f'response.code_details == "rbac_access_denied_matched_policy[{rule}]"')
    return error_reply(denied, text, status=status, kind="invalid_request_error")


def _filter(token: str | None, hosts: Sequence[str]) -> Part:
    """Build the filter that denies requests, with a rule for each reason."""
    names = "|".join([_LOOPBACK_NAMES, *map(re.escape, hosts)])
    no_type = [_unlike(":method", "GET|HEAD"), _unlike("content-type", _TYPE)]
    rules = {
        "2-host": _unlike(":authority", rf"(?i)({names})(:[0-9]{{1,5}})?"),
        "3-origin": {"header": {"name": "origin", "present_match": True}},
        "4-site": _unlike("sec-fetch-site", "none|same-origin", required=False),
        "5-type": {"and_rules": {"rules": no_type}},
        "6-repository": {"url_path": {"path": _regex(_REPOSITORY)}},
        "7-pages": {"url_path": {"path": _regex(_PAGES)}},
    }
    if token is not None:
        rules["1-token"] = _unlike("authorization", f"Bearer {re.escape(token)}")
    policies = {name: {"permissions": [rule], "principals": [{"any": True}]} for name, rule in rules.items()}
    config = {"action": "DENY", "policies": policies}
    return extension("filters.http.rbac", "filters.http.rbac.v3.RBAC", rules=config)


def _unlike(header: str, pattern: str, *, required: bool = True) -> Part:
    """Build a rule for requests whose header does not match a pattern; also for those without it, if it is required."""
    match = {"string_match": _regex(pattern), "invert_match": True, "treat_missing_header_as_empty": required}
    return {"header": {"name": header, **match}}


def _regex(pattern: str) -> Part:
    return {"safe_regex": {"regex": pattern}}
