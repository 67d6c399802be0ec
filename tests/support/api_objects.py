"""The objects of a small Kubernetes API server, and the operations on them (contract §6)."""

import re
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

GROUP = "mlops.seldon.io"
KINDS = {"models": "Model", "servers": "Server"}
CORE = {"services": "Service", "pods": "Pod", "nodes": "Node", "namespaces": "Namespace"}
TYPES = {
    "storageUri": str,
    "serverConfig": str,
    "server": str,
    "requirements": list,
    "capabilities": list,
    "replicas": int,
}
REQUIRED = {"models": "storageUri", "servers": "serverConfig"}
SERVERS_OWN = ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")

Object = dict[str, Any]
Key = tuple[str, str | None, str]  # plural, namespace, name


class Refusal(Exception):  # noqa: N818 - not an error of the tests
    """An error of the API server, with its Status object."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.code = code
        self.status = status | {"message": message, "reason": reason, "details": details, "code": code}


class Objects:
    """Kubernetes objects, with the owners of their fields and the history of their changes.

    Attributes:
        objects: the objects by resource, namespace and name.
        owners: by the same keys, the manager that owns each field of ``spec``.
        history: all changes in order, each with its type: ADDED, MODIFIED or DELETED.
        changed: notified of each change.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.owners: dict[Key, dict[str, str]] = {}
        self.history: list[tuple[str, Key, Object]] = []
        self.changed = threading.Condition(threading.RLock())
        self.add("namespaces", None, "seldon", {})

    def add(self, plural: str, namespace: str | None, name: str, content: Object) -> None:
        """Add an object without checking it."""
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {}) | content.get("metadata", {})
        self.store((plural, namespace, name), {**content, "metadata": metadata})

    def store(self, key: Key, wanted: Object) -> Object:
        """Create or change an object; its versions increase only if something differs."""
        with self.changed:
            before = self.objects.get(key)
            fresh = {"uid": str(uuid.uuid4()), "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
            own = {k: v for k, v in before["metadata"].items() if k in SERVERS_OWN} if before else {}
            kept = own or fresh | {"generation": 1}
            group = f"{GROUP}/v1alpha1" if key[0] in KINDS else "v1"
            after = {"apiVersion": group, "kind": (KINDS | CORE)[key[0]], **wanted}
            after["metadata"] = kept | wanted["metadata"]
            if after == before:
                return after
            if before and before.get("spec") != after.get("spec"):
                after["metadata"]["generation"] += 1
            return self.record("MODIFIED" if before else "ADDED", key, after)

    def record(self, event: str, key: Key, resource: Object) -> Object:
        version = len(self.history) + 1
        resource["metadata"] = resource["metadata"] | {"resourceVersion": str(version)}
        self.objects[key] = resource
        self.history.append((event, key, resource))
        self.changed.notify_all()
        return resource

    def apply(self, key: Key, body: Object, manager: str | None, *, force: bool) -> tuple[int, Object]:
        """Apply an object on the server's side. A manager owns a field of ``spec`` as a whole."""
        if not manager:
            message = (
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            )
            raise Refusal(422, "Invalid", message)
        with self.changed:
            before, owners = self.objects.get(key), self.owners.get(key, {})
            spec = dict(before["spec"]) if before else {}
            taken = [f for f, v in body["spec"].items() if owners.get(f, manager) != manager and spec.get(f) != v]
            if taken and not force:
                raise conflict({field: owners[field] for field in taken})
            dropped = {f for f in spec if owners.get(f) == manager and f not in body["spec"]}
            spec = {f: v for f, v in spec.items() if f not in dropped} | body["spec"]
            self.check(key, {**body, "spec": spec})
            metadata = (before["metadata"] if before else {}) | body["metadata"]
            self.owners[key] = owners | dict.fromkeys(body["spec"], manager)
            return (200 if before else 201), self.store(
                key, {**(before or {}), **body, "metadata": metadata, "spec": spec}
            )

    def create(self, key: Key, body: Object, manager: str | None) -> Object:
        if key in self.objects:
            raise Refusal(409, "AlreadyExists", f'{key[0]}.{GROUP} "{key[2]}" already exists', name=key[2], kind=key[0])
        self.check(key, body)
        self.owners[key] = dict.fromkeys(body.get("spec", {}), manager or "unknown")
        return self.store(key, {k: v for k, v in body.items() if k != "status"})

    def patch(self, key: Key, change: Object) -> Object:
        """Merge a change. An object marked as deleted is removed when it has no finalizer left."""
        with self.changed:
            after = self.store(key, merge(self.get(key), change))
            if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
                self.remove(key)
            return after

    def delete(self, key: Key) -> Object:
        found = self.get(key)
        if found["metadata"].get("finalizers"):
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            return self.store(key, {**found, "metadata": found["metadata"] | {"deletionTimestamp": now}})
        self.remove(key)
        details = {"name": key[2], "group": GROUP, "kind": key[0], "uid": found["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def remove(self, key: Key) -> None:
        with self.changed:
            self.record("DELETED", key, dict(self.objects[key]))
            del self.objects[key]
            self.owners.pop(key, None)

    def get(self, key: Key) -> Object:
        if key not in self.objects:
            kind = f"{key[0]}.{GROUP}" if key[0] in KINDS else key[0]
            raise Refusal(404, "NotFound", f'{kind} "{key[2]}" not found', name=key[2], kind=key[0])
        return self.objects[key]

    def check(self, key: Key, body: Object) -> None:
        """Refuse an object whose namespace does not exist or whose fields do not fit the schema."""
        plural, namespace, name = key
        if ("namespaces", None, namespace) not in self.objects:
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")
        spec, fault = body.get("spec", {}), None
        if not NAME.fullmatch(name):
            fault = f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of …'
        elif REQUIRED[plural] not in spec:
            fault = f"spec.{REQUIRED[plural]}: Required value"
        for field, value in spec.items():
            if not isinstance(value, TYPES.get(field, object)):
                fault = (
                    f'spec.{field}: Invalid value: "{type(value).__name__}": spec.{field} in body has the wrong type'
                )
        if fault:
            message = f'{KINDS[plural]}.{GROUP} "{name}" is invalid: {fault}'
            raise Refusal(422, "Invalid", message, name=name, group=GROUP, kind=KINDS[plural])

    def list(self, plural: str, namespace: str | None, query: dict[str, str]) -> Object:
        items = [
            r for k, r in self.objects.items() if k[0] == plural and namespace in (None, k[1]) and selected(r, query)
        ]
        version = {"resourceVersion": str(len(self.history))}
        group = f"{GROUP}/v1alpha1" if plural in KINDS else "v1"
        return {"kind": f"{(KINDS | CORE)[plural]}List", "apiVersion": group, "metadata": version, "items": items}


def conflict(owners: dict[str, str]) -> Refusal:
    """Return the error of an apply that would change fields of other managers, given as owners by field."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{owner}" using {GROUP}/v1alpha1',
            "field": f".spec.{field}",
        }
        for field, owner in owners.items()
    ]
    message = f"Apply failed with {len(causes)} conflict(s): " + ", ".join(
        f"{c['message']}: {c['field']}" for c in causes
    )
    return Refusal(409, "Conflict", message, causes=causes)


def forbidden(user: str, verb: str, plural: str, namespace: str | None, name: str) -> Refusal:
    """Return the error of a request that the user's role does not allow."""
    group = GROUP if plural in KINDS else ""
    full = f"{plural}.{group}" if group else plural
    place = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    message = (
        f'{full} "{name}" is forbidden: User "{user}" cannot {verb} resource "{plural}" in API group "{group}" {place}'
    )
    return Refusal(403, "Forbidden", message, name=name, group=group, kind=plural)


def merge(target: Object, change: Object) -> Object:
    """Merge a change as RFC 7386 defines: None removes, a mapping is merged, any other value replaces."""
    merged = dict(target)
    for field, value in change.items():
        if value is None:
            merged.pop(field, None)
        else:
            old = merged.get(field)
            merged[field] = merge(old if isinstance(old, dict) else {}, value) if isinstance(value, dict) else value
    return merged


def selected(resource: Object, query: dict[str, str]) -> bool:
    """Return whether the selectors of a query match an object."""
    metadata = resource["metadata"]
    facts = {f"metadata.{key}": value for key, value in metadata.items()} | metadata.get("labels", {})
    asked = [term for key in ("fieldSelector", "labelSelector") for term in query.get(key, "").split(",") if term]
    return all(facts.get(field) == value for field, value in (term.split("=", 1) for term in asked))
