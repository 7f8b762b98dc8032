"""What a plain unit has done before its engine is told to run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from containerpkg_host import holdback
from containerpkg_host.cli import main
from containerpkg_host.errors import HostProblem
from containerpkg_host.state import Change, Loaded, State

from tests.unit.host.simulated import ARCHIVE, KINDS, Simulated
from tests.unit.host.simulated_engines import REFERENCE, Container, kept, sha

PLAIN_KINDS = [kind for kind in KINDS if not kind.startswith("quadlet")]
START = ["load", "--for", "probe", "probe"]


@pytest.fixture(params=PLAIN_KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Simulated:
    site = Simulated(root=tmp_path, kind=request.param)
    site.install("A")
    return site


def test_a_start_loads_an_image_once_and_remembers_it(
    site: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = site.engine.name
    monkeypatch.setenv("CONTAINERPKG_IMAGE", site.runs("A"))
    load = {
        "podman": f"podman image pull --quiet oci:/usr/share/containerpkg/images/probe:{kept('A')}",
        "podman-archive": f"podman load --quiet --input=/{ARCHIVE}",
        "docker": "docker load --quiet",
        "docker-containerd": "docker load --quiet",
    }.get(site.kind, f"docker load --quiet --input={site.root / ARCHIVE}")
    # A layout that podman pulls comes without the tag for people.
    tagged = [f"podman image tag {sha('config A')} {REFERENCE}"] if site.kind == "podman" else []
    assert main(START, site.host) == 0
    assert site.changes() == [load, *tagged]
    assert site.engine.images == {"A": {kept("A"), REFERENCE}}
    assert State(site.host).loaded() == {
        sha("manifest A"): Loaded(
            "probe",
            sha("manifest A"),
            sha("config A"),
            (kept("A"), REFERENCE),
            tool,
            site.engine.identity("A"),
        )
    }
    site.calls.clear()
    assert main(START, site.host) == 0
    assert site.calls == [
        f"{tool} image inspect {'--format=json ' if tool == 'podman' else ''}{site.runs('A')}",
        *(["docker container inspect probe"] if tool == "docker" else []),
    ]


def test_a_unit_that_is_held_at_another_image_does_without_a_damaged_one(
    site: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(START, site.host) == 0
    site.install("B")
    for path in (*site.host.blobs.glob("*"), *site.host.images.glob("*/*.tar.zst")):
        path.write_text("damaged")
    assert main(START, site.host) == 7
    site.calls.clear()
    for held in (kept("A"), site.engine.identity("A")):
        monkeypatch.setenv("CONTAINERPKG_IMAGE", held)
        assert main(START, site.host) == 0
    monkeypatch.setenv("CONTAINERPKG_IMAGE", "quay.io/administrator/own:1")
    assert main(START, site.host) == 0  # the engine will say that it is not there
    assert site.changes() == []
    assert site.engine.images == {"A": {kept("A"), REFERENCE}}


def test_an_image_under_our_name_that_is_not_ours_is_replaced(tmp_path: Path) -> None:
    site = Simulated(root=tmp_path, kind="docker")
    site.install("A")
    site.docker.keep("D", kept("A"))
    assert main(START, site.host) == 0
    assert site.docker.images == {"D": set(), "A": {kept("A"), REFERENCE}}


def test_what_a_killed_docker_has_left_makes_way_and_a_container_of_others_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Simulated(root=tmp_path, kind="docker")
    site.install("A")
    site.docker.keep("A")
    site.docker.container = Container("A")
    assert main(START, site.host) == 0
    assert site.changes() == ["docker rm --force --volumes probe"]
    assert site.docker.container is None

    site.calls.clear()
    site.docker.container = others = Container("A", label="")
    capsys.readouterr()
    assert main(START, site.host) == 8
    assert (site.changes(), site.docker.container) == ([], others)
    assert capsys.readouterr().err == (
        "containerpkg-host: probe cannot be started: docker has a container 'probe' that is not of "
        "probe.service; rename it ('docker rename probe NAME') or remove it\n"
    )


def test_a_docker_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Simulated(root=tmp_path, kind="docker")
    site.install("A")
    site.docker.answers = False
    assert main(START, site.host) == 8
    assert capsys.readouterr().err == (
        "containerpkg-host: docker does not answer, so the image probe of package probe-container "
        "cannot be loaded: 'systemctl start docker.service'\n"
    )
    assert State(site.host).loaded() == {}


CHANGE = Change("probe", "probe", "example/probe", old=sha("manifest A"), new=sha("manifest C"))
HELD = f"""\
# Written by containerpkg-host: probe did not start with the image that its package brought,
# {sha("manifest C")}.
# It goes with the next version of the image; this one is tried again by
# 'containerpkg-host retry probe'.
[Service]
Environment=CONTAINERPKG_IMAGE={kept("A")}
"""


def test_a_plain_unit_is_held_by_a_dropin_and_that_of_the_administrator_stays(
    tmp_path: Path,
) -> None:
    site = Simulated(root=tmp_path, kind="docker")
    folder = tmp_path / "etc/systemd/system/probe.service.d"
    dropin = folder / "90-containerpkg-rollback.conf"
    assert holdback.write_plain(site.host, CHANGE, kept("A"))
    assert not holdback.write_plain(site.host, CHANGE, kept("A"))
    assert {path.name: path.read_text() for path in folder.iterdir()} == {dropin.name: HELD}
    (folder / "own.conf").write_text("[Service]\n")
    assert holdback.lift(site.host, "probe")
    assert not holdback.lift(site.host, "probe")
    assert [path.name for path in folder.iterdir()] == ["own.conf"]

    (folder / "own.conf").rename(dropin)
    with pytest.raises(HostProblem) as caught:
        holdback.write_plain(site.host, CHANGE, kept("A"))
    assert str(caught.value) == f"{dropin} is not ours, so probe cannot be given its image back"
    assert not holdback.lift(site.host, "probe")
    assert dropin.read_text() == "[Service]\n"
    dropin.unlink()
    assert holdback.write_plain(site.host, CHANGE, kept("A"))
    assert holdback.lift(site.host, "probe")
    assert not folder.exists()
