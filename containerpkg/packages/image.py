"""The package of one image: its layout, its units and its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.service import Service
from containerpkg.errors import PackageError
from containerpkg.packages import spec
from containerpkg.packages.layer import (
    BLOB_DIRECTORIES,
    CARRIED_BELOW,
    Blob,
    blob_file,
    layer_nevra,
    layer_provide,
)
from containerpkg.packages.plan import PackageFile, PackagePlan, Symlink
from containerpkg.packages.targets import Target
from containerpkg.packages.version import Nevra, rpm_architecture
from containerpkg.templates import render
from containerpkg.units.quadlet import (
    IMAGES,
    SYSTEM,
    UnitFile,
    config_path,
    render_units,
)
from containerpkg.units.sysconfig import render_sysconfig, sysconfig_path

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_REFERENCE = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, kw_only=True)
class ImageContent:
    """What the content store knows of an image."""

    repository: str
    """Registry and path, for example quay.io/foreman/foreman."""

    tag: str
    manifest: Blob
    config: Blob
    """Its digest is the image ID."""

    layers: tuple[Blob, ...]
    """From the base upwards."""

    architecture: str
    """As OCI names it, with a variant where there is one: amd64, arm/v7."""

    created: int
    """Seconds since 1970."""

    manifest_type: str = _MANIFEST

    @property
    def reference(self) -> str:
        """``REPOSITORY:TAG``"""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a project says of all its packages; ``root`` is its folder."""

    root: Path
    vendor: str | None = None
    packager: str | None = None
    url: str | None = None


def plan_image(
    name: str,
    file: ImageFile,
    content: ImageContent,
    *,
    package: str,
    version: str,
    release: str,
    folder: Path,
    origin: Origin,
    target: Target,
) -> PackagePlan:
    """The package of the image ``name`` with its definition ``file`` in ``folder``.

    ``release`` is the release without the target's suffix, for example ``1``.

    Raises :class:`PackageError` for what RPM or a unit cannot carry.
    """
    nevra = Nevra(
        name=package,
        version=version,
        release=f"{release}{target.dist}",
        arch=rpm_architecture(content.architecture),
    )
    layers = _unique(content.layers)
    carried = [layer for layer in layers if layer.size < CARRIED_BELOW]
    required = [layer for layer in layers if layer.size >= CARRIED_BELOW]
    home = f"{IMAGES}/{name}"
    units = render_units(
        name,
        file.services,
        summary=file.summary,
        package=package,
        repository=content.repository,
        tag=content.tag,
        digest=content.manifest.digest,
        podman=target.podman,
        project=origin.root,
    )
    files = _sorted(
        [
            *(blob_file(blob) for blob in (content.manifest, content.config, *carried)),
            *_layout(home, name, content, nevra, file.services),
            *(PackageFile(target=unit.path, content=unit.text) for unit in units),
            *_configuration(file.services, folder, origin.root),
        ]
    )
    directories = _directories(home, units, file.services, files)
    requires = [layer_provide(layer) for layer in required]
    if file.services:
        requires.append(f"podman >= {target.podman[0]}.{target.podman[1]}")
    provides = [
        f"container({content.repository}) = {version}",
        f"oci-manifest({content.manifest.digest})",
        f"oci-image-id({content.config.digest})",
    ]
    address = file.url or origin.url
    return PackagePlan(
        nevra=nevra,
        time=content.created,
        directories=directories,
        files=files,
        spec=render(
            "image.spec.j2",
            {
                "nevra": nevra,
                "summary": file.summary,
                "license": file.license,
                "url": spec.url(address) if address else None,
                "vendor": origin.vendor,
                "packager": origin.packager,
                "description": spec.description(
                    file.description or f"{file.summary}, as the image {content.reference}."
                ),
                "provides": [spec.dependency(text) for text in provides],
                "requires": [spec.dependency(text) for text in requires],
                "directories": [spec.path(path) for path in directories],
                "files": spec.files(files),
            },
            kind="spec-templates",
            serialize=spec.line,
            project=origin.root,
        ),
    )


def _layout(
    home: str,
    name: str,
    content: ImageContent,
    nevra: Nevra,
    services: Mapping[str, Service],
) -> list[PackageFile]:
    """The folder that is an OCI image layout and a docker-archive at once.

    See image-layout.md of the OCI image specification, and the manifest.json of ``docker save``.
    """
    architecture, _, variant = content.architecture.partition("/")
    platform = {"architecture": architecture, "os": "linux"}
    if variant:
        platform["variant"] = variant
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": content.manifest_type,
                "digest": content.manifest.digest,
                "size": content.manifest.size,
                "platform": platform,
                "annotations": {_REFERENCE: content.reference},
            }
        ],
    }
    archive = [
        {
            "Config": f"blobs/sha256/{content.config.hex}",
            "RepoTags": [content.reference],
            "Layers": [f"blobs/sha256/{layer.hex}" for layer in content.layers],
        }
    ]
    about = {
        "name": name,
        "package": nevra.name,
        "version": nevra.version,
        "reference": content.reference,
        "manifest": content.manifest.digest,
        "id": content.config.digest,
        "architecture": content.architecture,
        "layers": [
            {
                "digest": layer.digest,
                "size": layer.size,
                "package": nevra.name if layer.size < CARRIED_BELOW else layer_nevra(layer).name,
            }
            for layer in content.layers
        ],
        "services": sorted(services),
    }
    return [
        PackageFile(target=f"{home}/oci-layout", content=_json({"imageLayoutVersion": "1.0.0"})),
        PackageFile(target=f"{home}/index.json", content=_json(index)),
        PackageFile(target=f"{home}/manifest.json", content=_json(archive)),
        PackageFile(target=f"{home}/image.json", content=_json(about)),
        PackageFile(target=f"{home}/blobs", content=Symlink(to="../../blobs")),
    ]


def _configuration(
    services: Mapping[str, Service], folder: Path, project: Path
) -> list[PackageFile]:
    """What an administrator may change, and an update keeps."""
    files: list[PackageFile] = []
    for name, service in services.items():
        files += [
            PackageFile(
                target=config_path(name, config),
                content=folder / config.source,
                mode=int(config.mode, 8),
                config=True,
            )
            for config in service.config
        ]
        files.append(
            PackageFile(
                target=sysconfig_path(name),
                content=render_sysconfig(name, service.environment, project=project),
                mode=0o640,  # it is where passwords are put
                config=True,
            )
        )
    return files


def _directories(
    home: str,
    units: tuple[UnitFile, ...],
    services: Mapping[str, Service],
    files: tuple[PackageFile, ...],
) -> tuple[str, ...]:
    """Directories that the package owns, so that its removal leaves none behind."""
    owned = {*BLOB_DIRECTORIES, IMAGES, home}
    owned |= {str(PurePosixPath(unit.path).parent) for unit in units if _is_dropin(unit.path)}
    own_roots = tuple(f"/etc/{name}/" for name in services)
    for file in files:
        if file.target.startswith(own_roots):
            parents = (str(parent) for parent in PurePosixPath(file.target).parents)
            owned |= {parent for parent in parents if f"{parent}/".startswith(own_roots)}
    return tuple(sorted(owned))


def _is_dropin(path: str) -> bool:
    return path.startswith(f"{SYSTEM}/") and path.endswith(".conf")


def _sorted(files: list[PackageFile]) -> tuple[PackageFile, ...]:
    """By path, each path once: a configuration file may serve two services."""
    by_target: dict[str, PackageFile] = {}
    for file in files:
        if by_target.setdefault(file.target, file) != file:
            raise PackageError(
                f"two different files would be {file.target}",
                hint="give one of them another 'path' in image.yaml",
            )
    return tuple(by_target[target] for target in sorted(by_target))


def _unique(layers: tuple[Blob, ...]) -> list[Blob]:
    return list({layer.digest: layer for layer in layers}.values())


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
