"""Every field of a Model and a Server, also those that only a cluster uses: written, read and checked."""

import doctest
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_streaming.errors import ManifestError
from llm_streaming.manifests import (
    API_VERSION,
    STREAMING_ENV,
    Model,
    SecretKey,
    Server,
    load_documents,
    model,
    read_manifests,
    server,
    to_yaml,
)
from tools import write_manifests

# A slow machine does not fail a test.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

text = st.text(max_size=12)
labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
subdomains = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?(\.[a-z0-9]{1,9})?", fullmatch=True)
numbers = st.from_regex(r"\+?([0-9]{1,6}(\.[0-9]{0,3})?|\.[0-9]{1,3})", fullmatch=True)
suffixes = st.sampled_from(["", *"numkMGTPE", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e+1"])
quantities = st.one_of(st.integers(0, 10**12), st.builds(str.__add__, numbers, suffixes))
counts = st.none() | st.integers(0, 2**31 - 1)
words = st.lists(st.text(min_size=1, max_size=12), max_size=3).map(tuple)
# The digit at the end keeps a name from looking like the name of a key, which may have no value.
variables = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}[0-9]", fullmatch=True)
secrets = st.builds(SecretKey, subdomains, st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True))
tolerations = st.lists(
    st.fixed_dictionaries({"key": text, "operator": st.sampled_from(["Exists", "Equal"])}, optional={"value": text}),
    max_size=2,
).map(tuple)


@st.composite
def replicas(draw: st.DrawFn) -> dict[str, Any]:
    low, wanted, high = sorted(draw(st.lists(st.integers(1, 2**31 - 1), min_size=3, max_size=3)))
    given_ = {"min_replicas": low, "replicas": wanted, "max_replicas": high}
    return {name: count if draw(st.booleans()) else None for name, count in given_.items()}


@patient
@given(st.data())
def test_every_model_reads_back_as_it_was_written(data: st.DataObject) -> None:
    written = Model(
        name=data.draw(labels),
        storage_uri=data.draw(st.text(min_size=1, max_size=12)),
        requirements=data.draw(words),
        server=data.draw(st.none() | labels),
        parameters=data.draw(st.dictionaries(text, text, max_size=3)),
        memory=data.draw(st.none() | quantities),
        secret_name=data.draw(st.none() | subdomains),
        artifact_version=data.draw(counts),
        **data.draw(replicas()),
    )
    assert Model.from_dict(yaml.safe_load(to_yaml(written.as_dict()))) == written


@patient
@given(st.data())
def test_every_server_reads_back_as_it_was_written(data: st.DataObject) -> None:
    env = data.draw(st.dictionaries(variables, text, max_size=3))
    named = data.draw(st.dictionaries(variables, secrets, max_size=3))
    written = Server(
        name=data.draw(labels),
        capabilities=data.draw(words),
        env=env,
        image=data.draw(st.none() | st.from_regex(r"[a-z]{1,9}/[a-z]{1,9}:[0-9]", fullmatch=True)),
        cpu=data.draw(st.none() | quantities),
        memory=data.draw(st.none() | quantities),
        gpus=data.draw(st.integers(0, 16)),
        tolerations=data.draw(tolerations),
        secret_env={name: secret for name, secret in named.items() if name not in env},
        **data.draw(replicas()),
    )
    assert Server.from_dict(yaml.safe_load(to_yaml(written.as_dict()))) == written


def test_a_server_for_a_gpu_is_written_in_full() -> None:
    gpus = Server.of_runtime(
        "local",
        name="local-gpu",
        secret="hugging-face",
        image="registry.example.com/llm-streaming:local-vllm",
        replicas=2,
        cpu="4",
        memory="24Gi",
        gpus=4,
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
    )
    assert (
        to_yaml(gpus.as_dict())
        == """\
apiVersion: mlops.seldon.io/v1alpha1
kind: Server
metadata:
  name: local-gpu
spec:
  serverConfig: mlserver
  capabilities:
  - llm-local
  replicas: 2
  podSpec:
    containers:
    - name: mlserver
      image: "registry.example.com/llm-streaming:local-vllm"
      env:
      - name: MLSERVER_PARALLEL_WORKERS
        value: "0"
      - name: MLSERVER_GZIP_ENABLED
        value: "false"
      - name: HF_TOKEN
        valueFrom:
          secretKeyRef:
            name: hugging-face
            key: HF_TOKEN
      resources:
        requests:
          cpu: "4"
          memory: 24Gi
        limits:
          memory: 24Gi
          nvidia.com/gpu: 4
      volumeMounts:
      - name: shared-memory
        mountPath: /dev/shm
    volumes:
    - name: shared-memory
      emptyDir:
        medium: Memory
    tolerations:
    - key: nvidia.com/gpu
      operator: Exists
"""
    )


def test_a_server_of_the_api_runtime_takes_its_key_from_a_secret() -> None:
    assert Server.of_runtime("api", name="api", secret="openai") == Server(
        name="api",
        capabilities=("openai",),
        env=STREAMING_ENV,
        secret_env={"OPENAI_API_KEY": ("openai", "OPENAI_API_KEY")},
    )
    assert Server.of_runtime("api", name="api").secret_env == {}


def test_fields_that_are_not_modelled_are_passed_over() -> None:
    spec = {"storageUri": "models/m", "modelType": None, "logger": {"percent": 10}, "preloaded": False}
    assert Model.from_dict(manifest("Model", spec)) == Model(name="m", storage_uri="models/m")
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    pod = {"containers": [{"name": "mlserver", "env": env}], "nodeSelector": {"gpu": "a100"}}
    found = Server.from_dict(manifest("Server", {"serverConfig": "mlserver", "podSpec": pod}))
    assert found == Server(name="m", capabilities=(), env={})


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
        "Model 'm': spec.memory must be a quantity: a number from 0 up, with a unit such as 500m, 2Gi or 2G or with "
        f"none, but got {quantity!r}"
    )


SCALING = "Model 'm': spec"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"requirements": "openai"}, f"{SCALING}.requirements must be a list of non-empty strings, but got 'openai'"),
        (
            {"parameters": {"keep_alive": 5}},
            f"{SCALING}.parameters[0].value must be a string (quote it), but got 5",
        ),
        ({"replicas": -1}, f"{SCALING}.replicas must be a whole number from 0 to 2147483647, but got -1"),
        ({"replicas": True}, f"{SCALING}.replicas must be a whole number from 0 to 2147483647, but got True"),
        (
            {"max_replicas": 2**31},
            f"{SCALING}.maxReplicas must be a whole number from 0 to 2147483647, but got {2**31}",
        ),
        ({"replicas": 1, "min_replicas": 2}, f"{SCALING}.replicas must be at least minReplicas, 2, but got 1"),
        ({"max_replicas": 0}, f"{SCALING}.maxReplicas must be at least the number of replicas, 1, but got 0"),
        (
            {"min_replicas": 3, "max_replicas": 2},
            f"{SCALING}.maxReplicas must be at least the number of replicas, 3, but got 2",
        ),
        (
            {"secret_name": "My_Secret"},
            f"{SCALING}.secretName must be lower-case letters, digits, '-' and '.', each part starting and ending with "
            "a letter or a digit, 253 characters at most, but got 'My_Secret'",
        ),
        (
            {"server": "Local"},
            f"{SCALING}.server must be lower-case letters, digits and '-', starting and ending with a letter or a "
            "digit, 63 characters at most, but got 'Local'",
        ),
        (
            {"artifact_version": "1"},
            f"{SCALING}.artifactVersion must be a whole number from 0 to 2147483647, but got '1'",
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
            f"{CONTAINER}.resources.requests.cpu must be a quantity: a number from 0 up, with a unit such as 500m, 2Gi "
            "or 2G or with none, but got 'two'",
        ),
        ({"capabilities": "openai"}, "spec.capabilities must be a list of non-empty strings, but got 'openai'"),
        ({"tolerations": ("gpu",)}, "spec.podSpec.tolerations[0] must be a mapping, but got 'gpu'"),
        ({"secret_env": {"A": "openai"}}, "A must name a Secret and its key, but got 'openai'"),
        (
            {"gpus": 0.5},
            f"{CONTAINER}.resources.limits.nvidia.com/gpu must be a whole number from 0 to 2147483647, but got 0.5",
        ),
        ({"image": " "}, f"{CONTAINER}.image must be a non-empty string, but got ' '"),
        ({"env": {"A": 1}}, f"{CONTAINER}.env[0].value must be a string (quote it), but got 1"),
        (
            {"env": {"1A": "x"}},
            f"{CONTAINER}.env[0].name must be letters, digits, '-', '_' and '.', not starting with a digit, but got "
            "'1A'",
        ),
        (
            {"env": {}, "secret_env": {"A": ("openai", "a b")}},
            f"{CONTAINER}.env[0].valueFrom.secretKeyRef.key must be letters, digits, '-', '_' and '.', 253 characters "
            "at most, but got 'a b'",
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
        f"Server 'm': {name} stands in the manifest, where everybody can read it: keep it in a Secret, and refer "
        "to it by valueFrom.secretKeyRef (in Python: secret_env)"
    )


@pytest.mark.parametrize("module", [model, server], ids=["model", "server"])
def test_the_examples_in_the_docstrings_are_correct(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_an_unknown_runtime_is_refused() -> None:
    assert refusal(lambda: Server.of_runtime("gpu", name="m")) == "there is no runtime 'gpu': it is one of api, local"


def test_the_manifests_of_the_repository_have_only_fields_that_there_are() -> None:
    found = [yaml.safe_load(one) for one in write_manifests.manifests().values()]
    assert [read_manifests(one)[0].as_dict() for one in found] == found


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
            "spec.memory must be a quantity: a number from 0 up, with a unit such as 500m, 2Gi or 2G or with none, but "
            "got '2GB'",
        ),
        (
            "Model",
            {"storageUri": "x", "memory": 1.5},
            "spec.memory must be a quantity: a number from 0 up, with a unit such as 500m, 2Gi or 2G or with none, but "
            "got 1.5",
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
