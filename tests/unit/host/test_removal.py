"""What is removed from an engine when two packages have brought the same content."""

from __future__ import annotations

from pathlib import Path

import pytest
from containerpkg_host.engine import Container
from containerpkg_host.engines import engines
from containerpkg_host.layout import load_layouts
from containerpkg_host.removal import remove_unowned
from containerpkg_host.running import digest_of, runs
from containerpkg_host.state import Loaded, State

from tests.unit.host.simulated import Simulated
from tests.unit.host.simulated_engines import REFERENCE, REPOSITORY, kept, sha
from tests.unit.host.test_explaining import LAYOUT

OLD = sha("A, with the layers compressed anew")
OLD_KEPT = f"{REPOSITORY}:{OLD.replace(':', '-')}"


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_a_name_of_the_same_image_by_another_manifest_goes_when_it_has_the_new_one(
    tmp_path: Path, kind: str
) -> None:
    site = Simulated(root=tmp_path, kind=kind)
    site.install("A")
    state, image = State(site.host), sha("config A")
    before = Loaded("probe", OLD, image, (OLD_KEPT, REFERENCE), kind, image)
    state.add_loaded(before)

    def pass_() -> list[str]:
        site.calls.clear()
        remove_unowned(site.host, engines(site.host), load_layouts(site.host)[0])
        return site.changes()

    site.engine.keep("A", OLD_KEPT)
    assert pass_() == []
    assert state.loaded() == {OLD: before}
    site.engine.keep("A", kept("A"), REFERENCE)
    assert pass_() == [f"{kind} image rm {OLD_KEPT}"]
    assert state.loaded() == {}
    assert site.engine.images == {"A": {kept("A"), REFERENCE}}


def loaded(digest: str, image_id: str, engine_id: str = "") -> Loaded:
    return Loaded("probe", digest, image_id, (), "docker", engine_id)


TWO = {one.digest: one for one in (loaded("sha256:1", "sha256:c"), loaded("sha256:2", "sha256:c"))}
MADE = {"sha256:1": loaded("sha256:1", "sha256:c", "sha256:e")}


@pytest.mark.parametrize(
    ("digest", "image_id", "known", "found"),
    [
        pytest.param("sha256:2", "sha256:c", TWO, "sha256:2", id="podman knows the manifest"),
        pytest.param("sha256:9", "sha256:c", TWO, "sha256:1", id="podman made a manifest"),
        pytest.param("", "sha256:c", TWO, "sha256:1", id="docker knows the configuration"),
        pytest.param("", "sha256:2", TWO, "sha256:2", id="containerd knows the manifest"),
        pytest.param("", "sha256:e", MADE, "sha256:1", id="containerd made a manifest"),
        pytest.param("sha256:9", "sha256:8", TWO, "sha256:9", id="not ours, in podman"),
        pytest.param("", "sha256:8", TWO, "sha256:8", id="not ours, in docker"),
    ],
)
def test_the_digest_of_a_container(
    digest: str, image_id: str, known: dict[str, Loaded], found: str
) -> None:
    assert digest_of(Container("probe", digest, image_id, running=True), known) == found


@pytest.mark.parametrize(
    ("digest", "image_id", "archive", "same"),
    [
        ("sha256:1", "sha256:2", "", True),
        ("sha256:9", "sha256:2", "", False),  # other bytes of the layers
        ("sha256:9", "sha256:2", "image.tar.gz", True),
        ("sha256:9", "sha256:8", "image.tar.gz", False),
        ("", "sha256:2", "", True),
        ("", "sha256:1", "", True),  # containerd
        ("", "sha256:e", "image.tar.gz", True),
        ("", "sha256:8", "", False),
    ],
)
def test_whether_a_container_is_of_the_installed_image(
    digest: str, image_id: str, archive: str, same: bool
) -> None:
    container = Container("probe", digest, image_id, running=True)
    known = {"sha256:1": loaded("sha256:1", "sha256:2", "sha256:e")}
    assert runs(container, LAYOUT._replace(archive=archive), known) == same
