"""Every field of a Model and a Server, also those that only a cluster uses: written, read and checked."""

import doctest
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_streaming.manifests import (
    API_VERSION,
    STREAMING_ENV,
    Model,
    SecretKey,
    Server,
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


@pytest.mark.parametrize("module", [model, server], ids=["model", "server"])
def test_the_examples_in_the_docstrings_are_correct(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_the_manifests_of_the_repository_have_only_fields_that_there_are() -> None:
    found = [yaml.safe_load(one) for one in write_manifests.manifests().values()]
    assert [read_manifests(one)[0].as_dict() for one in found] == found


def manifest(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "m"}, "spec": spec}
