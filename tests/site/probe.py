"""Small images of which a test knows everything, made without an engine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import Image, Layers, Project, ProjectFile
from containerpkg.packages import rpmbuild
from containerpkg.packages.image import plan_image
from containerpkg.packages.layer import plan_layer
from containerpkg.packages.runtime import plan_runtime
from containerpkg.release.packages import has_package
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.manifest import render_manifest

REPOSITORY = "registry.example/test/probe"


def store_image(store: ContentStore, name: str, *, ballast: int = 0) -> StoredImage:
    """An image that has nothing of its own: its programs are the host's, mounted.

    Its environment has ``NAME``. With ``ballast`` it has a second layer of so many bytes, which
    are other bytes for each name.
    """
    links = {link: f"usr/{link}" for link in ("bin", "lib", "lib64")}
    layers = [_layer(store, links, ("usr", "data"), {})]
    if ballast:
        layers.append(_layer(store, {}, (), {"ballast": random.Random(name).randbytes(ballast)}))
    config = store.add(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["FROM_IMAGE=image", "IN_SYSCONFIG=image", f"NAME={name}"]},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            }
        ).encode()
    )
    form = Layers(compression="gzip")
    return StoredImage(
        id=config.digest,
        manifest=store.add(render_manifest(config, tuple(layers), form)),
        config=config,
        layers=tuple(layers),
        architecture="amd64",
        created="2023-11-14T22:13:20Z",
    )


def _layer(
    store: ContentStore,
    links: Mapping[str, str],
    directories: tuple[str, ...],
    files: Mapping[str, bytes],
) -> Layer:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, to in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, to
            tar.addfile(member)
        for name in directories:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    blob = store.add(gzip.compress(plain.getvalue(), mtime=0))
    diff_id = f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"
    return Layer(blob=blob, diff_id=diff_id, plain_size=len(plain.getvalue()))


def build_packages(
    folder: Path,
    output: Path,
    store: ContentStore,
    stored: StoredImage,
    service: Mapping[str, object],
    stamp: str,
    *,
    name: str = "probe",
    target: str = "el9",
    beside: Mapping[str, Mapping[str, object]] | None = None,
    neighbours: Mapping[str, object] | None = None,
    payload: str | None = None,
) -> tuple[Path, ...]:
    """The packages of an image called ``name``, its own first.

    It has one service of its name unless that is empty, more services by name in ``beside``, and
    ``neighbours`` and ``payload`` as in image.yaml.
    """
    image = Image(
        name=name,
        folder=folder,
        dockerfile=Dockerfile(path=folder / "Dockerfile", stages=(), uses=()),
        file=ImageFile.model_validate(
            {
                "summary": "Probe",
                "license": "MIT",
                "services": {**({name: service} if service else {}), **(beside or {})},
                "neighbours": neighbours or {},
                "payload": payload,
            }
        ),
        repository=REPOSITORY,
        version="1.0",
        parents=(),
        parent_references=(),
    )
    about = {"registry": "registry.example/test", "vendor": "Tests", "target": target}
    file = ProjectFile.model_validate(about)
    project = Project(root=folder, file=file, images=(image,))
    plans = [plan_image(project, image, stored, store, stamp=stamp)]
    plans += [plan_layer(store, layer.blob) for layer in stored.layers if has_package(layer)]
    return tuple(rpmbuild.build(plan, folder / "work", output) for plan in plans)


def build_runtime(folder: Path, output: Path, stamp: str = "1") -> Path:
    """containerpkg-runtime."""
    return rpmbuild.build(plan_runtime(stamp), folder / "work", output)
