"""Quadlet units of another deployment take their image from a package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from containerpkg.definitions.project import Layers
from containerpkg.store.content import ContentStore
from tests.site.host import Host
from tests.site.probe import REPOSITORY, build_packages, build_runtime, store_image

_REFERENCE = "registry.invalid/theirs/shop:3"

# What somebody else has put into /etc: the image comes from a registry.
_UNITS = {
    "shop.image": f"[Image]\nImage={_REFERENCE}\n",
    "shop.container": (
        "[Container]\nImage=shop.image\nContainerName=shop\nNetwork=none\n"
        "Volume=/usr:/usr:ro\nExec=sleep 9999\nPodmanArgs=--stop-timeout=1\n"
    ),
    # This one does not name the unit, and only comes after it.
    "shop-worker.container": (
        "[Unit]\nRequires=shop-image.service\nAfter=shop-image.service\n"
        f"[Container]\nImage={_REFERENCE}\nContainerName=shop-worker\nNetwork=none\n"
        "Volume=/usr:/usr:ro\nExec=sleep 9999\nPodmanArgs=--stop-timeout=1\n"
    ),
}

_DROPINS = "/usr/share/containers/systemd/shop.image.d"


def _digest(host: Host, container: str) -> str:
    argv = ["podman", "inspect", "--format={{.ImageDigest}}", container]
    return host.run(*argv, check=False).stdout.strip()


def _check(host: Host) -> list[tuple[str, ...]]:
    found = host.run("containerpkg-host", "check", "--json", check=False).stdout
    return [
        (unit["unit"], unit["image_package"], unit["running"], unit["registry"], *unit["problems"])
        for unit in json.loads(found)["units"]
    ]


@pytest.mark.timeout(300)
def test_a_neighbour_runs_the_image_of_the_package_as_long_as_it_is_installed(
    host: Host, tmp_path: Path
) -> None:
    store = ContentStore(tmp_path / "store", Layers())
    old, new = (store_image(store, name) for name in ("old", "new"))
    output = tmp_path / "out"
    runtime = build_runtime(tmp_path, output)
    packages = [
        build_packages(
            tmp_path,
            output,
            store,
            stored,
            {},
            stamp,
            neighbours={"shop": {"reference": _REFERENCE}},
        )[0]
        for stored, stamp in ((old, "1"), (new, "2"))
    ]
    shared = {"shop": {}}
    rival = build_packages(tmp_path, output, store, old, {}, "1", name="rival", neighbours=shared)[
        0
    ]
    for package in (runtime, *packages, rival):
        host.copy_in(package, f"/srv/{package.name}")

    # Nothing is wrong where the neighbour is not there.
    host.run("rpm", "--install", f"/srv/{runtime.name}", f"/srv/{packages[0].name}")
    assert host.run("systemctl", "--failed", "--quiet").stdout == ""
    # Two packages cannot have the same neighbour.
    refused = host.run("rpm", "--install", f"/srv/{rival.name}", check=False).stderr
    assert f"file {_DROPINS}/20-archive.conf from install of rival-container" in refused
    generator = host.run("/usr/libexec/podman/quadlet", "-dryrun", check=False)
    assert "shop" not in generator.stdout
    assert _check(host) == []

    for name, text in _UNITS.items():
        host.path("/etc/containers/systemd").mkdir(parents=True, exist_ok=True)
        host.path(f"/etc/containers/systemd/{name}").write_text(text)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "shop", "shop-worker")
    assert [_digest(host, name) for name in ("shop", "shop-worker")] == 2 * [old.manifest.digest]
    mine = packages[0].name.removesuffix(".rpm")
    folder = "/etc/containers/systemd"
    assert _check(host) == [
        (f"{folder}/shop.image", mine, "", ""),
        (f"{folder}/shop-worker.container", mine, old.manifest.digest, ""),
        (f"{folder}/shop.container", mine, old.manifest.digest, ""),
    ]

    # A damaged blob is seen before podman reads it.
    host.run("systemctl", "stop", "shop", "shop-worker")
    host.run("podman", "rmi", "--force", old.id)
    blob = f"/usr/share/containerpkg/blobs/sha256/{old.layers[0].blob.digest[7:]}"
    host.run("sh", "-c", f"cp -p {blob} /srv/blob && echo >>{blob}")
    assert host.run("systemctl", "start", "shop", check=False).returncode != 0
    assert "repair it with 'dnf reinstall probe-container'" in host.journal("shop-image")
    host.run("cp", "-p", "/srv/blob", blob)
    host.run("systemctl", "start", "shop", "shop-worker")

    # An update is taken by the next start.
    host.run("rpm", "--upgrade", f"/srv/{packages[1].name}")
    host.run("systemctl", "restart", "shop", "shop-worker")
    assert [_digest(host, name) for name in ("shop", "shop-worker")] == 2 * [new.manifest.digest]

    host.run("systemctl", "stop", "shop", "shop-worker")
    host.run("rpm", "--erase", "probe-container", "containerpkg-runtime")
    assert not host.path(_DROPINS).exists()
    assert host.run("podman", "images", "--all", "--quiet").stdout == ""
    assert (
        "[Image]\nImage=registry.invalid/theirs/shop:3"
        in host.path(f"{folder}/shop.image").read_text()
    )
    shown = host.run("systemctl", "show", "--property=ExecStart", "shop-image").stdout
    assert f"podman image pull {_REFERENCE}" in shown
    assert REPOSITORY not in shown
