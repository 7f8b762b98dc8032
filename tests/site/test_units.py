"""What a definition says arrives in the container, whatever characters it is made of."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import Image, Layers, Project, ProjectFile
from containerpkg.packages import rpmbuild
from containerpkg.packages.image import plan_image
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.manifest import render_manifest
from tests.site.host import Host

DATA = "/var/lib/containers/storage/volumes/probe-data/_data"

HOSTILE = [
    "two  words",
    "100% %n %% %{x}",
    "$HOME ${HOME} $$ $",
    "\"double\" 'single' `back`",
    "back\\slash \\n \\\\ end\\",
    "\\",
    ";;",
    "#no comment",
    "[Service]",
    "-v",
    "ünïcödé \U0001f600",
    "{{.}} * ? ~ ! & | < > ( )",
]


def _image(store: ContentStore, name: str) -> StoredImage:
    """An image that has nothing of its own: its programs are the host's, mounted."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for link in ("bin", "lib", "lib64"):
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, f"usr/{link}"
            tar.addfile(member)
        for directory in ("usr", "data"):
            member = tarfile.TarInfo(directory)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
    blob = store.add(gzip.compress(plain.getvalue(), mtime=0))
    diff_id = f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"
    config = store.add(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["FROM_IMAGE=image", "IN_SYSCONFIG=image", f"NAME={name}"]},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }
        ).encode()
    )
    layers = (Layer(blob=blob, diff_id=diff_id, plain_size=len(plain.getvalue())),)
    form = Layers(compression="gzip")
    return StoredImage(
        id=config.digest,
        manifest=store.add(render_manifest(config, layers, form)),
        config=config,
        layers=layers,
        architecture="amd64",
        created="2023-11-14T22:13:20Z",
    )


def _package(folder: Path, store: ContentStore, stored: StoredImage, stamp: str) -> Path:
    said = " ".join(text for text in HOSTILE if "'" not in text)
    service = {
        "command": [
            "sh",
            "-c",
            'printf "%s\\0" "$@" >/data/arguments; env -0 >/data/environment; exec sleep 9999',
            "sh",
            *HOSTILE,
        ],
        "mounts": [{"source": "/usr", "target": "/usr"}],
        "volumes": {"probe-data": "/data"},
        "config": [{"source": "probe.conf", "target": "/etc/probe.conf"}],
        "environment": {"DEFAULT": HOSTILE[3], "IN_SYSCONFIG": "default"},
        "health": {
            "command": f"cat /etc/probe.conf >/data/config; printf '%s' '{said}' >/data/said",
        },
        "start_timeout": "60s",
        "stop_timeout": "1s",
    }
    (folder / "probe.conf").write_text("of the package\n")
    image = Image(
        name="probe",
        folder=folder,
        dockerfile=Dockerfile(path=folder / "Dockerfile", stages=(), uses=()),
        file=ImageFile.model_validate(
            {"summary": "Probe", "license": "MIT", "services": {"probe": service}}
        ),
        repository="registry.example/test/probe",
        version="1.0",
        parents=(),
        parent_references=(),
    )
    file = ProjectFile(registry="registry.example/test", vendor="Tests")
    project = Project(root=folder, file=file, images=(image,))
    plan = plan_image(project, image, stored, store, stamp=stamp)
    return rpmbuild.build(plan, folder / "work", folder / "out")


@pytest.mark.timeout(300)
def test_a_service_gets_what_its_definition_says_and_an_update_runs_its_own_image(
    host: Host, tmp_path: Path
) -> None:
    store = ContentStore(tmp_path / "store", Layers())
    images = [_image(store, name) for name in ("old", "new")]
    for number, stored in enumerate(images):
        package = _package(tmp_path, store, stored, f"{number}")
        host.copy_in(package, f"/srv/{package.name}")
        host.run("rpm", "--upgrade", "--nodeps", f"/srv/{package.name}")
        if number == 0:
            with host.path("/etc/sysconfig/probe").open("a") as sysconfig:
                sysconfig.write(f"IN_SYSCONFIG={HOSTILE[2]}\nMORE={HOSTILE[4]}\n")
        host.run("systemctl", "daemon-reload")
        # Healthy when this returns: what the health check wrote is there.
        host.run("systemctl", "restart", "probe.service")

        digest = host.run("podman", "inspect", "--format={{.ImageDigest}}", "probe").stdout.strip()
        assert digest == stored.manifest.digest
        arguments = host.path(f"{DATA}/arguments").read_text().split("\0")
        assert arguments == [*HOSTILE, ""]
        lines = host.path(f"{DATA}/environment").read_text().split("\0")
        environment = dict(line.split("=", 1) for line in lines if line)
        assert {
            name: environment.get(name)
            for name in ("FROM_IMAGE", "NAME", "DEFAULT", "IN_SYSCONFIG", "MORE")
        } == {
            "FROM_IMAGE": "image",
            "NAME": ("old", "new")[number],
            "DEFAULT": HOSTILE[3],
            "IN_SYSCONFIG": HOSTILE[2],
            "MORE": HOSTILE[4],
        }
        said = " ".join(text for text in HOSTILE if "'" not in text)
        assert host.path(f"{DATA}/said").read_text() == said
        assert host.path(f"{DATA}/config").read_text() == "of the package\n"

    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    generated = "/run/systemd/generator"
    verified = host.run(*verify, f"{generated}/probe.service", f"{generated}/probe-image.service")
    assert verified.stdout + verified.stderr == ""

    # Without the administrator's file the service starts with the package's defaults.
    host.path("/etc/sysconfig/probe").unlink()
    host.run("systemctl", "restart", "probe.service")
    assert "IN_SYSCONFIG=default\0" in host.path(f"{DATA}/environment").read_text()
    made = host.path("/etc/sysconfig/probe").stat()
    assert (made.st_mode & 0o777, made.st_size) == (0o640, 0)

    # As the documentation says for podman that can be told.
    units = ("probe.service", "probe-image.service", "probe-probe-data-volume.service")
    show = ["systemctl", "show", "--property=After", "--value", *units]
    assert host.run(*show).stdout.count("network-online.target") == len(units)
    for kind in ("container", "image", "volume"):
        folder = host.path(f"/etc/containers/systemd/{kind}.d")
        folder.mkdir(parents=True)
        (folder / "no-network.conf").write_text("[Quadlet]\nDefaultDependencies=false\n")
    host.run("systemctl", "daemon-reload")
    assert "network-online.target" not in host.run(*show).stdout

    host.run("systemctl", "stop", "probe.service")
    host.run("rpm", "--erase", "probe-container")
    host.run("systemctl", "daemon-reload")
    assert host.run("systemctl", "cat", "probe.service", check=False).returncode == 1
    for gone in ("/usr/share/containerpkg", "/etc/probe", "/etc/sysconfig/probe"):
        assert not host.path(gone).exists()
    assert host.path(f"{DATA}/said").exists()
