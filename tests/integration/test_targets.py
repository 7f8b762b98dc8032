"""Packages and units of every target, made by the real programs and looked into with rpm."""

from __future__ import annotations

import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import Image, Layers, Project, ProjectFile
from containerpkg.errors import StoreError
from containerpkg.files import sha256_bytes
from containerpkg.packages import archive, rpmbuild
from containerpkg.packages.image import plan_image
from containerpkg.packages.plan import PackagePlan
from containerpkg.packages.targets import TARGETS
from containerpkg.repository.chain import Link, verify
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.units.check import Checked, check_units
from containerpkg.units.flavour import Flavour
from containerpkg.units.identity import render_identity
from containerpkg.units.quadlet import SYSTEM, UnitFile
from tests.unit.units.test_identity import SERVICES as SHOP
from tests.unit.units.test_identity import USERS
from tests.unit.units.test_plain import ONCE, units
from tests.unit.units.test_quadlet import FULL

LAYER = random.Random(1).randbytes(2 << 20)
SERVICES: dict[str, object] = {
    "redis": {"health": {"command": "x"}},
    "report": {"type": "oneshot", "schedule": "daily"},
}
HOME = "/usr/share/containerpkg/images/redis/"


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store", Layers())


def stored(store: ContentStore) -> StoredImage:
    blob = store.add(zstandard.ZstdCompressor().compress(LAYER))
    layer = Layer(blob=blob, diff_id=f"sha256:{sha256_bytes(LAYER)}", plain_size=len(LAYER))
    config = store.add(
        json.dumps({"rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}).encode()
    )
    return StoredImage(
        id=config.digest,
        manifest=store.add(b"manifest"),
        config=config,
        layers=(layer,),
        architecture="amd64",
        created="2023-11-14T22:13:20Z",
    )


def made(
    store: ContentStore,
    folder: Path,
    target: str,
    change: Callable[[PackagePlan], PackagePlan] = lambda plan: plan,
    **file: object,
) -> Path:
    image = Image(
        name="redis",
        folder=folder,
        dockerfile=Dockerfile(path=folder / "Dockerfile", stages=(), uses=()),
        file=ImageFile.model_validate(
            {"summary": "A store", "license": "MIT", "services": SERVICES} | file
        ),
        repository="quay.io/foreman/redis",
        version="7.0",
        parents=(),
        parent_references=(),
    )
    about = {"registry": "quay.io/foreman", "vendor": "ACME", "target": target}
    project = Project(root=folder, file=ProjectFile.model_validate(about), images=(image,))
    plan = plan_image(project, image, stored(store), store, stamp="1")
    return rpmbuild.build(change(plan), folder / "work", folder / target)


def asked(package: Path, *question: str) -> list[str]:
    done = subprocess.run(
        ["rpm", "--query", "--package", *question, package],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


ENGINE = {
    "el7": "/usr/lib/systemd/system/docker.service",
    "el8": "podman >= 4:4.8",
    "el9": "podman >= 4:5.0",
    "el10": "podman >= 6:5.4",
    "fedora": "podman >= 5:5.4",
    "docker": "(docker-ce >= 3:25.0 or moby-engine >= 25.0"
    " or (docker >= 25.0 and /usr/bin/dockerd))",
}
DIST = {"fedora": "fc"}


@pytest.mark.parametrize("target", TARGETS)
def test_the_package_of_every_target(store: ContentStore, tmp_path: Path, target: str) -> None:
    package = made(store, tmp_path, target)
    family, _, flavour = target.partition("-")
    dist = ".".join(filter(None, (DIST.get(family, family), flavour)))
    assert package.name == f"redis-container-7.0-1.1.{dist}.x86_64.rpm"

    requires = [line for line in asked(package, "--requires") if not line.startswith("rpmlib(")]
    if flavour == "podman":
        engine = f"podman >= {ENGINE[family].split()[2].partition(':')[0]}:4.7"
    else:
        engine = ENGINE[flavour or family]
    blob = f"oci-blob({stored(store).layers[0].blob.digest})"
    layers = [] if target == "el7" else [blob]
    scripts = ["/bin/sh", "/bin/sh", "/bin/sh", "systemd", "systemd", "systemd"]
    assert sorted(requires) == sorted(
        ["containerpkg-runtime", engine, *layers, *(scripts if target == "el7" else [])]
    )

    compressor = asked(package, "--queryformat", "%{PAYLOADCOMPRESSOR}")
    assert compressor == (["gzip"] if target == "el7" else ["(none)"])
    if target != "el7":
        assert asked(package, "--scripts", "--triggers", "--filetriggers") == []

    listed = asked(package, "--list")
    own = {name for name in listed if name.startswith(f"{SYSTEM}/")}
    plain = {f"{SYSTEM}/{unit}" for unit in ("redis.service", "report.service", "report.timer")}
    if target == "el7" or flavour:
        assert own == plain
    else:
        assert own == {
            f"{SYSTEM}/redis-image.service.d",
            f"{SYSTEM}/redis-image.service.d/50-containerpkg.conf",
            f"{SYSTEM}/report.timer",
        }
    assert (HOME + "image.tar.gz" in listed) == (target == "el7")
    assert (HOME + "index.json" in listed) == (target != "el7")


def test_what_rpm_4_11_reads(store: ContentStore, tmp_path: Path) -> None:
    package = made(store, tmp_path, "el7")
    needed = [line for line in asked(package, "--requires") if line.startswith("rpmlib(")]
    assert needed == [
        "rpmlib(CompressedFileNames) <= 3.0.4-1",
        "rpmlib(FileDigests) <= 4.6.0-1",
        "rpmlib(PayloadFilesHavePrefix) <= 4.0-1",
    ]
    scripts = asked(package, "--scripts")
    assert [line for line in scripts if "scriptlet" in line] == [
        "postinstall scriptlet (using /bin/sh):",
        "preuninstall scriptlet (using /bin/sh):",
        "postuninstall scriptlet (using /bin/sh):",
    ]
    for tag in ("POSTIN", "PREUN", "POSTUN"):
        script = asked(package, "--queryformat", f"%{{{tag}}}")
        subprocess.run(["sh", "-n"], input="\n".join(script), text=True, check=True)


@pytest.mark.parametrize("target", ["el7", "el9", "el9-podman", "el9-docker"])
def test_an_archive_holds_the_image(store: ContentStore, tmp_path: Path, target: str) -> None:
    package = made(store, tmp_path, target, payload="archive")
    again = made(store, tmp_path / "again", target, payload="archive")
    assert package.read_bytes() == again.read_bytes()
    name = "image.tar.gz" if target == "el7" else "image.tar.zst"
    with package.open("rb") as file:
        unpacked = subprocess.run(
            ["rpm2archive", "-"], stdin=file, check=True, capture_output=True
        ).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        archive = tar.extractfile(f".{HOME}{name}").read()  # type: ignore[union-attr]
    if target != "el7":
        archive = zstandard.ZstdDecompressor().decompressobj().decompress(archive)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
        held = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    image = stored(store)
    (entry,) = json.loads(held["manifest.json"])
    fixed = f"quay.io/foreman/redis:{image.manifest.digest.replace(':', '-')}"
    assert entry["RepoTags"] == ["quay.io/foreman/redis:7.0", fixed]
    assert f"sha256:{sha256_bytes(held[entry['Config']])}" == image.id
    assert [held[layer] for layer in entry["Layers"]] == [LAYER]


def altered(name: str, content: Callable[[object], object]) -> Callable[[PackagePlan], PackagePlan]:
    """A plan with another file of that name, which its header is true about."""

    def change(plan: PackagePlan) -> PackagePlan:
        files = [
            replace(file, content=content(file.content)) if file.target == HOME + name else file
            for file in plan.files
        ]
        return replace(plan, files=tuple(files))

    return change


def other(content: object) -> object:
    """An archive with the layer twice."""
    assert isinstance(content, archive.Archive)
    image = replace(content.image, layers=content.image.layers * 2)
    return replace(content, image=image)


def renamed(content: object) -> object:
    assert isinstance(content, archive.Archive)
    return replace(content, references=(*content.references, "quay.io/foreman/foreman:1"))


def cut(folder: Path) -> Callable[[object], object]:
    def content(content: object) -> object:
        assert isinstance(content, archive.Archive)
        archive.write(content, folder / "whole")
        (folder / "part").write_bytes((folder / "whole").read_bytes()[:-3000])
        return folder / "part"

    return content


def test_the_chain_of_an_archive_is_followed_to_its_layers(
    store: ContentStore, tmp_path: Path
) -> None:
    image = stored(store)
    for target, compressed in (("el7", "gz"), ("el9", "zst")):
        package = made(store, tmp_path / compressed, target, payload="archive")
        *_, link = verify([package], None)
        assert link == Link(
            kind="image",
            name=f"redis (redis-container-7.0-1.1.{target}.x86_64)",
            result=f"archive, image ID {image.id[:19]}, 1 layer",
        )

    name = "image.tar.zst"
    twice = stored(store).layers[0].diff_id
    faults: dict[str, tuple[Callable[[PackagePlan], PackagePlan], str]] = {
        "layers": (altered(name, other), "has other layers than its configuration or image.json"),
        "names": (altered(name, renamed), "would be loaded as quay.io/foreman/foreman:1, quay.io/"),
        "cut": (altered(name, cut(tmp_path)), "is in a package that is broken"),
        "id": (
            altered("image.json", lambda text: str(text).replace(image.id, twice)),
            f"is another one: its archive has {image.id}, image.json names {twice}",
        ),
        "manifest": (
            altered("image.json", lambda text: str(text).replace(image.manifest.digest, twice)),
            "is not of the manifest that the package provides",
        ),
        "no archive": (
            altered("image.json", lambda text: str(text).replace(name, "other.tar")),
            "should be one archive with one image: it has 1 archive, and the one that image.json n",
        ),
    }
    for fault, (change, message) in faults.items():
        package = made(store, tmp_path / fault, "el9", change, payload="archive")
        *others, link = verify([package], None)
        assert isinstance(link.error, StoreError), fault
        assert link.error.message.startswith(f"the image redis in {package.name} {message}")
        broken = [one.error.message for one in others if one.error]
        said = f"its archive {HOME}{name} is no whole image: it is cut short"
        altered_package = f"the package {package.name} was altered: {said}"
        assert broken == ([altered_package] if fault == "cut" else [])


@pytest.mark.parametrize("flavour", ["podman", "docker"])
def test_systemd_takes_the_units_of_both_engines(flavour: Flavour) -> None:
    report: dict[str, object] = {"type": "oneshot", "schedule": "daily"}
    services = {"redis": FULL, "migrate": ONCE, "report": report}
    made = [UnitFile(path=path, text=text) for path, text in units(flavour, services).items()]
    assert check_units(made, podman=(4, 7)) == Checked()
    broken = UnitFile(path=f"{SYSTEM}/b.service", text="[Service]\nExecStart=/bin/x\nTypo=a\n")
    (problem,) = check_units([broken], podman=(4, 7)).problems
    assert problem.message.startswith("b.service:3: Unknown key")


def test_systemd_makes_the_users_and_the_directories(tmp_path: Path) -> None:
    for file in render_identity("shop", SHOP, USERS, package="shop-container"):
        path = tmp_path / file.path.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True)
    lines = (tmp_path / "etc/passwd").read_text().splitlines()
    assert sorted(line.partition(":/")[0] for line in lines) == [
        "feed:x:401:450:",
        "shop:x:400:400:Web shop",
    ]
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}"], check=True)
    found = {path.name: path.stat() for path in (tmp_path / "srv").iterdir()}
    assert {name: (f"{s.st_mode:o}", s.st_uid, s.st_gid) for name, s in found.items()} == {
        "a b%": ("40750", 400, 400),
        "c": ("40755", 400, 400),
    }
