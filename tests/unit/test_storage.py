"""From a Model's storageUri to the folder and the settings that MLServer loads."""

import json
from pathlib import Path

import pytest

from llm_streaming.errors import ManifestError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded import storage


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "chat"
    folder.mkdir(parents=True)
    settings = {
        "name": "whatever",
        "implementation": "some.Runtime",
        "platform": "x",
        "max_batch_size": 8,
        "parameters": {"uri": "./weights.bin", "version": "v7", "inference_pool_gid": "g", "extra": {"a": 1, "b": 2}},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    (folder / "weights.bin").write_bytes(b"weights")
    (tmp_path / "models" / "empty").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize(
    "uri",
    [
        "models/chat",
        "models/chat/",
        "./models/empty/../chat",
        "gs://bucket/models/chat",
        "gs://bucket/deep/down/models/chat/",
        "s3://bucket/models/x/models/chat",
    ],
)
def test_an_address_stands_for_a_folder_of_the_models(models: Path, uri: str) -> None:
    assert storage.resolve(uri, models) == models / "chat"


def test_an_absolute_path_stands_for_itself(models: Path) -> None:
    assert storage.resolve(str(models / "chat"), models) == models / "chat"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models/none", "storageUri models/none: there is no file {models}/none/model-settings.json"),
        ("gs://b/models/none", "storageUri gs://b/models/none: there is no file {models}/none/model-settings.json"),
        ("models/empty", "storageUri models/empty: there is no file {models}/empty/model-settings.json"),
        (
            "gs://b/chat",
            "storageUri gs://b/chat: nothing is downloaded on this machine: a remote address must end in "
            "models/<name>, and the folder of that name in {models} is used",
        ),
        ("..", "storageUri .. points outside the models folder, {models}"),
        ("models", "storageUri models points outside the models folder, {models}"),
        ("models/../../x", "storageUri models/../../x points outside the models folder, {models}"),
        ("gs://b/models/..", "storageUri gs://b/models/.. points outside the models folder, {models}"),
        ("/etc", "storageUri /etc points outside the models folder, {models}"),
    ],
)
def test_an_address_without_a_folder_or_outside_is_refused(models: Path, uri: str, message: str) -> None:
    with pytest.raises(ManifestError) as refused:
        storage.resolve(uri, models)
    assert str(refused.value) == message.format(models=models)


def test_a_link_out_of_the_models_folder_is_refused(models: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (models / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ManifestError, match="points outside the models folder"):
        storage.resolve("models/link", models)


def test_settings_are_rewritten_as_sc2_does(models: Path) -> None:
    model = Model(name="m", storage_uri="models/chat", parameters={"b": "3", "c": "4"})
    assert storage.settings(model, models / "chat") == {
        "name": "m",
        "platform": "x",
        "implementation": "some.Runtime",
        "parameters": {"version": "1", "uri": "./weights.bin", "extra": {"a": 1, "b": "3", "c": "4"}},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{}",
            "bad/model-settings.json must be an object with an 'implementation', the runtime's import path",
        ),
        (
            '{"implementation": "x", "parameters": {"extra": 3}}',
            "bad/model-settings.json: parameters and parameters.extra must be objects",
        ),
        (
            "{",
            "bad/model-settings.json is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 "
            "(char 1)",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "model-settings.json").write_text(text)
    model = Model(name="m", storage_uri="models/bad")
    with pytest.raises(ManifestError) as refused:
        storage.settings(model, folder)
    assert str(refused.value) == message


def test_two_models_can_share_a_folder(models: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        rewritten = storage.settings(Model(name=name, storage_uri="models/chat"), models / "chat")
        storage.prepare(rewritten, models / "chat", tmp_path / "repository" / name)
    found = {
        name: (
            json.loads((tmp_path / "repository" / name / "model-settings.json").read_text())["name"],
            (tmp_path / "repository" / name / "weights.bin").read_bytes(),
        )
        for name in ("one", "two")
    }
    assert found == {"one": ("one", b"weights"), "two": ("two", b"weights")}
    storage.remove(tmp_path / "repository" / "one")
    assert sorted(path.name for path in (tmp_path / "repository").iterdir()) == ["two"]
    assert (models / "chat" / "weights.bin").read_bytes() == b"weights"
