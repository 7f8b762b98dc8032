"""What goes wrong on a host while an image is loaded, and that the next start makes it good.

The image is large enough that its load can be halted half way: the processes that load it are
frozen when part of a file has been unpacked, so that each test knows what it has cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.repository.metadata import PACKAGES, publish_metadata
from containerpkg.store.content import ContentStore, StoredImage
from tests.site.host import Host, new_host
from tests.site.probe import build_packages, build_runtime, store_image
from tests.site.tree import cache_folder

_BALLAST = 128 << 20

_REPO_FILE = """\
[containerpkg]
name=Container packages
baseurl=file:///srv/repo
gpgcheck=0
"""

_SERVICE: Mapping[str, object] = {
    "command": ["sh", "-c", "trap exit TERM; sleep 9999 & wait"],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "health": {"command": "true"},
    "start_timeout": "120s",
    "stop_timeout": "1s",
}


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """How a target's units load an image."""

    target: str
    loader: str
    """The service whose processes write to the engine's storage."""

    program: str
    """The one of them that unpacks."""

    storage: str
    work: str
    """Where blobs are put before they are unpacked."""


QUADLET = Flavour(
    target="el9",
    loader="probe-image",
    program="podman",
    storage="/var/lib/containers/storage",
    work="/var/tmp",
)

FLAVOURS = (QUADLET,)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A host that has the package of the image in its repository, and what is known of it."""

    host: Host
    flavour: Flavour
    stored: StoredImage

    def running(self, service: str = "probe") -> str:
        """The manifest digest that the container of ``service`` was started from."""
        argv = ["podman", "inspect", "--format={{.ImageDigest}}", service]
        return self.host.run(*argv, check=False).stdout.strip()

    def images(self) -> set[str]:
        argv = ["podman", "images", "--all", "--format={{.Digest}}"]
        return set(self.host.run(*argv).stdout.split())

    def loads(self) -> int:
        """How many images podman has copied to its storage since the host was made."""
        argv = ["podman", "events", "--stream=false", "--since=1h", "--filter=event=pull"]
        names = self.host.run(*argv, "--format={{.Name}}").stdout.splitlines()
        return sum(name.startswith("oci:") for name in names)

    def half(self) -> list[int]:
        """The sizes of what the storage has of the ballast: whole, part of it, or nothing."""
        layers = self.host.path(self.flavour.storage).glob("overlay*/*/diff/ballast")
        return [path.stat().st_size for path in layers]

    def check(self) -> tuple[int, dict[str, object]]:
        done = self.host.run("containerpkg-host", "check", "--json", check=False)
        return done.returncode, json.loads(done.stdout)

    def install(self) -> None:
        self.host.run("dnf", "--assumeyes", "install", "probe-container")
        self.settle()

    def settle(self) -> None:
        """Wait for what follows from a transaction or a boot."""

        def idle() -> bool:
            argv = ["systemctl", "is-active", "containerpkg-sync"]
            return self.host.run(*argv, check=False).stdout.strip() in {"inactive", "failed"}

        self.host.wait_for(idle, "end of containerpkg-sync")

    def start(self, *services: str) -> tuple[int, str]:
        """The status of the start, and what the journal has of the loader and of the services."""
        services = services or ("probe",)
        status = self.host.run("systemctl", "start", *services, check=False).returncode
        return status, self.said()

    def said(self) -> str:
        self.host.run("journalctl", "--sync")
        return self.host.journal(self.flavour.loader)

    def works(self) -> None:
        """A start succeeds, and everything is as if nothing had ever gone wrong."""
        host = self.host
        assert host.run("systemctl", "start", "probe").returncode == 0
        assert self.running() == self.stored.manifest.digest
        assert self.images() == {self.stored.manifest.digest}
        assert self.half() == [_BALLAST]
        status, report = self.check()
        assert (status, report["ok"], report["space"]) == (0, True, [])

    @property
    def cgroup(self) -> str:
        argv = ["systemctl", "show", "--property=ControlGroup", "--value", self.flavour.loader]
        return f"/sys/fs/cgroup{self.host.run(*argv).stdout.strip()}"

    def halt_half_way(self) -> None:
        """Start the service, and freeze what loads its image when half of it is there."""
        argv = ["sh", "-c", _HALT, "sh", self.flavour.storage, self.flavour.loader]
        self.host.run(*argv, seconds=60)
        [size] = self.half()
        assert 0 < size < _BALLAST
        assert self.active("probe") == "activating" or self.flavour == QUADLET

    def active(self, unit: str) -> str:
        return self.host.run("systemctl", "is-active", unit, check=False).stdout.strip()

    def kill(self) -> None:
        """``kill -9`` of the program that unpacks."""
        self.host.run("sh", "-c", _KILL, "sh", self.cgroup, self.flavour.program)

    def thaw(self) -> None:
        self.host.path(f"{self.cgroup}/cgroup.freeze").write_text("0")

    def ended(self) -> None:
        """Wait for the end of the start, which has failed."""

        def failed() -> bool:
            return self.active("probe") == "failed" or (
                self.flavour == QUADLET and self.active(self.flavour.loader) == "failed"
            )

        self.host.wait_for(failed, "failed start")


# $1 is the storage, $2 the service that loads. The shell is quick enough for half a second.
_HALT = """
systemctl start --no-block probe
until set -- "$1" "$2" "$1"/overlay*/*/diff/ballast && [ -s "$3" ]; do :; done
cgroup=/sys/fs/cgroup$(systemctl show --property=ControlGroup --value "$2")
echo 1 > "$cgroup/cgroup.freeze"
until grep --quiet 'frozen 1' "$cgroup/cgroup.events"; do :; done
"""

_KILL = """
killed=
for process in $(cat "$1/cgroup.procs"); do
    [ "$(cat "/proc/$process/comm")" = "$2" ] && kill -9 "$process" && killed=yes
done
echo 0 > "$1/cgroup.freeze"
[ "$killed" ]
"""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A repository of the package for one flavour."""

    flavour: Flavour
    repository: Path
    stored: StoredImage


@pytest.fixture(scope="module", params=FLAVOURS, ids=lambda flavour: flavour.target)
def channel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Channel:
    folder = tmp_path_factory.mktemp("channel")
    repository = folder / "repo"
    store = ContentStore(folder / "store", Layers())
    stored = store_image(store, "first", ballast=_BALLAST)
    build_runtime(folder, repository / PACKAGES)
    build_packages(
        folder,
        repository / PACKAGES,
        store,
        stored,
        _SERVICE,
        "1",
        target=request.param.target,
        beside={"other": _SERVICE},
    )
    publish_metadata(repository)
    return Channel(flavour=request.param, repository=repository, stored=stored)


@pytest.fixture
def site(tree: Path, channel: Channel) -> Iterator[Site]:
    with new_host(tree, cache_folder(), binds={channel.repository: "/srv/repo"}) as host:
        host.boot()
        host.path("/etc/yum.repos.d/containerpkg.repo").write_text(_REPO_FILE)
        yield Site(host=host, flavour=channel.flavour, stored=channel.stored)


@pytest.mark.timeout(300)
def test_blobs_that_are_not_what_they_should_be(site: Site) -> None:
    site.install()
    digest = site.stored.layers[-1].blob.digest
    package = f"oci-layer-{digest[7:23]}"
    path = f"/usr/share/containerpkg/blobs/sha256/{digest[7:]}"
    for fault, how in (
        ("printf x | dd of={} bs=1 seek=1000 conv=notrunc", "has the content"),
        ("truncate --size=-1 {}", "has the content"),
        ("rm {}", "is missing"),
    ):
        site.host.run("sh", "-c", fault.format(path))
        status, said = site.start()
        assert status == 1
        assert f"blob {digest[:19]} of package {package} {how}" in said
        assert f"repair it with 'dnf reinstall {package}'" in said
        assert site.images() == set()
        assert site.half() == []
        assert site.check()[0] == 1
        site.host.run("dnf", "--assumeyes", "reinstall", package)
        site.settle()
        assert site.check()[0] == 0
    site.works()


@pytest.mark.timeout(300)
def test_no_space_for_the_load(site: Site) -> None:
    host, flavour = site.host, site.flavour
    site.install()
    for place in dict.fromkeys((flavour.work, flavour.storage)):
        host.run("mkdir", "--parents", place)
        host.run("mount", "-t", "tmpfs", "-o", "size=100m,mode=1777", "tmpfs", place)
        status, report = site.check()
        assert status == 1
        [lack] = [space for space in report["space"] if not space["enough"]]
        assert (lack["folder"], lack["free"] >> 20) in {(place, 99), (place, 100)}
        assert lack["needed"] >= _BALLAST

        status, said = site.start()
        assert status == 1
        assert "no space left on device" in said
        for unit in (flavour.loader, "probe"):
            sentence = host.journal(unit).strip().splitlines()
            [sentence] = [line for line in sentence if "was not loaded" in line][-1:]
            assert "image probe of package probe-container was not loaded" in sentence
            assert re.search(rf"{place} has (99|100) MiB free where \d+ MiB are needed", sentence)
            assert "make room" in sentence
        assert site.images() == set()
        # Nothing of it takes up the room that is left.
        used = host.run("du", "--summarize", "--block-size=1M", place).stdout.split()[0]
        assert used in {"0", "1"}
        host.run("mount", "-o", "remount,size=600m", place)
    site.works()


@pytest.mark.timeout(300)
def test_an_engine_that_is_not_there_at_install(site: Site) -> None:
    host = site.host
    host.run("mv", "/usr/bin/podman", "/usr/bin/podman.away")
    site.install()
    assert site.active("containerpkg-sync") == "inactive"
    assert host.run("rpm", "--verify", "containerpkg-runtime", "probe-container").stdout == ""
    status, report = site.check()
    assert (status, report["ok"]) == (1, False)
    assert site.start()[0] != 0
    host.run("mv", "/usr/bin/podman.away", "/usr/bin/podman")
    site.works()


@pytest.mark.timeout(300)
def test_an_engine_that_is_killed_during_the_load(site: Site) -> None:
    site.install()
    site.halt_half_way()
    site.kill()
    site.ended()
    said = site.said()
    assert "image probe of package probe-container was not loaded" in said
    assert "KILL" in said
    assert site.images() == set()
    assert site.check()[1]["units"][0]["source"] == "package"
    site.works()


@pytest.mark.timeout(300)
def test_power_cut_in_the_first_start(site: Site) -> None:
    host = site.host
    site.install()
    site.halt_half_way()
    host.run("sync")
    host.kill()
    host.boot()
    site.settle()
    assert host.run("systemctl", "is-system-running").stdout == "running\n"
    site.works()
    assert host.run("sh", "-c", "ls /var/tmp | grep ^container_ || :").stdout == ""


@pytest.mark.timeout(300)
def test_two_starts_at_once_load_once(site: Site) -> None:
    host = site.host
    site.install()
    site.halt_half_way()
    host.run("systemctl", "start", "--no-block", "other")
    # And who restarts everything that there is waits as well.
    assert {site.active("probe"), site.active("other")} <= {"activating", "inactive"}
    site.thaw()
    host.run("systemctl", "start", "probe", "other")
    assert site.running("probe") == site.running("other") == site.stored.manifest.digest
    assert site.loads() == 1
    assert site.half() == [_BALLAST]
    site.works()

    # In one transaction of systemd.
    host.run("systemctl", "stop", "probe", "other")
    host.run("podman", "image", "rm", "--all", "--force")
    host.run("systemctl", "start", "probe", "other")
    assert site.loads() == 2
    site.works()
