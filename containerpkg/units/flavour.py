"""Renders the units of an image's services in the way that its hosts run containers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, assert_never

from containerpkg.definitions.image import Neighbour
from containerpkg.definitions.service import Service
from containerpkg.units import plain, quadlet
from containerpkg.units.quadlet import UnitFile, fixed_reference
from containerpkg.units.secrets import check_secrets

Flavour = Literal["quadlet", "podman", "docker"]
"""Units that podman's generator makes, or systemd units that start podman or docker themselves."""

Version = tuple[int, int]
"""The major and the minor number of an engine."""


def render_units(
    image: str,
    services: Mapping[str, Service],
    *,
    flavour: Flavour,
    engine: Version,
    summary: str,
    package: str,
    repository: str,
    tag: str,
    digest: str,
    image_id: str,
    systemd: int,
    archive: str | None = None,
    neighbours: Mapping[str, Neighbour] | None = None,
    project: Path | None = None,
) -> tuple[UnitFile, ...]:
    """The files that make units of an image's services, sorted by path.

    ``engine`` and ``systemd`` are the oldest podman or docker, and the oldest systemd, that must
    understand them, ``digest`` is that of the
    manifest and ``image_id`` that of the configuration (``sha256:`` and 64 hexadecimal digits).
    ``archive`` is the host's docker-archive where there is no layout: an engine makes a manifest of
    its own for it, so the image goes by its ID. Service and unit names are the same in all
    flavours; see :func:`quadlet.render_units`. ``neighbours`` are Quadlet's alone.

    Raises :class:`PackageError` for a value that no unit can carry.
    """
    for name, service in services.items():
        check_secrets(name, service, systemd)
    pinned = runs_by(
        flavour, engine, repository=repository, digest=digest, image_id=image_id, archive=archive
    )
    match flavour:
        case "quadlet":
            return quadlet.render_units(
                image,
                services,
                summary=summary,
                package=package,
                repository=repository,
                tag=tag,
                digest=digest,
                podman=engine,
                pinned=pinned,
                archive=archive,
                neighbours=neighbours,
                project=project,
            )
        case "podman":
            runs: plain.Podman | plain.Docker = plain.Podman(pinned=pinned)
        case "docker":
            runs = plain.Docker(
                pinned=pinned, ids=(image_id, digest), version=engine, systemd=systemd
            )
        case _:
            assert_never(flavour)
    return plain.render_units(
        image,
        services,
        engine=runs,
        summary=summary,
        package=package,
        reference=f"{repository}:{tag}",
        project=project,
    )


def runs_by(
    flavour: Flavour,
    engine: Version,
    *,
    repository: str,
    digest: str,
    image_id: str,
    archive: str | None,
) -> str:
    """What the units of an image name it by, so that they run this content and no other.

    Docker knows no manifest digests of what it loads, and its newer store no IDs of
    configurations. So it is a tag of this content alone, which containerpkg-host looks behind
    before each start; a docker that cannot be told to pull nothing gets the ID.
    """
    if flavour == "docker":
        by_tag = engine >= plain.DOCKER_PULL
        return fixed_reference(repository, digest) if by_tag else image_id
    return image_id if archive else f"{repository}@{digest}"
