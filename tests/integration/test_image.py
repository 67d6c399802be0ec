"""The container images, tested without a container engine.

The steps in the Dockerfile make a clean environment. From it the server runs as an unprivileged user, with a read-only
models folder and the variables that SC2 sets, and loads a model that is stored as SC2's agent stores it.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from llm_streaming import ChatClient
from llm_streaming.manifests import Model, Server
from llm_streaming.mesh.embedded import storage
from llm_streaming.mesh.processes.ports import free_ports, wait_until
from tests.support import dockerfile
from tests.support.image import ROOT, STAGES, Build, home_of, unprivileged, unprivileged_python

SERVER = STAGES["server"]
MODEL = "local-chat-completions-cpu"
MESSAGES = [{"role": "user", "content": "Does money buy happiness?"}]


# The mlserver container of SC2's server configuration (SeldonIO/seldon-core, k8s/helm-charts/seldon-core-v2-setup,
# templates/_components-statefulsets.tpl). Its ports, 9000 and 9500, may be taken here.
SC2 = {
    "MLSERVER_MODEL_PARALLEL_WORKERS": "1",
    "MLSERVER_LOAD_MODELS_AT_STARTUP": "false",
    "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": "1048576000",
}


class Container:
    """The image's command, run by user 1000 with the variables that SC2 sets and a read-only models folder."""

    def __init__(self, build: Build, models: Path) -> None:
        self.http, grpc, metrics = free_ports(3)
        own = dockerfile.environment(SERVER)
        env = Server.from_dict(yaml.safe_load((ROOT / "manifests" / "servers" / "local.yaml").read_text())).env
        placed = {
            "MLSERVER_HTTP_PORT": str(self.http),
            "MLSERVER_GRPC_PORT": str(grpc),
            "MLSERVER_METRICS_PORT": str(metrics),
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_MODELS_DIR": str(models),
        }
        self.environment = {**own, **SC2, **env, **placed, "HOME": str(home_of(build))}
        self.environment["PATH"] = f"{build.venv / 'bin'}:/usr/bin:/bin"
        self.log = build.home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                dockerfile.command(SERVER),
                env=self.environment,
                stdout=log,
                stderr=log,
                **unprivileged() | {"cwd": home_of(build)},
            )

    def is_well(self) -> bool:
        """Return whether the image's health check succeeds."""
        check = subprocess.run(dockerfile.health_check(SERVER), env=self.environment, capture_output=True)
        return check.returncode == 0

    def stop(self) -> int:
        """End the process as Kubernetes does, and return its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that user 1000 may enter; nobody but its owner may enter pytest's temporary folders."""
    folder = Path(tempfile.mkdtemp(prefix="llm-streaming-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def api_build(home: Path) -> Build:
    python = unprivileged_python()
    if python is None:
        pytest.skip("there is no Python here that an unprivileged user may run")
    build = Build(home, python)
    build.run("build", "wheel", "build-api")
    return build


@pytest.fixture(scope="module")
def build(api_build: Build) -> Build:
    """The build of the image with llama.cpp, which continues the build of the API image."""
    api_build.run("build-local-cpu")
    return api_build


@pytest.fixture(scope="module")
def models(home: Path) -> Iterator[Path]:
    """A models folder as SC2's agent writes it (contract §4): one version, with rewritten name and settings."""
    models = home / "models"
    folder = models / f"{MODEL}_1"
    folder.mkdir(parents=True)
    found = storage.settings(
        Model(name=MODEL, storage_uri=f"models/{MODEL}", parameters={"keep_alive": "5"}), ROOT / "models" / MODEL
    )
    (folder / "model-settings.json").write_text(json.dumps({**found, "name": f"{MODEL}_1"}))
    for one in (folder, models):
        one.chmod(0o555)
    yield models
    for one in (models, folder):
        one.chmod(0o755)


LOADS = "import {}, importlib.util as i; print([i.find_spec(m) is not None for m in ('xllamacpp', 'jupyterlab')])"


def test_the_api_image_holds_its_runtime_and_no_engine(api_build: Build) -> None:
    assert api_build.python(LOADS.format("mlserver_llm_api")) == "[False, False]\n"


def test_the_cpu_image_holds_its_runtime_and_llama_cpp(build: Build) -> None:
    assert build.python(LOADS.format("mlserver_llm_local")) == "[True, False]\n"


def test_the_server_streams_as_an_unprivileged_user_from_a_read_only_folder(build: Build, models: Path) -> None:
    container = Container(build, models)
    try:
        assert wait_until(lambda: container.process.poll() is not None or container.is_well(), timeout=120)
        assert container.process.poll() is None, container.log.read_text()
        facts = Path(f"/proc/{container.process.pid}/status").read_text()
        [user] = re.findall(r"^Uid:\t(\d+)", facts, re.MULTILINE)
        assert int(user) == (os.getuid() or 1000)
        loaded = httpx.post(f"http://127.0.0.1:{container.http}/v2/repository/models/{MODEL}_1/load", timeout=120)
        assert (loaded.status_code, loaded.text) == (200, "")
        client = ChatClient(f"127.0.0.1:{container.http}")
        events = list(client.stream(f"{MODEL}_1", MESSAGES, max_tokens=24))
        whole = client.complete(f"{MODEL}_1", MESSAGES, max_tokens=24)
        assert len(events) > 12
        assert "".join(event.content for event in events) == whole.content
        assert whole.content
        assert sorted(path.name for path in models.iterdir()) == [f"{MODEL}_1"]
    finally:
        status = container.stop()
    assert status == 0, container.log.read_text()
    assert not container.is_well()


def test_each_target_ends_with_a_user_who_is_not_root() -> None:
    targets = ("api", "local-cpu", "local-vllm")
    users = [[rest for word, rest in (*SERVER.steps, *STAGES[name].steps) if word == "USER"][-1] for name in targets]
    assert users == ["1000:1000"] * 3


def test_vllm_is_locked_with_the_packages_that_it_and_mlserver_need() -> None:
    lock = (ROOT / "requirements" / "vllm.lock").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    assert pins["mlserver"] == "1.7.1"
    assert (0, 28) <= version(pins["vllm"]) < (0, 33)
    assert (0, 133) <= version(pins["fastapi"]) < (0, 137)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)) > len(pins)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
