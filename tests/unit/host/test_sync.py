"""What is done after a transaction, whatever came before and whenever it was cut off."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from containerpkg_host.cli import main
from containerpkg_host.engines import engines
from containerpkg_host.removal import before_removal
from containerpkg_host.sync import sync

from tests.unit.host.simulated import Killed, Simulated, kept, layer, pinned, sha

DROPIN = "containers/systemd/probe.container.d/90-containerpkg-rollback.conf"
IMAGE = "/usr/share/containerpkg/images/probe/image.json"


def run(site: Simulated) -> int:
    site.calls.clear()
    return sync(site.host, engines(site.host))


@pytest.fixture
def site(tmp_path: Path) -> Simulated:
    """A host that runs version A."""
    site = Simulated(root=tmp_path, bad=frozenset("C"))
    site.install("A")
    run(site)
    assert site.changes() == []  # nobody has started it yet
    main(["verify", "probe"], site.host)
    site.boot()
    return site


def test_an_update_loads_before_it_restarts_and_removes_what_nobody_has(site: Simulated) -> None:
    site.install("B")
    assert run(site) == 0
    assert site.changes() == [
        "systemctl start probe-image.service",
        f"podman image tag {sha('config A')} {kept('A')}",
        "systemctl restart probe.service",
        f"podman image rm {kept('A')}",
    ]
    assert (site.running, site.packages) == ("B", {layer("A"), layer("B")})

    site.install("D")
    assert run(site) == 0
    assert site.changes()[-1] == f"rpm --erase {layer('A')}"
    assert (site.running, set(site.engine)) == ("D", {"D"})
    assert site.packages == {layer("B"), layer("D")}
    assert (run(site), site.changes()) == (0, [])


def test_settings_of_the_administrator(site: Simulated) -> None:
    path = site.host.settings_file
    path.parent.mkdir(parents=True)
    path.write_text("# mine\nkeep_previous_layers = no\nrestart_services=no # later\n")
    site.install("B")
    assert run(site) == 0
    assert site.changes() == [
        "systemctl start probe-image.service",
        f"rpm --erase {layer('A')}",
    ]
    assert site.running == "A"


def test_a_version_that_does_not_start_gets_the_one_before_back(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("C")
    assert run(site) == 1
    assert site.changes() == [
        "systemctl start probe-image.service",
        f"podman image tag {sha('config A')} {kept('A')}",
        "systemctl restart probe.service",
        "systemctl daemon-reload",
        "systemctl reset-failed probe.service",
        "systemctl restart probe.service",
    ]
    new, old = sha("manifest C"), sha("manifest A")
    assert site.files() == {
        DROPIN: f"""\
# Written by containerpkg-host: probe did not start with the image that its package brought,
# {new}.
# It goes with the next version of the image; this one is tried again by
# 'containerpkg-host retry probe'.
[Container]
Image={pinned("A")}
"""
    }
    assert (
        f"probe does not start with the image {new[:19]} that its package brought "
        f"(Job for probe.service failed); it is given {old[:19]} back\n"
    ) in capsys.readouterr().err
    assert (site.running, set(site.engine)) == ("A", {"A", "C"})
    assert (run(site), site.changes()) == (0, [])

    site.bad = frozenset()
    assert main(["retry", "probe"], site.host) == 0
    assert (site.running, site.files(), set(site.engine)) == ("C", {}, {"C"})


def test_the_hold_is_taken_away_by_the_next_version(site: Simulated) -> None:
    site.install("C")
    run(site)
    site.install("D")
    assert run(site) == 0
    assert (site.running, site.files(), set(site.engine)) == ("D", {}, {"D"})


def test_an_older_podman_is_held_by_a_copy_of_the_unit(site: Simulated) -> None:
    site.podman = "4.9.4-rhel"
    site.install("C")
    assert run(site) == 1
    text = site.files()["containers/systemd/probe.container"]
    assert text.endswith(f"\n[Container]\nImage={pinned('A')}\nPull=never\n")
    assert site.running == "A"


@pytest.mark.parametrize("version", ["B", "C"])
@pytest.mark.parametrize("boot", [False, True], ids=["killed", "power cut"])
def test_a_run_that_is_cut_off_anywhere_is_finished_by_the_next(
    tmp_path: Path, version: str, boot: bool
) -> None:
    for last in itertools.count():
        site = Simulated(root=tmp_path / str(last), bad=frozenset("C"))
        site.install("A")
        main(["verify", "probe"], site.host)
        site.boot()
        run(site)
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
    assert last > 10


def test_a_host_that_goes_down_during_a_restart_goes_on_at_its_next_boot(site: Simulated) -> None:
    site.install("B")
    site.canceled, site.system = True, "stopping"
    assert run(site) == 0
    site.canceled, site.system = False, "running"
    site.boot()
    assert run(site) == 0
    assert (site.running, site.files(), set(site.engine)) == ("B", {}, {"B"})


def test_a_service_that_is_stopped_during_its_restart_stays_so(site: Simulated) -> None:
    site.install("B")
    site.canceled = True
    assert run(site) == 1
    site.canceled = False
    assert run(site) == 0
    assert (site.unit, site.files()) == ("inactive", {})


def test_removal_stops_what_runs_and_leaves_nothing(site: Simulated) -> None:
    run(site)
    site.calls.clear()
    before_removal(site.host, [IMAGE, "/usr/share/containerpkg/images/probe/oci-layout"])
    assert site.changes() == ["systemctl stop probe.service"]
    site.remove()
    assert run(site) == 0
    assert (site.unit, site.engine, site.packages) == ("inactive", {}, set())
    assert list((site.host.state / "loaded").iterdir()) == []
    assert list((site.host.state / "images").iterdir()) == []


def test_the_removal_of_one_of_two_versions_interrupts_only(site: Simulated) -> None:
    run(site)
    before_removal(site.host, [IMAGE])
    assert site.unit == "inactive"
    assert run(site) == 0
    assert (site.unit, site.running) == ("active", "A")


def test_a_removal_that_is_an_update_stops_nothing(site: Simulated) -> None:
    run(site)
    site.install("B")
    site.calls.clear()
    before_removal(site.host, [IMAGE])
    assert site.changes() == []


def test_a_damaged_image_is_not_loaded_and_what_runs_goes_on(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("B")
    blob = sha("layer B")
    (site.host.blobs / blob[7:]).write_text("Layer B")
    assert run(site) == 1
    assert site.changes() == []
    assert site.running == "A"
    found = sha("Layer B")[:19]
    assert capsys.readouterr().err.endswith(
        f"image probe is damaged: blob {blob[:19]} of package {layer('B')} has the content "
        f"{found}; repair it with 'dnf reinstall {layer('B')}'\n"
    )


def test_the_image_of_the_administrator_is_left_alone(site: Simulated) -> None:
    path = site.root / "etc/containers/systemd/probe.container.d/90-containerpkg-rollback.conf"
    path.parent.mkdir(parents=True)
    path.write_text(f"[Container]\nImage={pinned('A')}\n")
    site.install("B")
    assert run(site) == 0
    assert "systemctl restart probe.service" not in site.changes()
    assert site.running == "A"


def test_check_tells_of_a_service_that_is_held_back(
    site: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--json"], site.host) == 0
    unit = {
        "unit": "/usr/share/containers/systemd/probe.container",
        "dropins": [],
        "package": "probe-container-A-1.x86_64",
        "image": pinned("A"),
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
    assert capsys.readouterr().out == (
        f"ok  /usr/share/containers/systemd/probe.container: {pinned('A')} from engine, running\n"
        f"BAD probe.service: runs {old}, its package has {new}, which did not start\n"
        f"      'containerpkg-host retry probe' tries it again\n"
        f"something has to be looked at\n"
    )
