"""The package of every target installs on a host, runs there and goes without a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.packages.targets import TARGETS
from containerpkg.repository.metadata import PACKAGES, publish_metadata
from containerpkg.store.content import ContentStore, StoredImage
from tests.site.host import Host, new_host
from tests.site.probe import build_packages, build_runtime, store_image
from tests.site.tree import cache_folder

_SERVICE: Mapping[str, object] = {
    "command": ["sh", "-c", 'trap exit TERM; echo "$NAME" >/data/started; sleep 9999 & wait'],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "volumes": {"probe-data": "/data"},
    "health": {"command": 'test "$(cat /data/started)" = only', "interval": "1s"},
    "start_timeout": "30s",
    "stop_timeout": "1s",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[ContentStore, StoredImage]:
    # gzip is what every engine reads.
    store = ContentStore(tmp_path_factory.mktemp("store"), Layers(compression="gzip"))
    return store, store_image(store, "only", ballast=3 << 19)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repositories")


@pytest.fixture(scope="module")
def host(tree: Path, repositories: Path) -> Iterator[Host]:
    """One host for all targets: each leaves it as it was."""
    with new_host(tree, cache_folder(), binds={repositories: "/srv/repositories"}) as host:
        host.boot()
        host.run("systemctl", "start", "docker")
        host.path("/etc/yum.repos.d/all.repo").write_text(
            "[all]\nname=All\nbaseurl=file:///srv/repositories/$target\ngpgcheck=0\n"
        )
        yield host


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_package_installs_runs_and_goes(
    host: Host,
    repositories: Path,
    stored: tuple[ContentStore, StoredImage],
    target: str,
    tmp_path: Path,
) -> None:
    packages = repositories / target / PACKAGES
    build_packages(tmp_path, packages, *stored, _SERVICE, "1", target=target)
    build_runtime(tmp_path, packages)
    publish_metadata(repositories / target)
    host.path("/etc/dnf/vars/target").write_text(f"{target}\n")
    before = host.run("rpm", "--query", "--all").stdout

    host.run("dnf", "--assumeyes", "--refresh", "install", "probe-container")
    assert host.run("rpm", "--verify", "probe-container", "containerpkg-runtime").stdout == ""
    host.run("systemctl", "start", "probe")
    assert host.run("containerpkg-host", "check").stdout.endswith("everything is in place\n")
    engine = "docker" if TARGETS[target].units == "docker" else "podman"
    assert host.run(engine, "exec", "probe", "cat", "/data/started").stdout == "only\n"

    host.run("dnf", "--assumeyes", "remove", "probe-container")
    host.wait_for(lambda: host.run("rpm", "-qa").stdout == before, "removal of the layers")
    assert host.run(engine, "images", "--all", "--quiet").stdout == ""
    assert host.run(engine, "ps", "--all", "--quiet").stdout == ""
    assert host.run("systemctl", "list-units", "--failed", "--quiet").stdout == ""
    host.run(engine, "volume", "rm", "probe-data")
