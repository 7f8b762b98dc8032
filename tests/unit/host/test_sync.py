"""What is done after a transaction, whatever came before and whenever it was cut off."""

from __future__ import annotations

import errno
import itertools
import json
from pathlib import Path

import pytest
from containerpkg_host.cli import main
from containerpkg_host.engines import engines
from containerpkg_host.removal import before_removal
from containerpkg_host.state import State
from containerpkg_host.sync import sync

from tests.unit.host.simulated import (
    ARCHIVE,
    IMAGE,
    KINDS,
    PLAIN,
    QUADLET,
    UNITS,
    Killed,
    Simulated,
    changing,
)
from tests.unit.host.simulated_engines import REFERENCE, kept, layer, pinned, sha

HOME = "/usr/share/containerpkg/images/probe"
DROPIN = "90-containerpkg-rollback.conf"
HOLDS = {
    "quadlet": (
        f"containers/systemd/probe.container.d/{DROPIN}",
        (
            "[Container]\nImage={image}\n\n"
            f"[Service]\nExecStartPost=-/usr/bin/podman tag {{image}} {REFERENCE}\n"
        ),
    ),
    "podman": (
        f"systemd/system/probe.service.d/{DROPIN}",
        "[Service]\nEnvironment=CONTAINERPKG_IMAGE={image}\n",
    ),
    "docker": (
        f"systemd/system/probe.service.d/{DROPIN}",
        "[Service]\nEnvironment=CONTAINERPKG_IMAGE={image}\n",
    ),
}


def run(site: Simulated) -> int:
    site.calls.clear()
    site.aside.clear()
    return sync(site.host, engines(site.host))


def loads(site: Simulated, version: str) -> str:
    """How sync has an image loaded."""
    return {
        "quadlet": "systemctl start probe-image.service",
        "quadlet-archive": "systemctl start probe-image.service",
        "podman": f"podman image pull --quiet oci:{HOME}:{kept(version)}",
        "podman-archive": f"podman load --quiet --input=/{ARCHIVE}",
        "docker": "docker load --quiet",
        "docker-containerd": "docker load --quiet",
    }.get(site.kind, f"docker load --quiet --input={site.root / ARCHIVE}")


def layers(site: Simulated, versions: str) -> set[str]:
    """The layer packages of versions; with archives there are none."""
    return set() if site.archived else set(map(layer, versions))


def make(root: Path, kind: str) -> Simulated:
    """A host that runs version A."""
    site = Simulated(root=root, kind=kind, bad=frozenset("C"))
    site.install("A")
    assert (run(site), site.changes()) == (0, [])  # nobody has started it yet
    site.boot()
    assert (run(site), site.changes(), site.running) == (0, [], "A")
    return site


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Simulated:
    return make(tmp_path, request.param)


def test_an_update_loads_before_it_restarts_and_removes_what_nobody_has(site: Simulated) -> None:
    tool, tag_a = site.engine.name, f"image tag {site.engine.identity('A')} {kept('A')}"
    site.install("B")
    assert run(site) == 0
    assert site.changes() == [
        loads(site, "B"),
        f"{tool} {tag_a}",
        "systemctl restart probe.service",
        f"{tool} image rm {kept('A')}",
    ]
    assert (site.running, site.packages) == ("B", layers(site, "AB"))

    tag_b = f"{tool} image tag {site.engine.identity('B')} {kept('B')}"
    site.install("D")
    assert run(site) == 0
    assert site.changes() == [
        loads(site, "D"),
        tag_b,
        "systemctl restart probe.service",
        f"{tool} image rm {kept('B')}",
        *(f"rpm --erase {package}" for package in layers(site, "A")),
    ]
    assert (site.running, set(site.engine.images)) == ("D", {"D"})
    assert site.packages == layers(site, "BD")
    assert (run(site), site.changes()) == (0, [])


def test_settings_of_the_administrator(site: Simulated) -> None:
    path = site.host.settings_file
    path.parent.mkdir(parents=True)
    path.write_text("# mine\nkeep_previous_layers = no\nrestart_services=no # later\n")
    site.install("B")
    assert run(site) == 0
    erased = [f"rpm --erase {package}" for package in layers(site, "A")]
    assert site.changes() == [loads(site, "B"), *erased]
    assert site.running == "A"


def test_a_version_that_does_not_start_gets_the_one_before_back(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("C")
    assert run(site) == 1
    assert site.changes() == [
        loads(site, "C"),
        f"{site.engine.name} image tag {site.engine.identity('A')} {kept('A')}",
        "systemctl restart probe.service",
        "systemctl daemon-reload",
        "systemctl reset-failed probe.service",
        "systemctl restart probe.service",
    ]
    new, old = sha("manifest C"), sha("manifest A")
    path, setting = HOLDS[site.units]
    assert site.files() == {
        path: f"""\
# Written by containerpkg-host: probe did not start with the image that its package brought,
# {new}.
# It goes with the next version of the image; this one is tried again by
# 'containerpkg-host retry probe'.
{setting.format(image=pinned("A") if site.kind in PINNED else kept("A"))}"""
    }
    assert (
        f"probe does not start with the image {new[:19]} that its package brought "
        f"(Job for probe.service failed); it is given {old[:19]} back\n"
    ) in capsys.readouterr().err
    assert (site.running, set(site.engine.images)) == ("A", {"A", "C"})
    assert (run(site), site.changes()) == (0, [])

    site.bad = frozenset()
    assert main(["retry", "probe"], site.host) == 0
    assert (site.running, site.files(), set(site.engine.images)) == ("C", {}, {"C"})


PINNED = ("quadlet", "podman")
"""Here the engine knows the digest of the manifest."""


def test_the_hold_is_taken_away_by_the_next_version(site: Simulated) -> None:
    site.install("C")
    run(site)
    site.install("D")
    assert run(site) == 0
    assert (site.running, site.files(), set(site.engine.images)) == ("D", {}, {"D"})


def test_a_hold_that_nobody_knows_of_is_taken_away_and_the_image_tried_again(
    site: Simulated,
) -> None:
    site.install("C")
    run(site)
    (site.host.state / "rollbacks/probe.json").write_text("a failing disk")
    assert run(site) == 1
    assert (site.running, len(site.files())) == ("A", 1)
    assert set(State(site.host).rollbacks()) == {"probe"}

    (site.host.state / "rollbacks/probe.json").unlink()
    site.bad = frozenset()
    assert run(site) == 0
    assert (site.running, site.files()) == ("C", {})


def test_an_older_podman_is_held_by_a_copy_of_the_unit(tmp_path: Path) -> None:
    site = make(tmp_path, "quadlet")
    site.podman.version = "4.9.4-rhel"
    site.install("C")
    assert run(site) == 1
    text = site.files()["containers/systemd/probe.container"]
    assert text.endswith(f"\n[Container]\nImage={pinned('A')}\nPull=never\n")
    assert site.running == "A"

    # The copy is no unit of somebody's that would stay: not even if the runtime goes as well.
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    site.remove()
    (site.root / "run/systemd/system").mkdir(parents=True)
    assert main(["leave"], site.host) == 0
    assert (site.packages, list(site.host.state.iterdir())) == (set(), [])
    assert (site.files(), site.podman.images, site.podman.container) == ({}, {}, None)


@pytest.mark.parametrize("version", ["B", "C"])
@pytest.mark.parametrize("boot", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("kind", [*UNITS, "podman-archive"])
def test_a_run_that_is_cut_off_anywhere_is_finished_by_the_next(
    tmp_path: Path, kind: str, version: str, boot: bool
) -> None:
    for last in itertools.count():
        site = make(tmp_path / str(last), kind)
        site.install(version)
        site.calls.clear()
        site.die_at = last
        try:
            sync(site.host, engines(site.host))
        except Killed:
            site.die_at = -1
        else:
            break
        if boot:
            site.boot()
        run(site)
        wanted = "A" if version == "C" else version
        assert site.running == wanted, site.calls
        assert bool(site.files()) == (version == "C")
        assert not site.host.state.joinpath("upgrades/probe.json").exists()
        assert set(site.engine.images) == {wanted, version}
    assert last > 10


def test_a_host_that_goes_down_during_a_restart_goes_on_at_its_next_boot(site: Simulated) -> None:
    site.install("B")
    site.canceled, site.system = True, "stopping"
    assert run(site) == 0
    site.canceled, site.system = False, "running"
    site.boot()
    assert run(site) == 0
    assert (site.running, site.files(), set(site.engine.images)) == ("B", {}, {"B"})


def test_a_service_that_is_stopped_during_its_restart_stays_so(site: Simulated) -> None:
    site.install("B")
    site.canceled = True
    assert run(site) == 1
    site.canceled = False
    assert run(site) == 0
    assert (site.unit, site.files()) == ("inactive", {})


def test_a_service_that_failed_when_it_was_stopped_stays_so(site: Simulated) -> None:
    # What does not end at SIGTERM has failed for systemd, be it an administrator who stopped it.
    site.end()
    site.unit, site.started = "failed", 1
    site.install("B")
    assert run(site) == 0
    assert [call for call in site.changes() if "probe.service" in call] == []
    assert (site.unit, site.files()) == ("failed", {})


def test_removal_stops_what_runs_and_leaves_nothing(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    site.calls.clear()
    capsys.readouterr()
    before_removal(site.host, engines(site.host), [f"/{IMAGE}", f"{HOME}/oci-layout"])
    plain = site.units != "quadlet"
    assert site.changes() == [
        "systemctl stop probe.service",
        *(["systemctl --quiet --no-reload disable probe.service"] if plain else []),
    ]
    name = site.engine.name
    assert capsys.readouterr().err == (
        f"containerpkg-host: the data of probe-container stays in {name}, in the volume "
        f"probe-data; '{name} volume rm probe-data' removes it for good\n"
    )
    site.remove()
    assert run(site) == 0
    assert (site.unit, site.enabled) == ("inactive", False)
    assert (site.engine.images, site.packages, site.files()) == ({}, set(), {})
    kinds = ("loaded", "images", "presets", "upgrades", "rollbacks")
    assert [path for kind in kinds for path in (site.host.state / kind).glob("*")] == []


def test_the_removal_of_our_own_package_leaves_nothing_but_what_is_installed(
    site: Simulated,
) -> None:
    (site.root / "run/systemd/system").mkdir(parents=True)
    site.calls.clear()
    assert main(["leave"], site.host) == 0
    assert site.changes() == ["systemctl stop containerpkg-sync.service"]
    assert (site.running, set(site.engine.images)) == ("A", {"A"})

    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    site.remove()
    site.calls.clear()
    assert main(["leave"], site.host) == 0
    erased = [call for call in site.changes() if "containerpkg-leave" in call]
    assert [call.split()[-1] for call in erased] == list(layers(site, "A"))
    assert site.engine.images == {}
    assert list(site.host.state.iterdir()) == []


def test_the_removal_of_one_of_two_versions_interrupts_only(site: Simulated) -> None:
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    assert (site.unit, site.enabled) == ("inactive", False)
    assert run(site) == 0
    assert (site.unit, site.running) == ("active", "A")
    assert site.enabled == (site.units != "quadlet")
    assert (run(site), site.changes()) == (0, [])


@pytest.mark.parametrize("ran", [True, False])
def test_a_removal_that_is_an_update_stops_nothing(site: Simulated, ran: bool) -> None:
    site.install("B")
    if not ran:  # an administrator has masked containerpkg-sync, for one
        (site.host.state / "images/probe.json").unlink()
        site.replaced = True
    site.calls.clear()
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    assert site.changes() == []


def test_a_removal_that_no_run_was_before_stops_what_runs(site: Simulated) -> None:
    (site.host.state / "images/probe.json").unlink()
    site.calls.clear()
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    assert (site.changes()[0], site.unit) == ("systemctl stop probe.service", "inactive")
    site.remove()
    assert run(site) == 0
    site.install("B")
    assert (run(site), site.unit) == (0, "inactive")


def test_a_full_disk_keeps_no_service_from_being_stopped(
    site: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("containerpkg_host.state.write_whole", full)
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    assert (site.unit, site.enabled) == ("inactive", False)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"name": 1, "service": 1}', "not JSON"])
def test_what_no_run_has_written_is_forgotten(site: Simulated, text: str) -> None:
    kinds = ("loaded", "images", "presets", "upgrades", "rollbacks")
    for kind in kinds:
        (site.host.state / kind).mkdir(exist_ok=True)
        (site.host.state / kind / "odd.json").write_text(text)
    assert (run(site), site.changes(), site.running) == (0, [], "A")
    assert [path for kind in kinds for path in (site.host.state / kind).glob("odd.json")] == []


def test_what_a_newer_runtime_has_written_is_understood(site: Simulated) -> None:
    site.install("C")
    run(site)
    for path in site.host.state.glob("*/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "newer": 1}))
    assert (run(site), site.changes(), len(site.files())) == (0, [], 1)


def test_images_that_cannot_be_removed_with_the_runtime_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make(tmp_path, "docker")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    site.remove()
    site.docker.answers = False
    capsys.readouterr()
    assert main(["leave"], site.host) == 0
    assert capsys.readouterr().err == (
        f"containerpkg-host: image probe {sha('manifest A')[:19]} may stay in docker: "
        f"'docker image rm {kept('A')} {REFERENCE}' removes it\n"
    )


@pytest.mark.parametrize("preset", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_presets_are_applied_once_in_the_life_of_a_package(
    tmp_path: Path, kind: str, preset: bool
) -> None:
    site = Simulated(root=tmp_path, kind=kind, preset=preset)
    plain = site.units != "quadlet"
    site.install("A")
    assert changing(site.aside) == (["systemctl --quiet preset probe.service"] if plain else [])
    assert site.enabled == (plain and preset)
    assert (run(site), site.changes()) == (0, [])

    site.enabled = chosen = plain and not preset  # the administrator has another mind
    site.install("B")
    assert (run(site), site.changes(), site.enabled) == (0, [], chosen)

    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    site.remove()
    run(site)
    site.install("B")
    assert site.enabled == (plain and preset)


def test_a_damaged_image_is_not_loaded_and_what_runs_goes_on(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("B")
    if site.archived:
        path, package = site.root / ARCHIVE, "probe-container"
        name = f"file {path}"
    else:
        blob, package = sha("layer B"), layer("B")
        path, name = site.host.blobs / blob[7:], f"blob {blob[:19]}"
    path.write_text("Layer B")
    assert run(site) == 1
    assert site.changes() == []
    assert site.running == "A"
    assert capsys.readouterr().err.endswith(
        f"image probe is damaged: {name} of package {package} has the content "
        f"{sha('Layer B')[:19]}; repair it with 'dnf reinstall {package}'; what runs goes on with "
        f"the image before\n"
    )


def test_the_image_of_the_administrator_is_left_alone(site: Simulated) -> None:
    name, setting = HOLDS[site.units]
    path = site.root / "etc" / name
    path.parent.mkdir(parents=True)
    path.write_text(setting.format(image=site.runs("A")))
    site.install("B")
    assert run(site) == 0
    assert site.changes() == [loads(site, "B")]
    assert site.running == "A"


def test_what_docker_has_is_not_forgotten_while_it_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make(tmp_path, "docker")
    site.end()
    before_removal(site.host, engines(site.host), [f"/{IMAGE}"])
    site.remove()
    site.docker.answers = False
    assert (run(site), site.changes()) == (
        0,
        ["systemctl reset-failed probe.service", f"rpm --erase {layer('A')}"],
    )
    assert set(site.docker.images) == {"A"}
    site.docker.answers = True
    assert (run(site), site.changes()) == (
        0,
        [f"docker image rm {kept('A')}", f"docker image rm {REFERENCE}"],
    )
    assert site.docker.images == {}


def test_an_update_while_docker_is_stopped_is_up_to_the_next_start(tmp_path: Path) -> None:
    site = make(tmp_path, "docker")
    site.end()
    site.docker.answers = False
    site.install("B")
    assert (run(site), site.changes()) == (0, [])
    assert set(site.docker.images) == {"A"}
    site.docker.answers = True
    site.boot()
    assert (run(site), site.changes()) == (0, [f"docker image rm {kept('A')}"])
    assert (site.running, set(site.docker.images)) == ("B", {"B"})


def test_check_tells_of_a_service_that_is_held_back(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--json"], site.host) == 0
    file = QUADLET if site.units == "quadlet" else PLAIN
    unit = {
        "unit": f"/{file}",
        "dropins": [],
        "package": "probe-container-A-1.x86_64",
        "image": site.runs("A"),
        "digest": sha("manifest A"),
        "source": "engine+package",
        "image_package": "probe-container-A-1.x86_64",
        "running": sha("manifest A"),
        "registry": "",
        "problems": [],
    }
    report = {"ok": True, "units": [unit], "space": [], "rollbacks": [], "problems": []}
    assert json.loads(capsys.readouterr().out) == report

    site.install("C")
    run(site)
    capsys.readouterr()
    assert main(["check"], site.host) == 1
    old, new = sha("manifest A")[:19], sha("manifest C")[:19]
    image = pinned("A") if site.kind in PINNED else kept("A")
    assert capsys.readouterr().out == (
        f"ok  /{file}: {image} from engine, running\n"
        f"BAD probe.service: runs {old}, its package has {new}, which did not start\n"
        f"      'containerpkg-host retry probe' tries it again\n"
        f"something has to be looked at\n"
    )
