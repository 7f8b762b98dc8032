"""What goes wrong on a host while an image is loaded, and that the next start makes it good.

The image is large enough that its load can be halted half way: the processes that load it are
frozen when part of a file has been unpacked, so that each test knows what it has cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.repository.metadata import PACKAGES, publish_metadata
from containerpkg.store.content import ContentStore, StoredImage
from tests.site.host import Host, new_host
from tests.site.probe import build_packages, build_runtime, store_image
from tests.site.transactions import settle, use_repository
from tests.site.tree import cache_folder

_BALLAST = 128 << 20

_SERVICE: Mapping[str, object] = {
    "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 9999 & wait"],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "health": {"command": "true"},
    "restart": "no",
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

    says: str = "could not load the image probe of package probe-container: "
    """How the sentence begins that tells of it."""

    @property
    def engine(self) -> str:
        return "docker" if self.program == "dockerd" else "podman"

    @property
    def teller(self) -> str:
        """The service in whose journal it is said why an image was not loaded."""
        return "probe" if self.loader == "docker" else self.loader


QUADLET = Flavour(
    target="el9",
    loader="probe-image",
    program="podman",
    storage="/var/lib/containers/storage",
    work="/var/tmp",
    says="image probe of package probe-container was not loaded: ",
)
PODMAN = replace(QUADLET, target="el9-podman", loader="probe", says=Flavour.says)
DOCKER = Flavour(
    target="el9-docker",
    loader="docker",
    program="dockerd",
    storage="/var/lib/docker",
    work="/var/lib/docker",
)

FLAVOURS = (QUADLET, PODMAN, DOCKER)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A host that has the package of the image in its repository, and what is known of it."""

    host: Host
    flavour: Flavour
    stored: StoredImage

    def running(self, service: str = "probe") -> str:
        """The ID of the image that the container of ``service`` was started from."""
        argv = [self.flavour.engine, "inspect", "--format={{.Image}}", service]
        found = self.host.run(*argv, check=False).stdout.strip()
        return f"sha256:{found.removeprefix('sha256:')}"

    def images(self) -> set[str]:
        """The IDs of what the engine has."""
        argv = [self.flavour.engine, "images", "--all", "--no-trunc", "--format={{.ID}}"]
        return set(self.host.run(*argv).stdout.split())

    def take_engine_away(self) -> None:
        """Stop docker; podman is no daemon, so it is not there at all."""
        if self.flavour == DOCKER:
            self.host.run("systemctl", "stop", "docker.service", "docker.socket")
        else:
            self.host.run("mv", "/usr/bin/podman", "/usr/bin/podman.away")

    def bring_engine_back(self) -> None:
        if self.flavour == DOCKER:
            self.host.run("systemctl", "start", "docker")
        else:
            self.host.run("mv", "/usr/bin/podman.away", "/usr/bin/podman")

    def forget_image(self) -> None:
        """Make a host of it where the image was never loaded."""
        self.host.run("systemctl", "stop", "probe", "other")
        self.host.run(self.flavour.engine, "image", "rm", "--force", self.stored.id)
        assert self.images() == set()

    def container(self, service: str) -> str:
        """The ID of the running container of ``service``; empty if there is none."""
        argv = [self.flavour.engine, "ps", "--quiet", f"--filter=name={service}"]
        if self.active(service) != "active":
            return ""
        return self.host.run(*argv).stdout.strip()

    def loads(self) -> int:
        """How often the engine has copied an image to its storage."""
        if self.flavour == DOCKER:
            # Docker cuts the end off to whole seconds, so "now" would leave out this one's events.
            argv = ["docker", "events", "--since=1h", "--until=-1s", "--filter=event=load"]
            return len(self.host.run(*argv).stdout.splitlines())
        argv = ["podman", "events", "--stream=false", "--since=1h", "--filter=event=pull"]
        names = self.host.run(*argv, "--format={{.Name}}").stdout.splitlines()
        return sum(name.startswith("oci:") for name in names)

    def ballasts(self) -> dict[str, int]:
        """The sizes of what the storage has of the ballast, whole or in part, by folder."""
        layers = self.host.path(self.flavour.storage).glob("overlay*/*/diff/ballast")
        return {path.parent.parent.name: path.stat().st_size for path in layers}

    def check(self) -> tuple[int, dict[str, object]]:
        done = self.host.run("containerpkg-host", "check", "--json", check=False)
        return done.returncode, json.loads(done.stdout)

    def install(self) -> None:
        self.host.run("dnf", "--assumeyes", "install", "probe-container")
        self.settle()

    def update(self) -> None:
        argv = ["dnf", "--assumeyes", "--repofrompath=update,/srv/update", "--nogpgcheck"]
        self.host.run(*argv, "upgrade")
        self.settle()

    def settle(self) -> None:
        """Wait for what follows from a transaction or a boot."""
        settle(self.host)

    def start(self, *services: str) -> tuple[int, str]:
        """The status of the start, and what the journal has of the loader and of the services."""
        services = services or ("probe",)
        status = self.host.run("systemctl", "start", *services, check=False).returncode
        return status, self.said()

    def said(self) -> str:
        self.host.run("journalctl", "--sync")
        return self.host.journal(self.flavour.teller)

    def works(self) -> None:
        """A start succeeds, and everything is as if nothing had ever gone wrong."""
        host = self.host
        assert host.run("systemctl", "start", "probe").returncode == 0
        assert self.running() == self.stored.id
        assert self.images() == {self.stored.id}
        # Docker never comes back to a layer that it was killed over; podman removes it.
        found = list(self.ballasts().values())
        assert found.count(_BALLAST) == 1
        assert found == [_BALLAST] or self.flavour == DOCKER
        status, report = self.check()
        assert (status, report["ok"], report["space"]) == (0, True, [])

    def halt_half_way(self, service: str = "probe") -> None:
        """Start ``service``, and freeze what loads its image when half of it is there."""
        before = self.ballasts()
        self.host.run("sh", "-c", _HALT, "sh", self.flavour.storage, self.loader(service), service)
        [size] = [size for name, size in self.ballasts().items() if name not in before]
        assert 0 < size < _BALLAST
        assert self.active(service) == "activating" or self.flavour == QUADLET

    def loader(self, service: str) -> str:
        return service if self.flavour == PODMAN else self.flavour.loader

    def active(self, unit: str) -> str:
        return self.host.run("systemctl", "is-active", unit, check=False).stdout.strip()

    def kill(self, service: str = "probe") -> None:
        """``kill -9`` of the program that unpacks for ``service``."""
        # Docker's unit gives up with its third start in a minute.
        self.host.run("systemctl", "reset-failed", self.loader(service), check=False)
        cgroup = f"/sys/fs/cgroup/system.slice/{self.loader(service)}.service"
        self.host.run("sh", "-c", _KILL, "sh", cgroup, self.flavour.program)

    def other_waits(self) -> bool:
        """Whether the start of ``other`` is held up by the load that is under way."""
        if self.flavour == QUADLET:
            jobs = self.host.run("systemctl", "list-jobs", "--plain", "--no-legend").stdout
            return any(line.split()[1:] == _WAITING for line in jobs.splitlines())
        # It has begun, and what it asks the engine is not answered before that is thawed.
        argv = ["systemctl", "show", "--property=SubState", "--value", "other"]
        return self.host.run(*argv).stdout == "start-pre\n"

    def thaw(self) -> None:
        cgroup = f"/sys/fs/cgroup/system.slice/{self.flavour.loader}.service"
        self.host.path(f"{cgroup}/cgroup.freeze").write_text("0")

    def ended(self) -> None:
        """Wait for the end of the start, which has failed."""

        def failed() -> bool:
            return self.active("probe") == "failed" or (
                self.flavour == QUADLET and self.active(self.flavour.loader) == "failed"
            )

        self.host.wait_for(failed, "failed start")


_WAITING = ["other.service", "start", "waiting"]

# $1 is the storage, $2 the service that loads, $3 the one to start. There is half a second to catch
# the load in, of which the shell takes a few thousandths.
_HALT = """
cgroup=/sys/fs/cgroup/system.slice/$2.service
before=$(echo "$1"/overlay*/*/diff/ballast)
systemctl start --no-block "$3"
while :; do
    for path in "$1"/overlay*/*/diff/ballast; do
        case " $before " in
            *" $path "*) ;;
            *) [ -s "$path" ] && break 2 ;;
        esac
    done
done
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
    update: Path
    """Another repository, which has the next version alone."""

    updated: StoredImage


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
        beside={"other": {**_SERVICE, "restart": "on-failure"}},
    )
    publish_metadata(repository)
    update = folder / "update"
    updated = store_image(store, "second")
    build_packages(
        folder,
        update / PACKAGES,
        store,
        updated,
        _SERVICE,
        "2",
        target=request.param.target,
    )
    publish_metadata(update)
    return Channel(
        flavour=request.param,
        repository=repository,
        stored=stored,
        update=update,
        updated=updated,
    )


@pytest.fixture
def site(tree: Path, channel: Channel) -> Iterator[Site]:
    binds = {channel.repository: "/srv/repo", channel.update: "/srv/update"}
    with new_host(tree, cache_folder(), binds=binds) as host:
        host.boot()
        use_repository(host)
        if channel.flavour == DOCKER:
            host.run("systemctl", "enable", "--now", "docker")
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
        assert f"blob {digest[:19]} of package {package} {how}" in said, said
        assert f"repair it with 'dnf reinstall {package}'" in said
        assert site.images() == set()
        assert site.ballasts() == {}
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
        if flavour == DOCKER:
            host.run("systemctl", "restart", "docker")
        status, report = site.check()
        assert status == 1
        [lack] = [space for space in report["space"] if not space["enough"]]
        assert (lack["folder"], lack["free"] >> 20) in {(place, 99), (place, 100)}
        assert lack["needed"] >= _BALLAST

        status, said = site.start()
        assert status == 1
        assert "no space left on device" in said
        for unit in (flavour.teller, "probe"):
            lines = host.journal(unit).splitlines()
            [sentence] = [line for line in lines if re.search(flavour.says, line)][-1:]
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
    site.take_engine_away()
    site.install()
    assert site.active("containerpkg-sync") == "inactive"
    assert host.run("rpm", "--verify", "containerpkg-runtime", "probe-container").stdout == ""
    status, report = site.check()
    assert (status, report["ok"]) == (1, False)
    [problem] = report["problems"]
    assert problem.startswith(f"{site.flavour.engine} does not answer")
    if site.flavour != DOCKER:  # which the unit has started
        status, said = site.start()
        assert status == 1
        assert "podman" in said
        site.bring_engine_back()
    site.works()


@pytest.mark.timeout(300)
def test_an_engine_that_is_not_there_at_update_and_removal(site: Site, channel: Channel) -> None:
    host = site.host
    site.install()
    site.works()
    host.run("systemctl", "stop", "probe")
    site.take_engine_away()
    site.update()
    # Nothing ran, so nothing is amiss.
    assert site.active("containerpkg-sync") == "inactive"
    site.bring_engine_back()
    assert site.images() == {site.stored.id}
    host.run("systemctl", "start", "probe")
    assert site.running() == channel.updated.id
    host.run("systemctl", "start", "containerpkg-sync")
    assert site.images() == {channel.updated.id}

    host.run("systemctl", "stop", "probe")
    site.take_engine_away()
    said = host.run("dnf", "--assumeyes", "remove", "probe-container")
    advice = rf"'({site.flavour.engine} image rm [^']+)' removes it"
    found = re.search(advice, said.stdout + said.stderr)
    assert found, said.stdout + said.stderr
    site.bring_engine_back()
    assert site.images() == {channel.updated.id}
    host.run("sh", "-c", found[1])
    assert site.images() == set()


@pytest.mark.timeout(300)
def test_an_engine_that_is_killed_during_the_load(site: Site) -> None:
    site.install()
    site.halt_half_way()
    site.kill()
    site.ended()
    said = site.said()
    assert re.search(site.flavour.says, said)
    if site.flavour != DOCKER:  # its client knows no more than that the daemon is gone
        assert "by the signal KILL" in said
    assert site.images() == set()
    assert site.check()[1]["units"][0]["source"] == "package"
    site.works()
    if site.flavour == QUADLET:
        return

    # A unit that is to be restarted when it fails needs nobody.
    site.forget_image()
    site.halt_half_way("other")
    site.kill("other")
    site.host.wait_for(lambda: site.active("other") == "active", "start by itself")
    assert re.search(site.flavour.says, site.host.journal("other"))
    assert site.running("other") == site.stored.id
    if site.flavour == DOCKER:
        was = site.container("other")
        site.kill()
        # Well before the time in which a stop has to be done, 31 seconds.
        site.host.wait_for(
            lambda: site.container("other") not in {"", was}, "start after docker's", 20
        )
        assert site.running("other") == site.stored.id


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
    host.wait_for(site.other_waits, "second start that waits for the first")
    site.thaw()
    host.run("systemctl", "start", "probe", "other")
    assert site.running("probe") == site.running("other") == site.stored.id
    assert site.loads() == 1
    site.works()

    # In one transaction of systemd.
    site.forget_image()
    host.run("systemctl", "start", "probe", "other")
    assert site.loads() == 2
    site.works()


@pytest.mark.timeout(300)
def test_an_update_does_not_start_what_was_stopped_with_a_bad_status(
    site: Site, channel: Channel
) -> None:
    host = site.host
    site.install()
    dropin = host.path("/etc/systemd/system/probe.service.d/bad.conf")
    dropin.parent.mkdir(parents=True)
    # As a Java program does, or one that does not end before it is killed.
    dropin.write_text("[Service]\nExecStopPost=/bin/false\n")
    host.run("systemctl", "daemon-reload")
    site.works()
    host.run("systemctl", "stop", "probe")
    assert site.active("probe") == "failed"
    site.update()
    assert site.active("probe") == "failed"
    assert site.active("containerpkg-sync") == "inactive"
    host.run("systemctl", "start", "probe")
    assert site.running() == channel.updated.id
