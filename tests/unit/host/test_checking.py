"""What the preflight says of services that start a container themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from containerpkg_host.checking import UnitFinding, check
from containerpkg_host.cli import main
from containerpkg_host.engines import engines

from containerpkg.definitions.service import Service
from containerpkg.units.flavour import Flavour, Version, render_units
from tests.unit.host.simulated import PLAIN, QUADLET, Simulated
from tests.unit.host.simulated_engines import REPOSITORY, kept, layer, pinned, sha

PACKAGE = "probe-container-A-1.x86_64"
RENDERED: list[tuple[Flavour, Version, str, str]] = [
    ("podman", (4, 7), "podman", pinned("A")),
    ("docker", (25, 0), "docker", kept("A")),
    ("docker", (1, 13), "docker-archive-by-id", sha("config A")),
]


@pytest.mark.parametrize(("flavour", "version", "kind", "image"), RENDERED)
def test_our_own_unit_with_options_of_the_administrator(
    tmp_path: Path, flavour: Flavour, version: Version, kind: str, image: str
) -> None:
    site = Simulated(root=tmp_path, kind=kind)
    site.install("A")
    service = {"command": ["serve"], "entrypoint": "/bin/a", "health": {"command": "x"}}
    (unit,) = render_units(
        "probe",
        {"probe": Service.model_validate(service)},
        flavour=flavour,
        engine=version,
        systemd=252,
        summary="Probe",
        package="probe-container",
        repository=REPOSITORY,
        tag="1.0",
        digest=sha("manifest A"),
        image_id=sha("config A"),
        archive="image.tar.zst" if site.archived else None,
    )
    (tmp_path / PLAIN).write_text(unit.text)
    own = "/etc/systemd/system/probe.service.d/own.conf"
    write(tmp_path, own, '[Service]\nEnvironment="CONTAINERPKG_OPTIONS=-p 80:80 --env=A=b"\n')
    (found,) = check(site.host, engines(site.host)).units
    assert found == UnitFinding(
        unit=f"/{PLAIN}",
        dropins=(own,),
        package=PACKAGE,
        image=image,
        digest=sha("manifest A"),
        source="package",
        image_package=PACKAGE,
        running="",
        registry="",
        problems=(),
    )
    site.boot()
    (found,) = check(site.host, engines(site.host)).units
    assert (found.source, found.running) == ("engine+package", sha("manifest A"))


def write(root: Path, path: str, text: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


FOREIGN = {
    "a.service": "ExecStart=/usr/bin/docker run --rm a/b:1",
    "b.service": "ExecStart=docker run --pull=always quay.io/example/probe:1.0",
    "c.service": "ExecStart=podman run --pull=never a/b:1",
    "d.service": "ExecStart=podman run --rm",
    "e.service": "EnvironmentFile=-/etc/e\nExecStart=docker run ${IMAGE}",
    "f.service": "ExecStart=/usr/bin/redis-server",
    "g.service": "ExecStart=docker run --pull=never ${IMAGE}",
}
BESIDE = {
    "/etc/e": "# mine\nIMAGE='quay.io/example/probe:1.0'\n",
    # Another command in place of the one before.
    "/etc/systemd/system/f.service.d/1.conf": "[Service]\nExecStart=\nExecStart=podman run a/b:2\n",
    "/etc/systemd/system/g.service.d/1.conf": "[Service]\nEnvironment=IMAGE=a/b:3\n",
}


def test_quadlets_of_users_are_not_those_of_root_and_links_that_lead_nowhere_are_none(
    tmp_path: Path,
) -> None:
    site = Simulated(root=tmp_path)
    folder = "/etc/containers/systemd"
    text = "[Container]\nImage=quay.io/a/b:1\n"
    for unit in ("users/mine.container", "users/1000/own.container", "team/roots.container"):
        write(tmp_path, f"{folder}/{unit}", text)
    dropins = tmp_path / "etc/containers/systemd/roots.container.d"
    dropins.mkdir()
    (dropins / "gone.conf").symlink_to("/nowhere")
    (found,) = check(site.host, engines(site.host)).units
    assert (found.unit, found.dropins) == (f"{folder}/team/roots.container", ())


def test_services_of_others(tmp_path: Path) -> None:
    site = Simulated(root=tmp_path, kind="docker")
    site.docker.keep("D")
    for name, text in FOREIGN.items():
        write(tmp_path, f"/etc/systemd/system/{name}", f"[Service]\n{text}\n")
    for path, text in BESIDE.items():
        write(tmp_path, path, text)
    report = check(site.host, engines(site.host))
    ours = "quay.io/example/probe:1.0"
    assert [(unit.unit[20:], unit.image, unit.source, unit.digest) for unit in report.units] == [
        ("a.service", "a/b:1", "", ""),
        ("b.service", ours, "engine", sha("config D")),
        ("c.service", "a/b:1", "", ""),
        ("d.service", "", "", ""),
        ("e.service", ours, "engine", sha("config D")),
        ("f.service", "a/b:2", "", ""),
        ("g.service", "a/b:3", "", ""),
    ]
    assert [(unit.registry, *unit.problems) for unit in report.units] == [
        ("docker pulls a/b:1, which is not on this host",),
        (f"docker asks for {ours} at each start (--pull=always)",),
        ("", "the image a/b:1 is not on this host: its start fails"),
        ("", "its command names no image"),
        ("",),
        ("podman pulls a/b:2, which is not on this host",),
        ("", "the image a/b:3 is not on this host: its start fails"),
    ]
    assert not report.ok


@pytest.mark.parametrize("kind", ["podman", "docker", "docker-archive"])
def test_a_container_that_is_not_of_the_installed_image(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Simulated(root=tmp_path, kind=kind)
    site.install("A")
    site.boot()
    site.install("B")
    capsys.readouterr()
    assert main(["check"], site.host) == 1
    old, new = sha("manifest A")[:19], sha("manifest B")[:19]
    assert capsys.readouterr().out.startswith(
        f"BAD /{PLAIN}: {site.runs('B')} from probe-container-B-1.x86_64, running\n"
        f"      the running container is {old} and not {new}: "
        f"'systemctl restart probe' replaces it\n"
    )


def test_an_engine_that_does_not_answer_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Simulated(root=tmp_path, kind="docker")
    site.install("A")
    site.docker.answers = False
    (site.host.blobs / sha("layer A")[7:]).unlink()
    assert main(["check", "--json"], site.host) == 1
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    damaged = (
        f"image probe is damaged: blob {sha('layer A')[:19]} of package {layer('A')} is missing; "
        f"repair it with 'dnf reinstall {layer('A')}'"
    )
    silent = "docker does not answer: 'systemctl start docker.service'"
    assert report["problems"] == [silent, damaged]
    (space,) = report["space"]
    assert (space["folder"], space["needed"], space["enough"]) == ("/var/lib/docker", 36, True)


def test_a_unit_that_quadlet_has_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Simulated(root=tmp_path, kind="quadlet")
    site.install("A")
    site.held = ""
    assert main(["check"], site.host) == 1
    why = (
        "systemd has no probe.service: either 'systemctl daemon-reload' is missing, or the unit or "
        "a drop-in has a mistake, which '/usr/libexec/podman/quadlet -dryrun' tells in its last "
        "lines"
    )
    assert capsys.readouterr().out.startswith(
        f"BAD /{QUADLET}: {pinned('A')} from {PACKAGE}\n      {why}\n"
    )
