"""A small Kubernetes API server over HTTP, with Seldon Core 2's resources, as contract §6 describes it."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.api_objects import CORE, GROUP, KINDS, Object, Objects, Refusal, forbidden, merge, selected

GLOBAL = ("nodes", "namespaces")  # resources that belong to no namespace
TOKEN = "token-that-nobody-else-may-see"
ROUTE = re.compile(
    r"/(?:api/v1|apis/mlops\.seldon\.io/v1alpha1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>status|log))?"
)


class ApiServer(Objects):
    """A Kubernetes API server. Use as a context manager.

    Attributes:
        user: the user name of all requests.
        forbidden: pairs of verb and resource, such as ``("patch", "models")``, that the user may not do.
        endings: how the next watches end: ``"410"``, ``"504"``, ``"drop"`` (the connection breaks) or ``"half"`` (the
            stream ends within a line). Further watches stay open.
        on_watch: called when a watch opens, with the number of watches so far.
        requests: method and path of every request.
        kubeconfig: the path of the kubeconfig that was written last.
        has_seldon: whether Seldon Core 2's resources are installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_seldon = True
        self.user = "reader"
        self.forbidden: set[tuple[str, str]] = set()
        self.endings: list[str] = []
        self.on_watch: Callable[[int], None] = lambda _: None
        self.requests: list[str] = []
        self.kubeconfig: Path
        self.logs: dict[str, str] = {}
        self.ended = ("", 0)  # how a test last ended the open watches, and how often it did
        self.watches = itertools.count(1)
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"api": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "ApiServer":
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.end_watches("drop")
        self.http.shutdown()
        self.http.server_close()

    def write_kubeconfig(self, path: Path, *, namespace: str | None = None, token: str = TOKEN) -> str:
        """Write a kubeconfig for this server, and return its path."""
        context = {"cluster": "test", "user": "test"} | ({"namespace": namespace} if namespace else {})
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
        }
        path.write_text(yaml.safe_dump(config))
        self.kubeconfig = path
        return str(path)

    def set_status(self, name: str, *conditions: Object, plural: str = "models") -> None:
        """Write conditions into an object's status, as a controller does."""
        times = {"lastTransitionTime": datetime.now(UTC).isoformat()}
        self.patch((plural, "seldon", name), {"status": {"conditions": [times | one for one in conditions]}})

    def end_watches(self, how: str) -> None:
        """End every open watch: ``"410"`` or ``"drop"``."""
        with self.changed:
            self.ended = (how, self.ended[1] + 1)
            self.changed.notify_all()


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    api: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the second of an answer's two writes waits for 40 ms

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def answer(self) -> None:
        """Answer a request of any method."""
        length = int(self.headers.get("Content-Length") or 0)
        body = yaml.safe_load(self.rfile.read(length)) if length else {}
        path, query = urlsplit(self.path).path, {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        self.api.requests.append(f"{self.command} {path}")
        try:
            # A request without credentials is accepted, because kubectl sends none over plain HTTP.
            if self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
                raise Refusal(401, "Unauthorized", "Unauthorized")
            found = ROUTE.fullmatch(path)
            plurals = CORE | (KINDS if self.api.has_seldon else {})
            if found and found["plural"] in plurals:
                self.resource(found.groupdict(), query, body)
            elif document := discovery(self.api).get(path):
                self.send(200, document)
            else:
                raise Refusal(404, "NotFound", "the server could not find the requested resource")
        except Refusal as refusal:
            self.send(refusal.code, refusal.status)
        except ConnectionError:  # the client has closed its watch
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that the base class looks for

    def resource(self, route: dict[str, str | None], query: dict[str, str], body: Object) -> None:
        api, plural, namespace = self.api, str(route["plural"]), route["namespace"]
        name = route["name"] or body.get("metadata", {}).get("name", "")
        key = (plural, namespace, name)
        verb = {"POST": "create", "PUT": "update"}.get(self.command, self.command.lower())
        if verb == "get" and not route["name"]:
            verb = "watch" if query.get("watch", "").lower() in ("true", "1") else "list"
        if (verb, plural) in api.forbidden:
            raise forbidden(api.user, verb, plural, namespace, name)
        if route["sub"] == "log":
            self.send(200, api.logs[name])
        elif verb == "watch":
            self.watch(plural, namespace, query)
        elif verb == "list":
            self.send(200, api.list(plural, namespace, query))
        elif verb == "get":
            self.send(200, api.get(key))
        elif verb == "create":
            self.send(201, api.create(key, body, query.get("fieldManager")))
        elif verb == "delete":
            self.send(200, api.delete(key))
        elif "apply-patch" in self.headers["Content-Type"]:
            self.send(*api.apply(key, body, query.get("fieldManager"), force=query.get("force") == "true"))
        elif route["sub"] == "status":
            self.send(200, api.patch(key, {"status": body["status"]}))
        else:
            change = {k: v for k, v in body.items() if k != "status"}
            api.check(key, merge(api.get(key), change))
            self.send(200, api.patch(key, change))

    def watch(self, plural: str, namespace: str | None, query: dict[str, str]) -> None:
        """Send the changes after a version, until the timeout or the test ends the watch."""
        api = self.api
        before, number = api.ended, next(api.watches)
        ending = api.endings.pop(0) if api.endings else ""
        api.on_watch(number)
        if ending == "504":
            raise Refusal(504, "Timeout", "the request timed out")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        seen = int(query.get("resourceVersion") or 0)
        deadline = time.monotonic() + float(query.get("timeoutSeconds") or 60)
        while not ending and (left := deadline - time.monotonic()) > 0:
            with api.changed:
                if len(api.history) <= seen and api.ended == before:
                    api.changed.wait(left)
                news, seen = api.history[seen:], max(seen, len(api.history))
                ending = api.ended[0] if api.ended != before else ""
            for event, key, resource in news:
                if key[:2] == (plural, namespace) and selected(resource, query):
                    self.send_event({"type": event, "object": resource})
        if ending == "410":
            self.send_event({"type": "ERROR", "object": Refusal(410, "Expired", "too old resource version").status})
        if ending == "drop":
            self.wfile.write(b'40\r\n{"type": "MODIFIED", "obj')
            self.close_connection = True
        elif ending == "half":
            self.wfile.write(b'f\r\n{"type": "MODI\n\r\n0\r\n\r\n')
        else:
            self.wfile.write(b"0\r\n\r\n")

    def send_event(self, event: Object) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def send(self, code: int, document: Object | str) -> None:
        content = document if isinstance(document, str) else json.dumps(document)
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


def discovery(api: ApiServer) -> dict[str, Object]:
    """Return the documents that describe the API, by path."""
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]

    def resources(version: str, kinds: dict[str, str]) -> Object:
        items = [
            {"name": plural, "singularName": kind.lower(), "kind": kind, "verbs": verbs}
            | {"namespaced": plural not in GLOBAL, "shortNames": ["svc"] if plural == "services" else []}
            for plural, kind in kinds.items()
        ]
        return {"kind": "APIResourceList", "groupVersion": version, "resources": items}

    version = {"groupVersion": f"{GROUP}/v1alpha1", "version": "v1alpha1"}
    group = {"name": GROUP, "versions": [version], "preferredVersion": version}
    documents: dict[str, Object] = {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": resources("v1", CORE),
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group] if api.has_seldon else []},
    }
    if api.has_seldon:
        documents[f"/apis/{GROUP}/v1alpha1"] = resources(version["groupVersion"], KINDS)
    return documents
