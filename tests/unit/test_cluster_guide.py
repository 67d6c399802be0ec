"""docs/cluster.md: its manifests are valid, its commands print them, and its links lead to files and headings."""

import re
from typing import Any

import pytest
import yaml

from llm_streaming.manifests import Model, Server, read_manifests, to_yaml
from llm_streaming.paths import project_root
from tests.support import dockerfile
from tests.support.documents import code_blocks

GUIDE = project_root() / "docs" / "cluster.md"
TEXT = GUIDE.read_text()
BLOCKS = code_blocks(TEXT, "yaml")
MANIFESTS = [document for block in BLOCKS for document in yaml.safe_load_all(block)]
KINDS = {"Model": Model, "Server": Server}


def test_the_guide_shows_the_resources_that_a_cluster_needs() -> None:
    assert [one["kind"] for one in MANIFESTS] == [
        "Cluster", "IPAddressPool", "L2Advertisement", "Server", "Server", "Model", "Server", "PodMonitor"
    ]  # fmt: skip


@pytest.mark.parametrize("manifest", [one for one in MANIFESTS if one["kind"] in KINDS], ids=lambda one: one["kind"])
def test_every_manifest_has_only_fields_that_there_are(manifest: dict[str, Any]) -> None:
    (found,) = read_manifests(manifest)
    assert (type(found), found.name) == (KINDS[manifest["kind"]], manifest["metadata"]["name"])


def test_the_servers_are_what_the_commands_before_them_print() -> None:
    api = Server.of_runtime("api", name="api", image="llm-streaming-api:0.1.0", secret="openai")
    assert to_yaml(api.as_dict()) in BLOCKS
    local = Server.of_runtime("local", name="local", image="llm-streaming-local:0.1.0", memory="2Gi")
    shown = [Server.from_dict(one) for one in MANIFESTS if one.get("metadata") == {"name": "local"}]
    assert shown == [local]


def test_every_image_of_the_dockerfile_is_in_the_guide() -> None:
    stages = dockerfile.read(project_root() / "Dockerfile")
    targets = [name for name, stage in stages.items() if stage.base == "server"]
    table = TEXT.partition("## Images")[2].partition("## The key")[0]
    assert re.findall(r"^\| `([a-z-]+)` \| ", table, re.MULTILINE) == targets
    assert set(re.findall(r"--target ((?!kubernetes)[a-z-]+)", TEXT)) == set(targets)


def test_every_link_leads_to_a_file_or_a_heading() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)}
    assert links
    assert [one for one in links if one.startswith("#") and one[1:] not in anchors] == []
    assert [one for one in links if one[0] != "#" and not (GUIDE.parent / one.partition("#")[0]).exists()] == []
