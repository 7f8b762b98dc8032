"""What the manual says of enabling, going back and what stays, with each flavour of units."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.repository.metadata import PACKAGES, publish_metadata
from containerpkg.store.content import ContentStore
from tests.site.host import Host, new_host
from tests.site.probe import build_packages, build_runtime, store_image
from tests.site.transactions import use_repository
from tests.site.tree import cache_folder

_SERVICE: dict[str, object] = {
    "command": ["sh", "-c", "trap exit TERM; sleep 9999 & wait"],
    "mounts": [{"source": "/usr", "target": "/usr"}],
    "volumes": {"probe-data": "/data"},
    "networks": ["probe-net"],
    "health": {"command": "true", "interval": "1s"},
    "stop_timeout": "1s",
}


def _systemctl(host: Host, *words: str) -> tuple[int, str]:
    done = host.run("systemctl", *words, "probe", check=False)
    return done.returncode, done.stdout.strip()


def _dnf(host: Host, *words: str) -> str:
    """The release that is installed when dnf and what follows from it have ended."""
    host.run("dnf", "--assumeyes", "--quiet", *words)
    ended = ("inactive", "failed", "unknown")
    show = ["systemctl", "is-active", "containerpkg-sync"]
    host.wait_for(lambda: host.run(*show, check=False).stdout.strip() in ended, "its end", 120)
    query = ["rpm", "--query", "--queryformat=%{RELEASE}", "probe-container"]
    return host.run(*query, check=False).stdout.partition(".el9")[0]


def _starts_at_boot(host: Host) -> bool:
    wants = host.run("systemctl", "show", "--property=Wants", "--value", "multi-user.target")
    return "probe.service" in wants.stdout.split()


def _generated(host: Host) -> None:
    """Quadlet's units start at boot unless a drop-in says otherwise, or they are masked."""
    assert _systemctl(host, "is-enabled") == (0, "generated")
    for verb in ("enable", "preset"):
        assert _systemctl(host, verb)[0] == 1
    # It says nothing, and does nothing.
    assert _systemctl(host, "disable") == (0, "")
    assert _starts_at_boot(host)
    dropins = host.path("/etc/containers/systemd/probe.container.d")
    dropins.mkdir(parents=True)
    (dropins / "no-boot.conf").write_text("[Install]\nWantedBy=\n")
    host.run("systemctl", "daemon-reload")
    assert not _starts_at_boot(host)
    assert _systemctl(host, "start")[0] == 0


def _plain(host: Host) -> None:
    # The test host has no presets, and systemd takes that for yes.
    assert _systemctl(host, "is-enabled") == (0, "enabled")
    assert _systemctl(host, "disable")[0] == 0
    assert not _starts_at_boot(host)
    assert _systemctl(host, "preset")[0] == 0
    assert _starts_at_boot(host)
    host.run("systemctl", "disable", "probe")
    assert _systemctl(host, "start")[0] == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", ["el9", "el9-podman", "el9-docker"])
def test_enable_go_back_and_what_stays(tree: Path, tmp_path: Path, target: str) -> None:
    engine = "docker" if target.endswith("-docker") else "podman"
    store = ContentStore(tmp_path / "store", Layers())
    repository = tmp_path / "repo"
    build_runtime(tmp_path, repository / PACKAGES)
    for stamp in ("1", "2"):
        stored = store_image(store, stamp)
        output = repository / PACKAGES
        build_packages(tmp_path, output, store, stored, _SERVICE, stamp, target=target)
    publish_metadata(repository)
    with new_host(tree, cache_folder(), binds={repository: "/srv/repo"}) as host:
        host.boot()
        use_repository(host)
        host.run("systemctl", "start", "docker" if engine == "docker" else "multi-user.target")
        assert _dnf(host, "install", "probe-container-1.0-1.1.*") == "1.1"
        assert _systemctl(host, "mask")[0] == 0
        assert _systemctl(host, "start")[0] == 1
        assert _systemctl(host, "unmask")[0] == 0
        _generated(host) if target == "el9" else _plain(host)

        # What somebody has switched off stays so.
        assert _dnf(host, "upgrade") == "1.2"
        assert not _starts_at_boot(host)
        assert _dnf(host, "history", "undo", "last") == "1.1"
        assert not _starts_at_boot(host)
        assert _systemctl(host, "is-active") == (0, "active")

        _dnf(host, "remove", "probe-container")
        assert _dnf(host, "history", "undo", "last") == "1.1"
        assert _systemctl(host, "start")[0] == 0
        _dnf(host, "remove", "probe-container")
        for kind, name in (("network", "probe-net"), ("volume", "probe-data")):
            listed = host.run(engine, kind, "ls", "--format={{.Name}}").stdout.split()
            assert name in listed
            host.run(engine, kind, "rm", name)
