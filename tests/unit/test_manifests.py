"""Manifests: those in the repository are up to date, and malformed ones are refused in one sentence."""

from dataclasses import replace

import pytest
import yaml

from llm_streaming.errors import ManifestError
from llm_streaming.manifests import API_VERSION, Model, Server, load_documents, read_manifests, to_yaml
from llm_streaming.paths import project_root
from tools import write_manifests

MODEL = {
    "apiVersion": API_VERSION,
    "kind": "Model",
    "metadata": {"name": "m"},
    "spec": {"storageUri": "models/m", "requirements": ["llm-local"]},
}


def test_the_manifests_in_the_repository_are_those_of_the_catalogue() -> None:
    folder = project_root() / "manifests"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.yaml")}
    assert found == write_manifests.manifests()


def test_a_model_reads_back_as_it_was_written() -> None:
    model = Model(
        name="m",
        storage_uri="gs://bucket/models/m",
        requirements=("a", "b"),
        server="local",
        parameters={"keep_alive": "5"},
    )
    assert Model.from_dict(yaml.safe_load(to_yaml(model.as_dict(), comment="above\nit"))) == model


def test_a_server_reads_back_as_it_was_written() -> None:
    server = Server(name="s", capabilities=("a",), env={"MLSERVER_PARALLEL_WORKERS": "0", "X": "true", "Y": "http://z"})
    assert Server.from_dict(yaml.safe_load(to_yaml(server.as_dict()))) == server


def test_strings_that_yaml_would_read_as_other_types_are_quoted() -> None:
    assert to_yaml({"a": "0", "b": "false", "c": "http://x", "d": "plain"}) == (
        'a: "0"\nb: "false"\nc: "http://x"\nd: plain\n'
    )


def test_extra_capabilities_add_and_secrets_are_left_to_the_environment() -> None:
    containers = [
        {"name": "rclone", "env": [{"name": "R", "value": "1"}]},
        {
            "name": "mlserver",
            "env": [
                {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "openai", "key": "key"}}},
                {"name": "A", "value": "1"},
            ],
        },
    ]
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "Server",
        "metadata": {"name": "s"},
        "spec": {
            "serverConfig": "mlserver",
            "capabilities": ["x"],
            "extraCapabilities": ["y"],
            "podSpec": {"containers": containers},
        },
    }
    assert Server.from_dict(manifest) == Server(
        name="s", capabilities=("x", "y"), env={"A": "1"}, secret_env={"OPENAI_API_KEY": ("openai", "key")}
    )


@pytest.mark.parametrize(
    ("capabilities", "requirements", "holds"),
    [(("a", "b"), ("a",), True), (("a",), (), True), (("a",), ("a", "b"), False), (("abc",), ("a",), False)],
)
def test_a_server_holds_a_model_whose_every_requirement_it_is_capable_of(
    capabilities: tuple[str, ...], requirements: tuple[str, ...], holds: bool
) -> None:
    assert Server(name="s", capabilities=capabilities).holds(requirements) is holds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Pod"}, f"expected a manifest of {API_VERSION} Model, but got {API_VERSION} Pod"),
        ({"apiVersion": "v1"}, f"expected a manifest of {API_VERSION} Model, but got v1 Model"),
        (
            {"metadata": {"name": "My_Model"}},
            "Model 'My_Model': metadata.name must be 1 to 63 lower-case letters, digits and '-', with a letter or a "
            "digit at the start and at the end, but got 'My_Model'",
        ),
        ({"metadata": "m"}, "Model: metadata must be a mapping, but got 'm'"),
        ({"spec": {}}, "Model 'm': spec.storageUri is missing"),
        ({"spec": {"storageUri": 3}}, "Model 'm': spec.storageUri must be a non-empty string, but got 3"),
        ({"spec": {"storageUri": ""}}, "Model 'm': spec.storageUri must be a non-empty string, but got ''"),
        (
            {"spec": {"storageUri": "x", "requirements": "openai"}},
            "Model 'm': spec.requirements must be a list of non-empty strings, but got 'openai'",
        ),
        (
            {"spec": {"storageUri": "x", "requirements": [1]}},
            "Model 'm': spec.requirements[0] must be a non-empty string, but got 1",
        ),
        (
            {"spec": {"storageUri": "x", "parameters": [{"name": "keep_alive", "value": 5}]}},
            "Model 'm': spec.parameters[0].value must be a string (quote it), but got 5",
        ),
    ],
)
def test_a_malformed_model_is_refused_in_one_sentence(change: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError) as refused:
        Model.from_dict({**MODEL, **change})
    assert str(refused.value) == message


def test_a_file_may_hold_several_manifests(tmp_path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("a: 1\n---\n\n---\nb: 2\n")
    assert load_documents(path) == [{"a": 1}, {"b": 2}]


def test_a_file_of_models_and_servers_is_read_in_order(tmp_path) -> None:
    made = [Model(name="m", storage_uri="models/m"), Server(name="s", capabilities=("a",))]
    path = tmp_path / "two.yaml"
    path.write_text("---\n".join(to_yaml(one.as_dict()) for one in made))
    assert read_manifests(path) == made


def test_a_manifest_that_was_read_travels_as_it_was_written() -> None:
    written = {**MODEL, "spec": {"storageUri": "x", "memory": None, "logger": {"percent": 10}}}
    (model,) = read_manifests(written)
    assert (model, model.document) == (Model(name="m", storage_uri="x"), written)
    assert read_manifests(model)[0] is model
    assert load_documents(model) == [written]


def test_a_changed_model_is_a_generated_one() -> None:
    model = Model.from_dict({**MODEL, "metadata": {"name": "m", "labels": {"a": "b"}}})
    changed = replace(model, name="other")
    assert changed.document == changed.as_dict() == {**MODEL, "metadata": {"name": "other"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "{path} contains no manifest"), ("- a", "{path} must contain mappings, but got ['a']")],
)
def test_a_file_without_a_manifest_is_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as refused:
        read_manifests(path)
    assert str(refused.value) == message.format(path=path)


def test_a_file_that_is_not_yaml_is_refused_with_the_place(tmp_path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: [1")
    with pytest.raises(ManifestError) as refused:
        read_manifests(path)
    assert str(refused.value) == f"cannot read the manifest {path}: line 1, column 6: this is not YAML"


def test_a_mapping_that_contains_itself_is_refused() -> None:
    manifest: dict[str, object] = Model(name="m", storage_uri="models/m").as_dict()
    manifest["spec"] = manifest
    with pytest.raises(ManifestError) as refused:
        read_manifests(manifest)
    assert str(refused.value) == "the manifest of this Model is nested too deeply"


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(ManifestError) as refused:
        read_manifests(tmp_path / "none.yaml")
    assert str(refused.value) == f"cannot read the manifest {tmp_path / 'none.yaml'}: No such file or directory"
