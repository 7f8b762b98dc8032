"""The package of one image: its layout, its units and its configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.service import Service
from containerpkg.errors import PackageError
from containerpkg.packages import spec
from containerpkg.packages.archive import Archive, archive_form, archive_name
from containerpkg.packages.layer import (
    BLOB_DIRECTORIES,
    CARRIED_BELOW,
    SHARE,
    blob_file,
    layer_nevra,
    layer_provide,
)
from containerpkg.packages.plan import SHARED_TIME, PackageFile, PackagePlan, Symlink
from containerpkg.packages.runtime import NAME as RUNTIME
from containerpkg.packages.targets import TARGETS, Target
from containerpkg.packages.version import Nevra, rpm_architecture
from containerpkg.store.content import ContentStore, StoredImage, hex_of
from containerpkg.store.manifest import MANIFEST
from containerpkg.templates import render
from containerpkg.units.flavour import render_units, runs_by
from containerpkg.units.identity import FIREWALLD, TMPFILES, render_identity
from containerpkg.units.quadlet import IMAGES, QUADLET, SYSTEM, UnitFile, fixed_reference
from containerpkg.units.sysconfig import render_sysconfig, sysconfig_path

REFERENCE = "org.opencontainers.image.ref.name"
"""The annotation of an image layout's index that says what an image is called."""

# What is below /etc on any host; it has owners, who may have given it another mode.
_STANDARD = frozenset({
    "NetworkManager", "X11", "alternatives", "audit", "bash_completion.d", "binfmt.d",
    "containers", "cron.d", "cron.daily", "cron.hourly", "cron.monthly", "cron.weekly",
    "crypto-policies", "dbus-1", "default", "depmod.d", "dnf", "dracut.conf.d", "environment.d",
    "firewalld", "gnupg", "init.d", "issue.d", "kernel", "krb5.conf.d", "ld.so.conf.d",
    "logrotate.d", "modprobe.d", "modules-load.d", "motd.d", "opt", "pam.d", "pkcs11", "pki",
    "polkit-1", "profile.d", "rc.d", "rpm", "rsyslog.d", "sasl2", "security", "selinux", "skel",
    "ssh", "ssl", "sudoers.d", "sysconfig", "sysctl.d", "systemd", "tmpfiles.d", "tuned",
    "udev", "xdg", "yum", "yum.repos.d",
})  # fmt: skip


def plan_image(
    project: Project, image: Image, stored: StoredImage, store: ContentStore, *, stamp: str
) -> PackagePlan:
    """The package of ``image`` of ``project``, with the release that ``stamp`` ends.

    Raises :class:`PackageError` for what RPM or a unit cannot carry.
    """
    target = TARGETS[project.file.target]
    check_payload(image, target)
    services = image.file.services
    nevra = Nevra(
        name=image.package,
        version=image.version,
        release=f"{project.file.release}.{stamp}{target.dist}",
        arch=rpm_architecture(stored.architecture),
    )
    home = f"{IMAGES}/{image.name}"
    archived = has_archive(image, target)
    if archived:
        archive = f"{home}/{archive_name(target.compression)}"
        content = [_archive(archive, project, image, stored, store, target)]
        required = []
    else:
        archive = None
        layers = list(dict.fromkeys(layer.blob for layer in stored.layers))
        carried = [blob for blob in layers if blob.size < CARRIED_BELOW]
        required = [blob for blob in layers if blob.size >= CARRIED_BELOW]
        content = [
            *(blob_file(store, blob) for blob in (stored.manifest, stored.config, *carried)),
            *_layout(home, image, stored),
        ]
    units = render_units(
        image.name,
        services,
        flavour=target.units,
        engine=target.engine,
        systemd=target.systemd,
        summary=image.file.summary,
        package=image.package,
        repository=image.repository,
        tag=image.tag,
        digest=stored.manifest.digest,
        image_id=stored.config.digest,
        archive=archive,
        neighbours=image.file.neighbours,
        project=project.root,
    )
    identity = render_identity(
        image.name, services, image.file.users, package=image.package, project=project.root
    )
    files = _sorted(
        [
            *content,
            _about(home, image, stored, target, archive),
            *(PackageFile(target=file.path, content=file.text) for file in (*units, *identity)),
            *_configuration(services, image.folder, project.root),
        ]
    )
    shared = (SHARE,) if archived else BLOB_DIRECTORIES
    directories = _directories({*shared, IMAGES, home}, units, files)
    requires = [spec.dependency(layer_provide(blob)) for blob in required]
    if services or (image.file.neighbours and target.neighbours):
        requires.append(spec.dependency(RUNTIME))
        requires.append(spec.any_of(target.engine_requirement))
    # Quadlet's units come before those below /usr, so one of the distribution would lose its name.
    rivals = sorted(services) if target.units == "quadlet" else []
    conflicts = [f"{SYSTEM}/{name}.service" for name in rivals]
    provides = [
        f"container({image.repository}) = {image.version}",
        f"oci-manifest({stored.manifest.digest})",
        f"oci-image-id({stored.config.digest})",
    ]
    address = image.file.url or project.file.url
    return PackagePlan(
        nevra=nevra,
        time=max(_seconds(stored.created), SHARED_TIME),
        directories=directories,
        files=files,
        # What rpm 4.11 certainly reads.
        payload="w1.gzdio" if target.classic else "w.ufdio",
        spec=render(
            "image.spec.j2",
            {
                "nevra": nevra,
                "summary": image.file.summary,
                "license": image.file.license,
                "url": spec.url(address) if address else None,
                "vendor": project.file.vendor,
                "packager": project.file.packager or project.file.vendor,
                "description": spec.description(
                    image.file.description
                    or f"{image.file.summary}, as the image {image.reference}."
                ),
                "provides": [spec.dependency(text) for text in provides],
                "requires": requires,
                "conflicts": [spec.path(path) for path in conflicts],
                "directories": [spec.path(path) for path in directories],
                "files": spec.files(files),
                "scriptlets": target.classic and bool(services),
                # Enterprise Linux 7 has a systemd without sysusers.
                "users": [
                    {
                        "name": name,
                        "uid": user.uid,
                        "gid": user.uid if user.gid is None else user.gid,
                        "description": user.description or "",
                    }
                    for name, user in sorted(image.file.users.items())
                ],
                "created": next(
                    (spec.path(f.path) for f in identity if f.path.startswith(TMPFILES)), None
                ),
                # A service with a schedule is started by its timer, and ends by itself.
                "started": [
                    f"{name}.service" for name in sorted(services) if not services[name].schedule
                ],
                "timers": [f"{name}.timer" for name in sorted(services) if services[name].schedule],
            },
            kind="spec-templates",
            serialize=spec.line,
            project=project.root,
        ),
    )


def check_payload(image: Image, target: Target) -> None:
    """Raise :class:`PackageError` if hosts of ``target`` could not load what is in the package."""
    if target.classic and not has_archive(image, target):
        raise PackageError(
            f"image '{image.name}' has 'payload: layers', which hosts of the target "
            f"'{target.name}' cannot load",
            hint=f"leave 'payload' out of images/{image.name}/image.yaml",
        )


def check_volumes(image: Image, config: Mapping[str, Any]) -> None:
    """Raise :class:`PackageError` if a service would lose what is in a volume of its image.

    ``config`` is the image's configuration, see config.md of the OCI image specification. Quadlet
    removes volumes without a name together with the container, at each stop.
    """
    declared = (config.get("config") or {}).get("Volumes") or {}
    for name, service in image.file.services.items():
        if paths := service.uncovered(declared):
            raise PackageError(
                f"image '{image.name}' declares VOLUME {paths[0]}, which has no name in 'volumes:' "
                f"of the service '{name}', so podman would delete what is in it at each stop",
                hint=f"in images/{image.name}/image.yaml add 'volumes: {{NAME: {paths[0]}}}', "
                f"or 'tmpfs: [{paths[0]}]' if that is meant",
            )


def has_archive(image: Image, target: Target) -> bool:
    """Whether the package of ``image`` has all of it in one file, and needs no layer packages."""
    return (image.file.payload or target.payload) == "archive"


def _archive(
    path: str,
    project: Project,
    image: Image,
    stored: StoredImage,
    store: ContentStore,
    target: Target,
) -> PackageFile:
    names = (image.reference, fixed_reference(image.repository, stored.manifest.digest))
    form = archive_form(target.compression, project.file.layers)
    return PackageFile(
        target=path, content=Archive(image=stored, references=names, form=form, store=store)
    )


def _layout(home: str, image: Image, stored: StoredImage) -> list[PackageFile]:
    """The folder that is an OCI image layout and a docker-archive at once.

    See image-layout.md of the OCI image specification, and the manifest.json of ``docker save``.
    """
    blobs = [layer.blob for layer in stored.layers]
    architecture, _, variant = stored.architecture.partition("/")
    platform = {"architecture": architecture, "os": "linux"}
    if variant:
        platform["variant"] = variant
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": stored.manifest.digest,
                "size": stored.manifest.size,
                "platform": platform,
                "annotations": {REFERENCE: reference},
            }
            # Podman takes the first, people the second.
            for reference in (
                fixed_reference(image.repository, stored.manifest.digest),
                image.reference,
            )
        ],
    }
    archive = [
        {
            "Config": f"blobs/sha256/{hex_of(stored.config.digest)}",
            "RepoTags": [image.reference],
            "Layers": [f"blobs/sha256/{hex_of(blob.digest)}" for blob in blobs],
        }
    ]
    return [
        PackageFile(target=f"{home}/oci-layout", content=_json({"imageLayoutVersion": "1.0.0"})),
        PackageFile(target=f"{home}/index.json", content=_json(index)),
        PackageFile(target=f"{home}/manifest.json", content=_json(archive)),
        PackageFile(target=f"{home}/blobs", content=Symlink(to="../../blobs")),
    ]


def _about(
    home: str, image: Image, stored: StoredImage, target: Target, archive: str | None
) -> PackageFile:
    """What programs on the host need to know of an image.

    Layers of an archive are called by their diff IDs and have the size that they unpack to.
    """
    layers = [
        {
            "digest": layer.diff_id if archive else layer.blob.digest,
            "size": layer.plain_size if archive else layer.blob.size,
            "diff_id": layer.diff_id,
            "plain_size": layer.plain_size,
            "package": image.package
            if archive or layer.blob.size < CARRIED_BELOW
            else layer_nevra(layer.blob).name,
        }
        for layer in stored.layers
    ]
    about = {
        "name": image.name,
        "package": image.package,
        "version": image.version,
        "reference": image.reference,
        "manifest": stored.manifest.digest,
        "id": stored.config.digest,
        "architecture": stored.architecture,
        "units": target.units,
        "runs": runs_by(
            target.units,
            target.engine,
            repository=image.repository,
            digest=stored.manifest.digest,
            image_id=stored.config.digest,
            archive=archive,
        ),
        **({"archive": archive_name(target.compression)} if archive else {}),
        "layers": layers,
        "services": sorted(image.file.services),
        "volumes": sorted({v for s in image.file.services.values() for v in s.volumes}),
        **_secrets(image.file.services),
        **_neighbours(image, target),
    }
    return PackageFile(target=f"{home}/image.json", content=_json(about))


def _secrets(services: Mapping[str, Service]) -> dict[str, object]:
    """What the host has to have before a service starts."""
    listed = [
        {
            "service": service,
            "name": name,
            **secret.model_dump(include={"source", "credential"}, exclude_none=True),
            "target": services[service].secret_targets[name],
        }
        for service in sorted(services)
        for name, secret in sorted(services[service].secrets.items())
    ]
    return {"secrets": listed} if listed else {}


def _neighbours(image: Image, target: Target) -> dict[str, object]:
    """The units of other deployments that take the image, and what they call it."""
    if not (image.file.neighbours and target.neighbours):
        return {}
    return {
        "neighbours": [
            {"unit": f"{unit}.image", "reference": neighbour.reference or image.reference}
            for unit, neighbour in sorted(image.file.neighbours.items())
        ]
    }


def _configuration(
    services: Mapping[str, Service], folder: Path, project: Path
) -> list[PackageFile]:
    """What an administrator may change, and an update keeps."""
    files: list[PackageFile] = []
    for name, service in services.items():
        files += [
            PackageFile(
                target=config.host_path(name),
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
    own: set[str], units: tuple[UnitFile, ...], files: tuple[PackageFile, ...]
) -> tuple[str, ...]:
    """Directories that the package owns, so that its removal leaves none behind."""
    owned = own | {str(PurePosixPath(unit.path).parent) for unit in units if _is_dropin(unit.path)}
    for file in files:
        # Where firewalld is not installed, nobody else has them.
        if file.target.startswith(f"{FIREWALLD}/"):
            owned |= {FIREWALLD, str(PurePosixPath(FIREWALLD).parent)}
        parts = PurePosixPath(file.target).parts
        # Without the file itself, "/" and "etc".
        if parts[1] == "etc" and len(parts) > 3 and parts[2] not in _STANDARD:
            owned |= {"/" + "/".join(parts[1:end]) for end in range(3, len(parts))}
    return tuple(sorted(owned))


def _is_dropin(path: str) -> bool:
    return path.startswith((f"{SYSTEM}/", f"{QUADLET}/")) and path.endswith(".conf")


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


def _seconds(created: str) -> int:
    """Seconds since 1970 of an RFC 3339 time, whose fraction may have nine digits."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", created)
    if not match:
        raise PackageError(f"the image's creation time '{created}' is not an RFC 3339 time")
    zone = "+00:00" if match[2] == "Z" else match[2]
    return int(datetime.fromisoformat(match[1] + zone).timestamp())


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
