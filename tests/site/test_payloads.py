"""A package that has all of its image in one file, in the place of one with layers, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.repository.metadata import PACKAGES, publish_metadata
from containerpkg.store.content import ContentStore
from tests.site.host import Host, new_host
from tests.site.probe import build_packages, build_runtime, store_image
from tests.site.transactions import dnf, use_repository
from tests.site.tree import cache_folder

_SERVICE: Mapping[str, object] = {
    "command": ["sh", "-c", 'trap exit TERM; echo "$NAME" >>/data/started; sleep 9999 & wait'],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "volumes": {"probe-data": "/data"},
    "health": {"command": 'test "$NAME" != bad || sleep 9'},
    "start_timeout": "8s",
    "stop_timeout": "1s",
}

_HOME = "/usr/share/containerpkg/images/probe"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A host, and the repository that is filled while it runs."""

    host: Host
    folder: Path
    target: str
    store: ContentStore

    @property
    def engine(self) -> str:
        return "docker" if self.target in ("el7", "el9-docker") else "podman"

    def publish(self, stamp: str, name: str, payload: str) -> None:
        """One more release of the package, whose image has ``NAME=name``."""
        packages = self.folder / "repo" / PACKAGES
        stored = store_image(self.store, name, ballast=3 << 19)
        build_packages(
            self.folder,
            packages,
            self.store,
            stored,
            _SERVICE,
            stamp,
            target=self.target,
            payload=payload,
        )
        publish_metadata(self.folder / "repo")

    def dnf(self, *arguments: str) -> None:
        """A transaction, and all that follows from it."""
        dnf(self.host, *arguments)

    def started(self) -> list[str]:
        """The names of the images that the service was started with, one after another."""
        argv = [self.engine, "exec", "probe", "sh", "-c", "cat /data/started"]
        return self.host.run(*argv).stdout.split()

    def images(self) -> int:
        argv = [self.engine, "images", "--all", "--quiet", "--no-trunc"]
        return len(set(self.host.run(*argv).stdout.split()))

    def layers(self) -> int:
        return len(self.host.run("rpm", "-qa", "oci-layer-*").stdout.split())

    def check(self) -> tuple[int, str]:
        done = self.host.run("containerpkg-host", "check", check=False)
        return done.returncode, done.stdout


@pytest.fixture(params=["el9", "el9-podman", "el9-docker", "el7"])
def site(tree: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    repository = tmp_path / "repo"
    build_runtime(tmp_path, repository / PACKAGES)
    with new_host(tree, cache_folder(), binds={repository: "/srv/repo"}) as host:
        host.boot()
        use_repository(host)
        store = ContentStore(tmp_path / "store", Layers())
        site = Site(host=host, folder=tmp_path, target=request.param, store=store)
        if site.engine == "docker":
            host.run("systemctl", "start", "docker")
        yield site


@pytest.mark.timeout(300)
def test_an_archive_and_layers_take_each_others_place(site: Site) -> None:
    # Hosts of this target cannot load layers.
    other = "archive" if site.target == "el7" else "layers"
    site.publish("1", "one", "archive")
    site.dnf("install", "probe-container")
    assert site.host.run("rpm", "--verify", "probe-container").stdout == ""
    assert site.layers() == 0
    site.host.run("systemctl", "start", "probe")
    assert site.started() == ["one"]
    assert site.check()[0] == 0

    site.publish("2", "two", other)
    site.dnf("upgrade")
    assert site.started() == ["one", "two"]
    assert (site.check()[0], site.images()) == (0, 1)
    assert site.layers() == (other == "layers")

    site.publish("3", "three", "archive")
    site.dnf("upgrade")
    assert site.started() == ["one", "two", "three"]
    assert (site.check()[0], site.images()) == (0, 1)

    site.publish("4", "bad", "archive")
    site.dnf("upgrade")
    assert site.started()[-2:] == ["bad", "three"]
    status, said = site.check()
    assert (status, "BAD probe.service: runs sha256:" in said) == (1, True)

    site.dnf("downgrade", "probe-container-1.0-1.2*")
    assert site.started()[-1] == "two"
    assert (site.check()[0], site.images()) == (0, 1)

    site.dnf("remove", "probe-container")
    assert site.images() == 0
    assert not site.host.path("/usr/share/containerpkg").exists()


@pytest.mark.timeout(120)
def test_a_damaged_archive_is_not_loaded(site: Site) -> None:
    site.publish("1", "one", "archive")
    site.dnf("install", "probe-container")
    [archive] = site.host.path(_HOME).glob("image.tar.*")
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1])
    done = site.host.run("systemctl", "start", "probe", check=False)
    assert done.returncode == 1
    said = site.host.run("journalctl", "--no-pager").stdout
    assert f"image probe is damaged: file {_HOME}/{archive.name} of package probe-container" in said
    assert "repair it with 'dnf reinstall probe-container'" in said
    assert site.images() == 0
    site.dnf("reinstall", "probe-container")
    site.host.run("systemctl", "reset-failed", "probe")
    site.host.run("systemctl", "start", "probe")
    assert site.started() == ["one"]
