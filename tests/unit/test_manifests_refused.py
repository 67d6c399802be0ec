"""Manifests that a cluster would refuse are refused in one sentence, field by field."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from llm_streaming.errors import ManifestError
from llm_streaming.manifests import (
    API_VERSION,
    Model,
    Server,
    load_documents,
    read_manifests,
)


@pytest.mark.parametrize(
    "quantity", ["0", "1", 1, "+1", "1.", ".5", "1.5Gi", "128974848000m", "5n", "2k", "1E", "1E3", "1e-3", "16Ei", "-0"]
)
def test_the_quantities_of_the_api_server_are_accepted(quantity: str | int) -> None:
    assert Model(name="m", storage_uri="x", memory=quantity).memory == quantity


@pytest.mark.parametrize(
    "quantity",
    [
        "",
        ".",
        "1K",
        "1ki",
        "1mi",
        "1 Gi",
        "1GB",
        "Gi",
        "1e",
        "1e1.5",
        "0x10",
        "1_000",
        "one",
        "\uff11",
        1.5,
        True,
        ["1"],
        "-1Gi",
        -1,
        "-.5",
    ],
)
def test_a_malformed_quantity_is_refused(quantity: Any) -> None:
    assert refusal(lambda: Model(name="m", storage_uri="x", memory=quantity)) == (
        f"Model 'm': spec.memory must be a quantity from 0 up, such as 2, 500m, 2G or 2Gi, but got {quantity!r}"
    )


SPEC = "Model 'm': spec"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"requirements": "openai"}, f"{SPEC}.requirements must be a list of non-empty strings, but got 'openai'"),
        (
            {"parameters": {"keep_alive": 5}},
            f"{SPEC}.parameters[0].value must be a string (quote it), but got 5",
        ),
        ({"replicas": -1}, f"{SPEC}.replicas must be a whole number from 0 to 2147483647, but got -1"),
        ({"replicas": True}, f"{SPEC}.replicas must be a whole number from 0 to 2147483647, but got True"),
        (
            {"max_replicas": 2**31},
            f"{SPEC}.maxReplicas must be a whole number from 0 to 2147483647, but got {2**31}",
        ),
        ({"replicas": 1, "min_replicas": 2}, f"{SPEC}.replicas must be at least minReplicas, 2, but got 1"),
        ({"max_replicas": 0}, f"{SPEC}.maxReplicas must be at least the number of replicas, 1, but got 0"),
        (
            {"min_replicas": 3, "max_replicas": 2},
            f"{SPEC}.maxReplicas must be at least the number of replicas, 3, but got 2",
        ),
        (
            {"secret_name": "My_Secret"},
            f"{SPEC}.secretName must be 1 to 253 lower-case letters, digits, '-' and '.', with a letter or a digit at "
            "the start, at the end and beside each '.', but got 'My_Secret'",
        ),
        (
            {"server": "Local"},
            f"{SPEC}.server must be 1 to 63 lower-case letters, digits and '-', with a letter or a digit at the start "
            "and at the end, but got 'Local'",
        ),
        (
            {"artifact_version": "1"},
            f"{SPEC}.artifactVersion must be a whole number from 0 to 2147483647, but got '1'",
        ),
    ],
)
def test_a_model_that_a_cluster_would_refuse_is_refused_in_one_sentence(fields: dict[str, Any], message: str) -> None:
    assert refusal(lambda: Model(name="m", storage_uri="x", **fields)) == message


CONTAINER = "spec.podSpec.containers[0]"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"cpu": "two"},
            f"{CONTAINER}.resources.requests.cpu must be a quantity from 0 up, such as 2, 500m, 2G or 2Gi, but got "
            "'two'",
        ),
        ({"capabilities": "openai"}, "spec.capabilities must be a list of non-empty strings, but got 'openai'"),
        ({"tolerations": ("gpu",)}, "spec.podSpec.tolerations[0] must be a mapping, but got 'gpu'"),
        ({"secret_env": {"A": "openai"}}, "A must be a tuple of a Secret and a key, but got 'openai'"),
        (
            {"gpus": 0.5},
            f"{CONTAINER}.resources.limits.nvidia.com/gpu must be a whole number from 0 to 2147483647, but got 0.5",
        ),
        ({"image": " "}, f"{CONTAINER}.image must be a non-empty string, but got ' '"),
        ({"env": {"A": 1}}, f"{CONTAINER}.env[0].value must be a string (quote it), but got 1"),
        (
            {"env": {"1A": "x"}},
            f"{CONTAINER}.env[0].name must be a name of letters, digits, '-', '_' and '.' that does not start with a "
            "digit, but got '1A'",
        ),
        (
            {"env": {}, "secret_env": {"A": ("openai", "a b")}},
            f"{CONTAINER}.env[0].valueFrom.secretKeyRef.key must be 1 to 253 letters, digits, '-', '_' and '.', but "
            "got 'a b'",
        ),
        (
            {"env": {"A": "x"}, "secret_env": {"A": ("openai", "A")}},
            "A is given both as a value and from a Secret: keep one of them",
        ),
    ],
)
def test_a_server_that_a_cluster_would_refuse_is_refused_in_one_sentence(fields: dict[str, Any], message: str) -> None:
    assert refusal(lambda: Server(**{"name": "m", "capabilities": (), **fields})) == f"Server 'm': {message}"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "db_password", "AWS_SECRET", "OPENAI_APIKEY"])
def test_a_key_in_the_manifest_is_refused_without_repeating_it(name: str) -> None:
    value = os.urandom(8).hex()
    message = refusal(lambda: Server(name="m", capabilities=(), env={name: value}))
    assert message == (
        f"Server 'm': the value of {name} is in the manifest, where everybody can read it: store it in a Secret, and "
        "refer to the Secret with valueFrom.secretKeyRef (in Python: secret_env)"
    )


def test_an_unknown_runtime_is_refused() -> None:
    assert refusal(lambda: Server.of_runtime("gpu", name="m")) == "there is no runtime 'gpu': choose one of api, local"


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("Model", {"storageUrl": "x"}, "there is no field spec.storageUrl (did you mean spec.storageUri?)"),
        ("Model", {"storageUri": "x", "zzz": 1}, "there is no field spec.zzz"),
        ("Model", {"storageUri": None}, "spec.storageUri is missing"),
        (
            "Model",
            {"storageUri": "x", "replicas": "2"},
            "spec.replicas must be a whole number from 0 to 2147483647, but got '2'",
        ),
        (
            "Model",
            {"storageUri": "x", "memory": "2GB"},
            "spec.memory must be a quantity from 0 up, such as 2, 500m, 2G or 2Gi, but got '2GB'",
        ),
        (
            "Model",
            {"storageUri": "x", "memory": 1.5},
            "spec.memory must be a quantity from 0 up, such as 2, 500m, 2G or 2Gi, but got 1.5",
        ),
        (
            "Server",
            {"serverConfig": "mlserver", "podSpec": {"volumes": [{}]}},
            "spec.podSpec.volumes[0].name is missing",
        ),
        (
            "Model",
            {"storageUri": "x", "parameters": [{"name": "keep_alive", "value": 5}]},
            "spec.parameters[0].value must be a string (quote it), but got 5",
        ),
        ("Server", {"capabilities": ["x"]}, "spec.serverConfig is missing"),
        (
            "Server",
            {"serverConfig": "mlserver", "podSpec": {"containers": [{"name": "mlserver", "images": "x"}]}},
            "there is no field spec.podSpec.containers[0].images (did you mean spec.podSpec.containers[0].image?)",
        ),
        (
            "Server",
            {"serverConfig": "mlserver", "podSpec": {"toleration": []}},
            "there is no field spec.podSpec.toleration (did you mean spec.podSpec.tolerations?)",
        ),
    ],
)
def test_a_manifest_is_held_to_the_fields_of_its_resource(kind: str, spec: dict[str, Any], message: str) -> None:
    assert refusal(lambda: read_manifests(manifest(kind, spec))) == f"{kind} 'm': {message}"


def test_a_manifest_without_a_name_is_refused() -> None:
    found = {"apiVersion": API_VERSION, "kind": "Model", "metadata": {}, "spec": {"storageUri": "x"}}
    assert refusal(lambda: read_manifests(found)) == "Model: metadata.name is missing"


def test_manifests_of_other_kinds_are_loaded_but_refused() -> None:
    pipeline = {"apiVersion": API_VERSION, "kind": "Pipeline", "spec": {"steps": []}}
    assert load_documents(pipeline) == [pipeline]
    assert refusal(lambda: read_manifests(pipeline)) == (
        f"expected a manifest of {API_VERSION} Model, but got {API_VERSION} Pipeline"
    )


def manifest(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "m"}, "spec": spec}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ManifestError) as refused:
        call()
    return str(refused.value)
