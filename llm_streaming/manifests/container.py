"""A Server's ``mlserver`` container: its image, environment and resources, written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.fields import mapping, named_values, without_absent
from llm_streaming.manifests.names import check_secret_key, check_subdomain, check_variable

_NAME = "mlserver"

# Names of variables that hold what nobody else may read.
_KEPT_SECRET = re.compile(r"(^|_)((API)?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)


class SecretKey(NamedTuple):
    """One key of a Kubernetes Secret.

    Args:
        secret: the Secret's name.
        key: which of its keys.
    """

    secret: str
    key: str


def check_environment(server: str, env: Mapping[str, str], secret_env: Mapping[str, tuple[str, str]]) -> None:
    """Refuse variables that Kubernetes would, and a key that stands in the manifest for everybody to read.

    Raises:
        ManifestError: a variable, a Secret or one of its keys is misnamed, given twice, or not a string.
    """
    for name, value in env.items():
        check_variable(f"{server}: environment variable {name}", name)
        if not isinstance(value, str):
            raise ManifestError(f"{server}: environment variable {name} must be a string, but got {value!r}")
        if value and _KEPT_SECRET.search(name):
            raise ManifestError(
                f"{server}: {name} stands in the manifest, where everybody can read it: keep it in a Secret, and take "
                "it from there by valueFrom.secretKeyRef (in Python: secret_env)"
            )
    for name, reference in secret_env.items():
        check_variable(f"{server}: environment variable {name}", name)
        if not isinstance(reference, tuple) or len(reference) != 2:
            raise ManifestError(f"{server}: {name} must name a Secret and its key, but got {reference!r}")
        check_subdomain(f"{server}: the Secret of {name}", reference[0])
        check_secret_key(f"{server}: the Secret's key of {name}", reference[1])
        if name in env:
            raise ManifestError(f"{server}: {name} is given both as a value and from a Secret: keep one of them")


def as_container(
    *,
    image: str | None,
    env: Mapping[str, str],
    secret_env: Mapping[str, tuple[str, str]],
    requests: Mapping[str, Any],
    limits: Mapping[str, Any],
    mounts: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """The container as the pod's specification holds it; with its name alone where nothing is asked of it."""
    plain = [{"name": name, "value": value} for name, value in env.items()]
    secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in secret_env.items()
    ]
    return without_absent(
        name=_NAME,
        image=image,
        env=[*plain, *secret],
        resources=without_absent(requests=dict(requests), limits=dict(limits)),
        volumeMounts=[dict(mount) for mount in mounts],
    )


def read_container(server: str, containers: object) -> dict[str, Any]:
    """Read a Server's fields from its pod's containers; of several ``mlserver`` ones, the last word counts.

    Raises:
        ManifestError: a container is malformed.
    """
    if not isinstance(containers, list | None) or not all(isinstance(one, dict) for one in containers or ()):
        raise ManifestError(f"{server}: spec.podSpec.containers must be a list of mappings")
    fields: dict[str, Any] = {"env": {}, "secret_env": {}}
    for container in containers or ():
        if container.get("name") == _NAME:
            items = _items(server, container.get("env"))
            fields["env"] |= named_values(f"{server}: env", [item for item in items if "valueFrom" not in item])
            fields["secret_env"] |= _secret_keys(server, items)
            fields |= {"image": container.get("image")} | _resources(server, container)
    return fields


def _items(server: str, items: object) -> list[dict[str, Any]]:
    if not isinstance(items, list | None) or not all(isinstance(item, dict) for item in items or ()):
        raise ManifestError(f"{server}: env must be a list of names and values, but got {items!r}")
    return items or []


def _secret_keys(server: str, items: Sequence[Mapping[str, Any]]) -> dict[str, SecretKey]:
    """The variables taken from Secrets; those taken from elsewhere, such as a field of the pod, are a cluster's."""
    found = {}
    for item in items:
        source = mapping(f"{server}: env valueFrom", item.get("valueFrom"))
        if "secretKeyRef" in source:
            reference = mapping(f"{server}: env secretKeyRef", source["secretKeyRef"])
            found[item.get("name", "")] = SecretKey(reference.get("name", ""), reference.get("key", ""))
    return found


def _resources(server: str, container: Mapping[str, Any]) -> dict[str, Any]:
    resources = mapping(f"{server}: resources", container.get("resources"))
    requests = mapping(f"{server}: resources.requests", resources.get("requests"))
    limits = mapping(f"{server}: resources.limits", resources.get("limits"))
    return {
        "cpu": requests.get("cpu"),
        "memory": requests.get("memory"),
        "gpus": _gpus(server, limits.get("nvidia.com/gpu", 0)),
    }


def _gpus(server: str, amount: object) -> int:
    """GPUs are whole; Kubernetes takes the number as a string too."""
    if isinstance(amount, int):
        return amount
    if isinstance(amount, str) and amount.isascii() and amount.isdigit():
        return int(amount)
    raise ManifestError(f"{server}: nvidia.com/gpu must be a whole number, but got {amount!r}")
