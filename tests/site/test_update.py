"""From one version to the next and back, and two packages side by side on one host."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from containerpkg.packages import rpmbuild
from containerpkg.packages.plan import SHARED_TIME, PackageFile, PackagePlan
from containerpkg.packages.version import Nevra
from tests.site.host import Host, HostError, new_host
from tests.site.transactions import dnf, use_repository
from tests.site.tree import cache_folder

SOURCE = Path(__file__).resolve().parents[2]
REGISTRY = "quay.io/sitetests"
LABEL = f"sitetests={os.getpid()}"
VOLUME = "/var/lib/containers/storage/volumes/counts/_data"

SERVICE = """\
summary: Counts its starts
license: MIT
services:
  {name}:
    command:
      - sh
      - -c
      - cat /version >> /counts/{name}; exec sleep 99999
    volumes: {{counts: /counts}}
    networks: [counting]
    config: [{{source: {name}.conf, target: /etc/count.conf}}]
    health: {{command: test -s /counts/{name}}}
    stop_timeout: 1s
"""
TREE = {
    "containerpkg.yaml": f"registry: {REGISTRY}\nvendor: Tests\n",
    "images/base/Dockerfile": (
        f"FROM scratch\nLABEL {LABEL}\nCOPY busybox /bin/busybox\nCOPY pad /pad\n"
        'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
    ),
    "images/base/image.yaml": "summary: The base\nlicense: GPL-2.0-only\npackaged: false\n",
    **{
        f"images/{name}/{file}": text
        for name in ("counter", "sibling")
        for file, text in {
            "Dockerfile": f"FROM {REGISTRY}/base:1.0\nCOPY version /version\nVOLUME /counts\n",
            "image.yaml": SERVICE.format(name=name),
            f"{name}.conf": "a = 1\n",
            ".dockerignore": f"{name}.conf\n",
            "version": "one\n" if name == "counter" else "beside\n",
        }.items()
    },
}


@dataclass(frozen=True)
class Releases:
    """A repository with two versions of one package, and one of another on the same base."""

    repository: Path
    packages: tuple[str, str]
    """The names with version and release, the older first."""

    digests: tuple[str, str]
    shared: frozenset[str]
    """The packages of the layers that both images have."""


def make(root: Path) -> tuple[str, str]:
    """The name of the new counter-container, and the digest of its image."""
    argv = [sys.executable, "-m", "containerpkg", "-C", str(root), "make", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = [p for p in json.loads(done.stdout)["packages"] if p["image"] == "counter"]
    [name] = [name for name in made["new"] if name.startswith("counter-container-")]
    [image] = [i for i in json.loads(done.stdout)["images"] if i["image"] == "counter"]
    return name.removesuffix(".rpm"), image["digest"]


def docker(*arguments: str) -> list[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return sorted(set(done.stdout.split()))


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    root = tmp_path_factory.mktemp("update")
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copy("/bin/busybox", root / "images/base/busybox")
    (root / "images/base/pad").write_bytes(random.Random(1).randbytes(1_500_000))
    try:
        old = make(root)
        shared = {p.name for p in (root / "out/repo/packages").glob("oci-layer-*")}
        (root / "images/counter/version").write_text("two\n")
        (root / "images/counter/counter.conf").write_text("a = 2\n")
        new = make(root)
    finally:
        ours = ("images", "--all", "--quiet", "--no-trunc", f"--filter=label={LABEL}")
        while left := docker(*ours):
            # Some go only after those that are built on them.
            subprocess.run(["docker", "rmi", "--force", *left], capture_output=True, check=False)
            assert docker(*ours) != left
    return Releases(
        root / "out/repo",
        (old[0], new[0]),
        (old[1], new[1]),
        frozenset(name.removesuffix("-1-1.noarch.rpm") for name in shared),
    )


@pytest.fixture
def counting(tree: Path, releases: Releases) -> Iterator[Host]:
    """A fresh host whose dnf knows both versions."""
    with new_host(tree, cache_folder(), binds={releases.repository: "/srv/repo"}) as host:
        host.boot()
        use_repository(host)
        yield host


def installed(host: Host) -> set[str]:
    return set(host.run("rpm", "--query", "--all", "--queryformat=%{name}\n").stdout.split())


def starts(host: Host, name: str = "counter") -> list[str]:
    return host.path(f"{VOLUME}/{name}").read_text().split()


def active(host: Host) -> bool:
    return host.run("systemctl", "is-active", "counter", check=False).stdout == "active\n"


def running(host: Host, name: str = "counter") -> str:
    """The manifest digest of the image that the service runs."""
    return host.run("podman", "inspect", "--format={{.ImageDigest}}", name).stdout.strip()


def names(host: Host) -> dict[str, str]:
    """Every tag of the counter in podman, with the digest that it stands for."""
    form = "--format={{.Repository}} {{.Tag}} {{.Digest}}"
    lines = (line.split() for line in host.run("podman", "images", form).stdout.splitlines())
    return {tag: digest for where, tag, digest in lines if where == f"{REGISTRY}/counter"}


@pytest.mark.timeout(300)
def test_an_update_and_the_way_back(counting: Host, releases: Releases) -> None:
    (older, newer), (old, new) = releases.packages, releases.digests
    fixed_old, fixed_new = (digest.replace(":", "-") for digest in (old, new))
    dnf(counting, "install", older)
    with counting.path("/etc/counter/counter.conf").open("a") as config:
        config.write("b = ours\n")
    counting.run("systemctl", "start", "counter")
    assert (running(counting), starts(counting)) == (old, ["one"])
    assert names(counting) == {fixed_old: old, "1.0": old}

    dnf(counting, "update", "counter-container")
    assert counting.run("rpm", "--query", "counter-container").stdout == f"{newer}\n"
    assert (running(counting), starts(counting)) == (new, ["one", "two"])
    assert names(counting) == {fixed_new: new, "1.0": new}
    assert counting.path("/etc/counter/counter.conf").read_text() == "a = 1\nb = ours\n"
    assert counting.path("/etc/counter/counter.conf.rpmnew").read_text() == "a = 2\n"

    dnf(counting, "downgrade", "counter-container")
    assert counting.run("rpm", "--query", "counter-container").stdout == f"{older}\n"
    assert (running(counting), starts(counting)) == (old, ["one", "two", "one"])
    assert names(counting) == {fixed_old: old, "1.0": old}
    assert counting.path("/etc/counter/counter.conf").read_text() == "a = 1\nb = ours\n"
    assert counting.run("systemctl", "is-system-running").stdout == "running\n"


@pytest.mark.timeout(300)
def test_an_administrator_who_restarts_services_himself(counting: Host, releases: Releases) -> None:
    (older, newer), (old, new) = releases.packages, releases.digests
    dnf(counting, "install", older)
    counting.path("/etc/containerpkg/host.conf").write_text("restart_services = no\n")
    counting.run("systemctl", "start", "counter")
    dnf(counting, "update", "counter-container")
    assert counting.run("rpm", "--query", "counter-container").stdout == f"{newer}\n"
    assert (running(counting), starts(counting)) == (old, ["one"])
    assert set(names(counting).values()) == {old, new}
    checked = counting.run("containerpkg-host", "check", check=False)
    assert checked.returncode == 1
    assert "'systemctl restart counter' replaces it" in checked.stdout
    counting.run("systemctl", "restart", "counter")
    assert (running(counting), starts(counting)) == (new, ["one", "two"])


@pytest.mark.timeout(300)
def test_packages_share_layers_a_volume_and_a_network_and_leave_each_other_whole(
    counting: Host, releases: Releases
) -> None:
    dnf(counting, "install", "counter-container")
    before = installed(counting)
    assert before >= releases.shared
    out = dnf(counting, "install", "sibling-container")
    assert not [name for name in releases.shared if name in out]
    assert installed(counting) - before == {"sibling-container"}
    counting.run("systemctl", "start", "counter", "sibling")
    assert (starts(counting), starts(counting, "sibling")) == (["two"], ["beside"])
    networks = counting.run("podman", "network", "ls", "--format={{.Name}}").stdout.split()
    assert sorted(networks) == ["counting", "podman"]
    assert counting.run("podman", "volume", "ls", "--quiet").stdout == "counts\n"

    counting.run("systemctl", "stop", "sibling")
    dnf(counting, "remove", "sibling-container")
    assert installed(counting) == before
    # Files that both had are those of the second.
    for package in ("counter-container", *releases.shared):
        assert counting.run("rpm", "--verify", package, check=False).stdout == ""
    # What is on the disk is enough for a start from nothing.
    counting.run("systemctl", "stop", "counter")
    counting.run("podman", "rmi", "--all", "--force")
    counting.run("systemctl", "start", "counter")
    assert starts(counting) == ["two", "two"]

    counting.run("systemctl", "stop", "counter")
    dnf(counting, "remove", "counter-container")
    assert installed(counting) == {"distribution-stand-in"}
    assert not counting.path("/usr/share/containerpkg").exists()


def test_a_unit_of_the_distribution_is_not_hidden(
    counting: Host, releases: Releases, tmp_path: Path
) -> None:
    unit = "/usr/lib/systemd/system/counter.service"
    distribution = PackagePlan(
        nevra=Nevra(name="counter", version="1", release="1", arch="noarch"),
        time=SHARED_TIME,
        files=(PackageFile(target=unit, content="[Service]\nExecStart=/bin/true\n"),),
        spec="Name: counter\nVersion: 1\nRelease: 1\nSummary: Of the distribution\nLicense: MIT\n"
        f"BuildArch: noarch\nAutoReqProv: no\n%description\nx\n%files\n{unit}\n",
    )
    package = rpmbuild.build(distribution, tmp_path / "work", tmp_path)
    counting.copy_in(package, "/srv/counter.rpm")
    counting.run("rpm", "--install", "/srv/counter.rpm")
    with pytest.raises(HostError, match=f"conflicts with {unit} provided by counter-1-1.noarch"):
        dnf(counting, "install", "counter-container")
    assert installed(counting) == {"distribution-stand-in", "counter"}
    dnf(counting, "remove", "counter")
    dnf(counting, "install", "counter-container")
    with pytest.raises(HostError, match=rf"{unit} conflicts with \(installed\) counter-container"):
        counting.run("rpm", "--install", "/srv/counter.rpm")
