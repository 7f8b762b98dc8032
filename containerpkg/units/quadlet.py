"""Renders the Quadlet units of an image's services, see podman-systemd.unit(5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from containerpkg.definitions.image import Neighbour
from containerpkg.definitions.model import duration_seconds
from containerpkg.definitions.service import Health, Mount, Service
from containerpkg.errors import PackageError
from containerpkg.templates import render
from containerpkg.units import systemd
from containerpkg.units.secrets import secret_bindings, secret_values
from containerpkg.units.sysconfig import render_defaults, sysconfig_path
from containerpkg.units.systemd import argument, names, setting

IMAGES = "/usr/share/containerpkg/images"
"""Where a host keeps the OCI image layouts."""

QUADLET = "/usr/share/containers/systemd"
"""Where packages put Quadlet units."""

SYSTEM = "/usr/lib/systemd/system"
"""Where packages put systemd units and their drop-ins."""

Podman = tuple[int, int]
"""The oldest podman (major, minor) that must understand the units."""

DROPINS: Podman = (5, 0)
"""The first podman whose Quadlet reads drop-ins."""


@dataclass(frozen=True, kw_only=True, order=True)
class UnitFile:
    """A file that a unit is made of: where the host keeps it, and its text."""

    path: str
    text: str


def render_units(
    image: str,
    services: Mapping[str, Service],
    *,
    summary: str,
    package: str,
    repository: str,
    tag: str,
    digest: str,
    podman: Podman,
    pinned: str | None = None,
    archive: str | None = None,
    neighbours: Mapping[str, Neighbour] | None = None,
    project: Path | None = None,
) -> tuple[UnitFile, ...]:
    """The files that make units of an image's services, sorted by path.

    ``image`` is the image's name, ``summary`` describes a service that does not describe itself,
    ``digest`` is the manifest digest (``sha256:`` and 64 hexadecimal digits), ``pinned`` is what
    only this content is called, by default ``REPOSITORY@DIGEST``, ``archive`` a docker-archive on
    the host in place of a layout, ``project`` the root of the project whose templates come first.
    An image without services has no units, and only drop-ins for its ``neighbours``, which a podman
    before :data:`DROPINS` does not get.

    Raises :class:`PackageError` for a value that no unit can carry.
    """
    files: dict[str, str] = {}

    def add(path: str, template: str, values: Mapping[str, object]) -> None:
        files[path] = render(
            template, values, kind="systemd", serialize=systemd.checked, project=project
        )

    common: dict[str, object] = {
        "image": names([image]),
        "package": setting(package),
        "repository": argument(repository),
        "digest": argument(digest),
        "reference": argument(f"{repository}:{tag}"),
        "pinned": argument(pinned or f"{repository}@{digest}"),
        "source": argument(
            f"docker-archive:{archive}"
            if archive
            else f"oci:{IMAGES}/{image}:{fixed_reference(repository, digest)}"
        ),
        "fixed_reference": argument(fixed_reference(repository, digest)),
        "podman_5": podman >= (5, 0),
        # Its one key came with 5.3.
        "quadlet_section": podman >= (5, 3),
    }
    for unit, neighbour in (neighbours or {}).items() if podman >= DROPINS else ():
        expected = neighbour.reference or f"{repository}:{tag}"
        values = common | {"unit": names([unit]), "expected": argument(expected)}
        add(neighbour_path(unit), "quadlet.neighbour.conf.j2", values)
        dropin = f"{SYSTEM}/{unit}-image.service.d/50-containerpkg.conf"
        add(dropin, "neighbour.service.conf.j2", values)
    if services:
        longest = max(duration_seconds(service.start_timeout) for service in services.values())
        add(f"{QUADLET}/{image}.image", "quadlet.image.j2", common | {"start_timeout": longest})
        dropin = f"{SYSTEM}/{image}-image.service.d/50-containerpkg.conf"
        add(dropin, "image.service.conf.j2", common)
    for name, service in services.items():
        try:
            values = common | _container(image, name, service, summary=summary)
        except PackageError as error:
            raise PackageError(f"service '{name}': {error.message}", hint=error.hint) from error
        add(f"{QUADLET}/{name}.container", "quadlet.container.j2", values)
        if service.schedule:
            add(f"{SYSTEM}/{name}.timer", "service.timer.j2", values)
        if service.environment:
            files[defaults_path(image, name)] = render_defaults(service.environment)
        # Images may share a volume or a network. Each package has a unit of its own for it, or an
        # update of one would conflict with the others as soon as a template changes.
        for kind, shared in (("volume", service.volumes), ("network", service.networks)):
            for each in shared:
                unit = f"{image}-{each}"
                own = {"unit": names([unit]), "name": names([each])}
                add(f"{QUADLET}/{unit}.{kind}", f"quadlet.{kind}.j2", common | own)
    return tuple(UnitFile(path=path, text=text) for path, text in sorted(files.items()))


def neighbour_path(unit: str) -> str:
    """The drop-in that has another deployment's ``UNIT.image`` take an image from this host."""
    return f"{QUADLET}/{unit}.image.d/20-archive.conf"


def fixed_reference(repository: str, digest: str) -> str:
    """The image under a tag that never means another, so that an update leaves the old its name.

    Podman finds an image by its digest as long as it has any name in that repository.
    """
    return f"{repository}:{digest.replace(':', '-')}"


def defaults_path(image: str, service: str) -> str:
    """Where the host keeps the package's defaults for a service's environment."""
    return f"{IMAGES}/{image}/{service}.env"


def common_values(name: str, service: Service, *, summary: str) -> dict[str, object]:
    """The values that the templates of all flavours have in common."""
    return {
        "service": names([name]),
        "description": setting(service.description or summary),
        "requires": names(service.requires),
        "wants": names(service.wants),
        "after": names(service.after),
        "before": names(service.before),
        "oneshot": service.oneshot,
        "schedule": setting(service.schedule) if service.schedule else None,
        "sysconfig": argument(sysconfig_path(name)),
        "start_timeout": duration_seconds(service.start_timeout),
        "stop_timeout": duration_seconds(service.stop_timeout),
        "restart": names(["no" if service.oneshot else service.restart]),
        "wanted_by": names(() if service.schedule else service.wanted_by),
        **secret_values(name, service),
    }


def bindings(name: str, service: Service) -> tuple[str, ...]:
    """What a service sees of the host, as ``SOURCE:TARGET:OPTIONS``."""
    return (
        *(_mount(mount) for mount in service.mounts),
        # A single file below /etc has a label that SELinux hides from containers.
        *(f"{config.host_path(name)}:{config.target}:ro,z" for config in service.config),
        *secret_bindings(name, service),
    )


def _container(image: str, name: str, service: Service, *, summary: str) -> dict[str, object]:
    """The values of ``quadlet.container.j2``."""
    entrypoint = service.entrypoint
    return common_values(name, service, summary=summary) | {
        "entrypoint": argument(entrypoint) if entrypoint else None,
        "entrypoint_option": systemd.words([f"--entrypoint={entrypoint}"]) if entrypoint else None,
        "command": systemd.words(service.command),
        "user": argument(service.user) if service.user else None,
        "ports": [argument(port) for port in service.ports],
        "networks": [argument(f"{image}-{network}.network") for network in service.networks],
        "volumes": [
            *(
                argument(f"{image}-{volume}.volume:{at}:rw")
                for volume, at in service.volumes.items()
            ),
            *(argument(binding) for binding in bindings(name, service)),
        ],
        "defaults": argument(defaults_path(image, name)) if service.environment else None,
        "health": _health(service.health) if service.health else None,
        "read_only": service.read_only,
        "tmpfs": [argument(path) for path in service.tmpfs],
        "capabilities": [names([f"CAP_{name}"]) for name in service.capabilities],
    }


def _mount(mount: Mount) -> str:
    # Quadlet also writes the path into RequiresMountsFor=, in some versions without quoting.
    if any(character in mount.source for character in "\\\"'"):
        raise PackageError(
            f"the host path {mount.source!r} contains a quote or a backslash",
            hint="mount its parent directory, or rename it",
        )
    options = "ro" if mount.read_only else "rw"
    if mount.label:
        options += {"shared": ",z", "private": ",Z"}[mount.label]
    return f"{mount.source}:{mount.target}:{options}"


def _health(health: Health) -> dict[str, object]:
    return {
        "command": systemd.shell_command(health.command),
        "interval": duration_seconds(health.interval),
        "timeout": duration_seconds(health.timeout),
        "retries": health.retries,
        "start_period": duration_seconds(health.start_period),
    }
