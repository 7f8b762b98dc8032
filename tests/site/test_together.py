"""Services that need each other, and such as run until they are done, when their image changes."""

from __future__ import annotations

import re
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

_BASE: Mapping[str, object] = {
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "volumes": {"probe-data": "/data"},
    "start_timeout": "8s",
    "stop_timeout": "1s",
}


def _service(
    name: str, *requires: str, trap: str = "trap exit TERM", **more: object
) -> dict[str, object]:
    """Writes down each start; what is in ``requires`` is there before."""
    units = [f"{one}.service" for one in requires]
    run = f'{trap}; echo "$NAME" >>/data/{name}; sleep 9999 & wait'
    needs = {"requires": units, "after": units, "wanted_by": []}
    return {**_BASE, **needs, "command": ["sh", "-c", run], **more}


def _oneshot(name: str, script: str, **more: object) -> dict[str, object]:
    run = f'echo "$NAME" >>/data/{name}; {script}'
    return {**_BASE, "type": "oneshot", "command": ["sh", "-c", run], **more}


_GOOD = {"command": 'test "$NAME" != bad'}

# As the first process of its container it does not end at SIGTERM.
_PROBE = _service("probe", trap=":")
_BESIDE = {
    "database": _service("database", health=_GOOD),
    "before": _service("before", "database"),
    "web": _service("web", "database"),
    "cache": _service("cache"),
    "zone": _service("zone", "cache", health=_GOOD),
    "migrate": _oneshot("migrate", "true", wanted_by=[]),
    "main": _service("main", "migrate"),
    "long": _oneshot(
        "long", "trap exit TERM; sleep 9999 & wait", schedule="2100-01-01", start_timeout="1h"
    ),
    "failed": _oneshot("failed", "exit 1", schedule="2100-01-01"),
}


@dataclass(frozen=True, kw_only=True)
class Site:
    """A host, and the repository that is filled while it runs."""

    host: Host
    folder: Path
    target: str
    store: ContentStore

    @property
    def engine(self) -> str:
        return "docker" if self.target.endswith("-docker") else "podman"

    def publish(self, stamp: str, name: str) -> None:
        """One more release of the package, whose image has ``NAME=name``."""
        stored = store_image(self.store, name)
        output = self.folder / "repo" / PACKAGES
        build_packages(
            self.folder,
            output,
            self.store,
            stored,
            _PROBE,
            stamp,
            target=self.target,
            beside=_BESIDE,
        )
        publish_metadata(self.folder / "repo")

    def dnf(self, *arguments: str) -> None:
        """A transaction, and all that follows from it."""
        dnf(self.host, *arguments)

    def _data(self, service: str) -> Path:
        form = "--format={{.Mountpoint}}"
        folder = self.host.run(self.engine, "volume", "inspect", form, "probe-data").stdout.strip()
        return self.host.path(f"{folder}/{service}")

    def has_started(self, service: str) -> bool:
        return self._data(service).exists()

    def started(self, *services: str) -> dict[str, str]:
        """The names of the images that services were started with, one after another."""
        return {name: " ".join(self._data(name).read_text().split()) for name in services}

    def states(self, *services: str) -> dict[str, str]:
        argv = ["systemctl", "is-active", *services]
        lines = self.host.run(*argv, check=False).stdout.split()
        return dict(zip(services, lines, strict=True))


@pytest.fixture(params=["el9", "el9-docker"])
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
def test_an_update_of_services_that_need_each_other(site: Site) -> None:
    host = site.host
    site.publish("1", "first")
    site.dnf("install", "probe-container")
    host.run("systemctl", "start", "probe", "before", "web", "zone", "main")
    host.run("systemctl", "start", "failed", check=False)
    host.run("systemctl", "start", "--no-block", "long")
    host.wait_for(lambda: site.has_started("long"), "start of the job")
    host.run("systemctl", "stop", "probe")
    was = {"probe": "failed", "failed": "failed", "long": "activating"}
    assert site.states(*was) == was

    site.publish("2", "second")
    site.dnf("upgrade")
    # What somebody stopped, what its timer starts and what is at work is left alone.
    assert site.states(*was) == was
    assert set(site.started(*was).values()) == {"first"}
    # A migration runs again, and before what needs it.
    assert site.started("migrate")["migrate"] == "first second"
    every = ("database", "before", "web", "cache", "zone", "migrate", "main")
    assert site.states(*every) == dict.fromkeys(every, "active")
    assert {history.split()[-1] for history in site.started(*every).values()} == {"second"}
    assert host.run("systemctl", "is-active", "containerpkg-sync", check=False).returncode == 3

    # systemd stops what needs a service that does not start, and restarts it unasked with what
    # it needs. Everything runs again, and with one version; a migration is not run backwards.
    site.publish("3", "bad")
    site.dnf("upgrade")
    # What goes along with another may still be on its way when the run has ended.
    up = dict.fromkeys(every, "active")
    host.wait_for(lambda: site.states(*every) == up, "start of every service", 30)
    last = {name: history.split()[-1] for name, history in site.started(*every).items()}
    assert last.pop("migrate") == "bad"
    assert set(last.values()) == {"second"}
    said = host.run("containerpkg-host", "check", check=False).stdout
    held = [word for word in said.split() if re.fullmatch(r"[a-z]+\.service:", word)]
    assert held == [f"{name}.service:" for name in sorted(last)]
