"""The whole life of this project's images on an offline host that enforces signatures.

The same story for each flavour of units: install, configure, use, upgrade, an upgrade that fails,
the ways back, removal; each service's own client looks for its data at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.site.host import Host, new_host
from tests.site.services import SERVICES, Service
from tests.site.transactions import dnf, settle
from tests.site.tree import cache_folder
from tests.site.versions import CHANNEL, MARK, TARGETS, Versions

NAMES = tuple(service.name for service in SERVICES)
PACKAGES = tuple(service.package for service in SERVICES)

_NOT_OURS = (
    "/srv",
    "/etc/docker",
    "/etc/machine-id",
    "/etc/.updated",
    "/etc/resolv.conf",
    "/var/.updated",
    "/var/cache",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/dnf",
    "/var/lib/docker",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",
)
"""What engines, dnf, systemd and this test keep for themselves."""


@dataclass(frozen=True)
class Site:
    """A host with a channel of one target, and what an administrator does there."""

    host: Host
    target: str

    @property
    def engine(self) -> str:
        return "docker" if self.target.endswith("-docker") else "podman"

    @property
    def quadlet(self) -> bool:
        return "-" not in self.target

    def publish(self, number: int) -> None:
        """The mirror has the next version."""
        self.host.run(
            "ln", "--symbolic", "--force", "--no-dereference", f"{number}", f"{CHANNEL}/now"
        )

    def dnf(self, *arguments: str) -> str:
        """A transaction, and all that follows from it; what dnf printed."""
        return dnf(self.host, *arguments)

    def settle(self) -> None:
        """Wait for what a transaction, or the start of the host, has begun."""
        settle(self.host)

    def systemctl(self, *arguments: str) -> str:
        """What systemctl prints, whatever its status is."""
        done = self.host.run("systemctl", *arguments, check=False)
        return (done.stdout + done.stderr).strip()

    def check(self) -> tuple[int, str]:
        """The status of the preflight, and what it says."""
        done = self.host.run("containerpkg-host", "check", check=False)
        return done.returncode, done.stdout

    def is_sound(self, *, running: bool = True) -> None:
        """The preflight finds each image in its package, and that very one running, or none."""
        status, said = self.check()
        assert status == 0, said
        for package in self.installed().split():
            assert f" from {package}" in said
            assert said.count(f" from {package}, running\n") == int(running), said

    def installed(self) -> str:
        """The package of each service, as rpm calls it."""
        return self.host.run("rpm", "--query", *PACKAGES).stdout

    def version(self, service: Service) -> str:
        """What the running container's image says of itself."""
        read = [self.engine, "exec", service.name, "cat", f"{MARK}/name"]
        return self.host.run(*read, check=False).stdout.strip() or "first"

    def serves(self, version: str) -> None:
        """Every service runs this version with the site's configuration and has its data."""
        for service in SERVICES:
            assert self.version(service) == version
            assert service.read(self.host) == service.kept
            assert service.effect(self.host) == service.changed

    def enabled(self) -> list[str]:
        """What systemd does with each service when the host starts."""
        return self.systemctl("is-enabled", *NAMES).split()

    def images(self) -> set[str]:
        """The IDs of all images in the engine; docker lists one for each of its names."""
        listed = self.host.run(self.engine, "images", "--all", "--quiet", "--no-trunc")
        return set(listed.stdout.split())


@pytest.fixture(params=TARGETS)
def site(tree: object, versions: Versions, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A host that trusts the channel's key, with the engine that the target is for."""
    target = request.param
    binds = {versions.channel(target) / f"{n}": f"{CHANNEL}/{n}" for n in (1, 2, 3)}
    with new_host(tree, cache_folder(), binds=binds) as host:
        host.boot()
        site = Site(host, target)
        site.publish(1)
        host.run("cp", f"{CHANNEL}/now/containerpkg.repo", "/etc/yum.repos.d/")
        host.run("rpm", "--import", f"{CHANNEL}/now/RPM-GPG-KEY-containerpkg")
        # As on Enterprise Linux, and one choice of the site's own.
        presets = host.path("/etc/systemd/system-preset")
        presets.mkdir(parents=True)
        (presets / "50-site.preset").write_text("enable redis.service\ndisable *\n")
        if site.engine == "docker":
            host.run("systemctl", "enable", "--now", "docker")
        yield site


def _files(host: Host) -> set[str]:
    """Everything on the host's own file system, with its kind, mode, owner and link target."""
    pruned = [word for path in _NOT_OURS for word in ("-path", path, "-o")][:-1]
    argv = ["find", "/", "-xdev", "(", *pruned, ")", "-prune", "-o"]
    return set(host.run(*argv, "-printf", "%p %M %U:%G %l\n").stdout.splitlines())


@pytest.mark.timeout(900)
def test_install_use_upgrade_fail_go_back_and_remove(site: Site) -> None:
    host = site.host
    before = _files(host)

    site.dnf("install", *PACKAGES)
    first = site.installed()
    everything = host.run("rpm", "--query", "--all").stdout.split()
    assert host.run("rpm", "--verify", *everything).stdout == ""
    site.is_sound(running=False)
    _turn_on(site)

    for service in SERVICES:
        service.write(host)
        assert service.effect(host) != service.changed
        service.change(host)
    host.run("systemctl", "restart", *NAMES)
    site.serves("first")
    site.is_sound()

    site.publish(2)
    site.dnf("upgrade")
    second = site.installed()
    assert second != first
    site.serves("second")
    site.is_sound()
    assert len(site.images()) == len(SERVICES)
    for service in SERVICES:
        new = host.path(f"{service.config}.rpmnew").read_text()
        assert new.endswith("\n# Since the second version.\n")
        assert service.line not in new
    assert _changed(host) == {path for service in SERVICES for path in service.edited}

    site.publish(3)
    site.dnf("upgrade")
    assert site.installed() not in (first, second)
    _held_back(site)

    host.reboot()
    site.settle()
    if not site.quadlet:
        # It was started by hand alone, and no upgrade has changed that.
        assert site.enabled() == ["enabled", "enabled", "disabled"]
        assert site.systemctl("is-active", *NAMES).split() == ["active", "active", "inactive"]
        host.run("systemctl", "start", "postgresql")
    _held_back(site)

    site.dnf("history", "undo", "last")
    assert site.installed() == second
    site.serves("second")
    site.is_sound()
    assert site.systemctl("list-units", "--failed", "--quiet") == ""

    site.dnf("downgrade", *PACKAGES)
    assert site.installed() == first
    site.serves("first")
    site.is_sound()
    assert len(site.images()) == len(SERVICES)

    said = site.dnf("remove", *PACKAGES)
    for service in SERVICES:
        kept = f"the data of {service.package} stays in {site.engine}, in the volume {service.name}"
        assert kept in said
    query = ["rpm", "--query", "--all", "--queryformat=%{name}\n"]
    # Layers that only the runtime kept go after it.
    host.wait_for(
        lambda: set(host.run(*query).stdout.split()) == {"distribution-stand-in", "gpg-pubkey"},
        "removal of every package",
    )
    assert site.images() == set()
    assert host.run(site.engine, "ps", "--all", "--quiet").stdout == ""
    volumes = host.run(site.engine, "volume", "ls", "--quiet").stdout.split()
    assert sorted(volumes) == sorted(NAMES)
    assert site.systemctl("list-units", "--failed", "--quiet") == ""
    left = {line.split()[0] for line in before ^ _files(host)}
    assert left == {
        *(f"{path}.rpmsave" for service in SERVICES for path in service.edited),
        *(f"{service.config}.rpmnew" for service in SERVICES),
        *(f"/etc/{name}" for name in NAMES),
    }

    # And the data is there for whoever comes back.
    site.publish(1)
    site.dnf("install", "redis-container")
    redis = SERVICES[0]
    host.run("systemctl", "start", redis.name)
    assert redis.read(host) == redis.kept


def _turn_on(site: Site) -> None:
    """Have every service run, each as its unit and the site's presets want it."""
    host = site.host
    for service in SERVICES:
        service.prepare(host)
    if site.quadlet:
        assert site.enabled() == ["generated"] * len(NAMES)
        assert "generated" in site.systemctl("enable", "redis")
    else:
        assert site.enabled() == ["enabled", "disabled", "disabled"]
        host.run("systemctl", "disable", "redis")
        assert site.enabled() == ["disabled", "disabled", "disabled"]
        host.run("systemctl", "enable", "redis", "squid")
    host.run("systemctl", "mask", "postgresql")
    assert "masked" in site.systemctl("start", "postgresql")
    host.run("systemctl", "unmask", "postgresql")
    host.run("systemctl", "start", *NAMES)


def _changed(host: Host) -> set[str]:
    """The files of all packages that are not as the packages brought them."""
    verified = host.run("rpm", "--verify", "--all", check=False).stdout.splitlines()
    assert all(line.split()[:2] == ["S.5....T.", "c"] for line in verified), verified
    return {line.split()[2] for line in verified}


def _held_back(site: Site) -> None:
    """The third version is installed, the second runs, and whoever asks is told."""
    site.serves("second")
    status, said = site.check()
    assert status == 1
    for name in NAMES:
        assert f"BAD {name}.service: runs sha256:" in said
        errors = ["journalctl", "--no-pager", "--priority=err", f"--unit={name}"]
        told = f"{name} does not start with the image sha256:"
        assert told in site.host.run(*errors).stdout
