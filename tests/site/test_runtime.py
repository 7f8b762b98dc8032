"""What containerpkg-runtime does when packages of images come, change and go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.repository.metadata import PACKAGES, publish_metadata
from containerpkg.store.content import ContentStore, StoredImage
from tests.site.host import Host, new_host
from tests.site.probe import REPOSITORY, build_packages, build_runtime, store_image
from tests.site.transactions import dnf, settle, use_repository
from tests.site.tree import cache_folder

_SERVICE: Mapping[str, object] = {
    "command": ["sh", "-c", 'trap exit TERM; echo "$NAME" >>/data/started; sleep 9999 & wait'],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "volumes": {"probe-data": "/data"},
    # What is called bad never becomes healthy, and does not say so before it has no time left.
    "health": {"command": 'test "$NAME" != bad || sleep 9'},
    "start_timeout": "8s",
    "stop_timeout": "1s",
}

_STARTED = "/var/lib/containers/storage/volumes/probe-data/_data/started"


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A repository that the host installs from, and what is put into it."""

    folder: Path
    store: ContentStore

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    def publish(self, stamp: str, name: str) -> StoredImage:
        """One more release of the package, whose image has ``NAME=name``."""
        stored = store_image(self.store, name, ballast=3 << 19)
        packages = self.repository / PACKAGES
        build_packages(self.folder, packages, self.store, stored, _SERVICE, stamp)
        publish_metadata(self.repository)
        return stored


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    channel = Channel(folder=tmp_path, store=ContentStore(tmp_path / "store", Layers()))
    build_runtime(tmp_path, channel.repository / PACKAGES)
    return channel


@pytest.fixture
def offline(tree: Path, channel: Channel) -> Iterator[Host]:
    channel.repository.mkdir(exist_ok=True)
    with new_host(tree, cache_folder(), binds={channel.repository: "/srv/repo"}) as host:
        host.boot()
        use_repository(host)
        yield host


def _running(host: Host) -> str:
    """The manifest digest of the running container."""
    argv = ["podman", "inspect", "--format={{.ImageDigest}}", "probe"]
    return host.run(*argv, check=False).stdout.strip()


def _images(host: Host) -> set[str]:
    argv = ["podman", "images", "--all", "--format={{.Digest}}"]
    return set(host.run(*argv).stdout.split())


def _layers(host: Host) -> set[str]:
    return set(host.run("rpm", "-qa", "--queryformat=%{NAME}\n", "oci-layer-*").stdout.split())


def _layers_of(stored: StoredImage) -> set[str]:
    return {f"oci-layer-{stored.layers[-1].blob.digest[7:23]}"}


def _started(host: Host) -> list[str]:
    return host.path(_STARTED).read_text().split()


def _check(host: Host) -> tuple[int, dict[str, object]]:
    done = host.run("containerpkg-host", "check", "--json", check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(600)
def test_a_service_from_install_to_removal_with_an_update_that_fails(
    offline: Host, channel: Channel
) -> None:
    host = offline
    first = channel.publish("1", "first")
    dnf(host, "install", "probe-container")
    assert host.run("rpm", "--verify", "containerpkg-runtime", "probe-container").stdout == ""
    # No daemon-reload: the trigger did it.
    host.run("systemctl", "start", "probe")
    assert _running(host) == first.manifest.digest
    status, report = _check(host)
    assert (status, report["ok"]) == (0, True)
    assert [(u["unit"], u["source"], u["running"]) for u in report["units"]] == [
        ("/usr/share/containers/systemd/probe.image", "engine+package", ""),
        (
            "/usr/share/containers/systemd/probe.container",
            "engine+package",
            first.manifest.digest,
        ),
    ]

    # An update restarts what runs, and the image before goes.
    second = channel.publish("2", "second")
    dnf(host, "upgrade")
    assert _running(host) == second.manifest.digest
    assert _started(host) == ["first", "second"]
    assert _images(host) == {second.manifest.digest}
    assert _layers(host) == _layers_of(first) | _layers_of(second)
    assert _check(host)[0] == 0

    # An image that does not become healthy: the one before is put back, and it is said.
    bad = channel.publish("3", "bad")
    dnf(host, "upgrade")
    assert _running(host) == second.manifest.digest
    assert host.run("systemctl", "is-active", "probe").stdout == "active\n"
    assert _started(host)[:3] == ["first", "second", "bad"]
    assert _started(host)[-1] == "second"
    said = f"probe does not start with the image {bad.manifest.digest[:19]}"
    assert said in host.journal("probe")
    assert host.run("systemctl", "is-failed", "containerpkg-sync").stdout == "failed\n"
    status, report = _check(host)
    assert status == 1
    assert report["rollbacks"] == [
        {
            "service": "probe",
            "image": "probe",
            "repository": REPOSITORY,
            "old": second.manifest.digest,
            "new": bad.manifest.digest,
        }
    ]

    # It stays so over a restart of the host, and another run changes nothing.
    host.reboot()
    settle(host)
    assert _running(host) == second.manifest.digest
    host.run("systemctl", "start", "containerpkg-sync")
    assert _running(host) == second.manifest.digest

    # A downgrade needs nothing that is not here; then the next update takes the hold away.
    dnf(host, "downgrade", "probe-container")
    assert _running(host) == second.manifest.digest
    assert _check(host)[0] == 0
    fourth = channel.publish("4", "fourth")
    dnf(host, "upgrade")
    assert _running(host) == fourth.manifest.digest
    assert _images(host) == {fourth.manifest.digest}
    assert _layers(host) == _layers_of(second) | _layers_of(fourth)
    assert not host.path("/etc/containers/systemd/probe.container.d").exists()

    # Removed while it runs.
    dnf(host, "remove", "probe-container")
    assert host.run("podman", "ps", "--all", "--quiet").stdout == ""
    assert _images(host) == set()
    assert host.run("podman", "volume", "ls", "--quiet").stdout == "probe-data\n"
    # The runtime went in the same transaction; what only it kept goes after it.
    query = ["rpm", "-qa", "--queryformat=%{NAME}\n"]
    host.wait_for(
        lambda: host.run(*query).stdout == "distribution-stand-in\n", "removal of every layer"
    )
    assert host.run("systemctl", "--failed", "--quiet").stdout == ""
    for gone in ("/usr/share/containerpkg", "/var/lib/containerpkg", "/etc/containerpkg"):
        assert not host.path(gone).exists()


@pytest.mark.timeout(300)
def test_a_damaged_blob_stops_the_start_until_it_is_repaired(
    offline: Host, channel: Channel
) -> None:
    host = offline
    stored = channel.publish("1", "first")
    dnf(host, "install", "probe-container")
    blob = stored.layers[-1].blob.digest
    path = f"/usr/share/containerpkg/blobs/sha256/{blob[7:]}"
    host.run("sh", "-c", f"printf x | dd of={path} bs=1 seek=1000 conv=notrunc")

    assert host.run("systemctl", "start", "probe", check=False).returncode == 1
    package = f"oci-layer-{blob[7:23]}"
    said = host.journal("probe-image")
    assert f"blob {blob[:19]} of package {package} has the content" in said
    assert f"repair it with 'dnf reinstall {package}'" in said
    assert _images(host) == set()
    assert _check(host)[0] == 1

    host.run("rm", path)
    assert host.run("containerpkg-host", "verify", "probe", check=False).returncode == 7
    dnf(host, "reinstall", package)
    host.run("systemctl", "start", "probe")
    assert _running(host) == stored.manifest.digest


@pytest.mark.timeout(300)
def test_nothing_happens_in_a_chroot_and_the_first_boot_makes_it_good(
    offline: Host, channel: Channel
) -> None:
    host = offline
    stored = channel.publish("1", "first")
    # The host's own files, seen where no systemd is.
    host.run("sh", "-c", "mkdir /srv/root && mount --bind / /srv/root")
    for place in ("/dev", "/proc", "/srv/repo"):
        host.run("mount", "--bind", place, f"/srv/root{place}")
    argv = ["chroot", "/srv/root", "dnf", "--assumeyes", "install", "probe-container"]
    printed = host.run(*argv)
    assert "containerpkg-host" not in printed.stdout + printed.stderr
    assert host.run("systemctl", "cat", "probe", check=False).returncode == 1
    # Quadlet's units have no state that presets could say.
    assert host.run("find", "/var/lib/containerpkg", "-type", "f").stdout == ""
    host.run("umount", "--recursive", "/srv/root")

    host.reboot()
    settle(host)
    assert host.run("systemctl", "is-system-running").stdout == "running\n"
    assert _running(host) == stored.manifest.digest


# Kills dnf as soon as the new version's files are there: rpm has not noted them yet.
_KILLER = """
until grep --quiet {digest} /usr/share/containerpkg/images/probe/image.json; do :; done
kill -9 {process}
"""


@pytest.mark.timeout(300)
def test_a_transaction_that_is_cut_off_is_ended_by_the_next(
    offline: Host, channel: Channel
) -> None:
    host = offline
    first = channel.publish("1", "first")
    dnf(host, "install", "probe-container")
    host.run("systemctl", "start", "probe")
    second = channel.publish("2", "second")
    upgrade = f"(sh -c '{_KILLER}') & exec dnf --assumeyes upgrade"
    script = upgrade.format(digest=second.manifest.digest, process="$PPID")
    assert host.run("sh", "-c", script, check=False).returncode == -9
    assert _running(host) == first.manifest.digest
    # And then the power goes as well.
    host.run("sync")
    host.kill()
    host.boot()
    settle(host)
    # As the documentation says: rpm may have noted the new version and not that the old one went.
    dnf(host, "upgrade")
    dnf(host, "remove", "--duplicates")
    assert host.run("systemctl", "is-active", "probe").stdout == "active\n"
    assert _running(host) == second.manifest.digest
    assert _images(host) == {second.manifest.digest}
    assert _layers(host) == _layers_of(first) | _layers_of(second)
    assert _check(host)[0] == 0
    verified = ["containerpkg-runtime", "probe-container", *_layers(host)]
    assert host.run("rpm", "--verify", *verified).stdout == ""


@pytest.mark.timeout(300)
def test_what_comes_at_the_last_moment_of_a_run_is_not_lost(
    offline: Host, channel: Channel
) -> None:
    host = offline
    channel.publish("1", "first")
    dnf(host, "install", "probe-container")
    host.run("systemctl", "start", "probe")
    # A run that has nothing more to look at and has not ended yet.
    program = "/usr/libexec/containerpkg/containerpkg-host sync"
    wait = "until test -e /run/dnf-has-ended; do sleep 0.1; done"
    folder = host.path("/run/systemd/system/containerpkg-sync.service.d")
    folder.mkdir(parents=True)
    (folder / "slow.conf").write_text(
        f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{program}; touch /run/looked; {wait}'\n"
    )
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "--no-block", "containerpkg-sync")
    host.wait_for(host.path("/run/looked").exists, "end of a run")
    second = channel.publish("2", "second")
    host.run("dnf", "--assumeyes", "upgrade")
    host.run("touch", "/run/dnf-has-ended")
    host.wait_for(lambda: _running(host) == second.manifest.digest, "the update")


@pytest.mark.timeout(300)
def test_removal_where_no_run_has_ever_been(offline: Host, channel: Channel) -> None:
    host = offline
    channel.publish("1", "first")
    host.run("systemctl", "mask", "containerpkg-sync")
    host.run("dnf", "--assumeyes", "install", "probe-container")
    host.run("systemctl", "start", "probe")
    channel.publish("2", "second")
    started = _started(host)
    host.run("dnf", "--assumeyes", "upgrade")
    assert host.run("systemctl", "is-active", "probe").stdout == "active\n"
    assert _started(host) == started
    host.run("dnf", "--assumeyes", "remove", "probe-container")
    assert host.run("systemctl", "--failed", "--quiet").stdout == ""
    assert host.run("podman", "ps", "--all", "--quiet").stdout == ""
    assert _images(host) == set()


@pytest.mark.timeout(300)
def test_power_cut_while_a_new_version_is_tried(offline: Host, channel: Channel) -> None:
    host = offline
    first = channel.publish("1", "first")
    dnf(host, "install", "probe-container")
    host.run("systemctl", "start", "probe")
    bad = channel.publish("2", "bad")
    host.run("dnf", "--assumeyes", "upgrade")
    host.wait_for(lambda: "bad" in _started(host), "start of the new version")
    host.run("sync")
    host.kill()
    host.boot()
    settle(host)
    assert _running(host) == first.manifest.digest
    assert _check(host)[1]["rollbacks"] == [
        {
            "service": "probe",
            "image": "probe",
            "repository": REPOSITORY,
            "old": first.manifest.digest,
            "new": bad.manifest.digest,
        }
    ]
    assert "it is given" in host.journal("containerpkg-sync")
