"""Renders systemd units that start a container themselves, see systemd.service(5).

The same service gets the same unit name and the same behaviour as with Quadlet: podman hands its
container over to systemd as Quadlet has it do, docker stays in front and hands on signals, output
and status, see podman-run(1) and docker-run(1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from containerpkg.definitions.model import duration_seconds
from containerpkg.definitions.service import Health, Service
from containerpkg.errors import PackageError
from containerpkg.templates import render
from containerpkg.units import systemd
from containerpkg.units.hardening import hardening
from containerpkg.units.quadlet import SYSTEM, UnitFile, bindings, common_values, defaults_path
from containerpkg.units.sysconfig import render_defaults, sysconfig_path
from containerpkg.units.systemd import argument, words

HOST = "/usr/libexec/containerpkg/containerpkg-host"
"""The program of containerpkg-runtime that loads images, and knows when docker's are healthy."""

DOCKER_PULL = (20, 10)
"""The docker that came with ``--pull=never``."""

_TYPE_EXEC = 240

# What podman makes writable in a container whose root is not; docker does it when it is told.
_SCRATCH = ("/run", "/tmp", "/var/tmp")  # noqa: S108 - inside the container


@dataclass(frozen=True, kw_only=True)
class Podman:
    """Podman from 4.7, whose units are started when their container is healthy.

    ``pinned`` is what only this content is called, ``REPOSITORY@DIGEST``.
    """

    name: ClassVar[str] = "podman"
    pinned: str

    def options(self, _: str, service: Service) -> Iterator[str]:
        """What podman needs to know beside what docker does."""
        yield from ("--replace", "--rm", "--pull=never", "--cgroups=split")
        if service.oneshot:
            yield from ("--sdnotify=ignore", "--log-driver=passthrough")
        else:
            ready = "healthy" if service.health else "conmon"
            yield from ("--detach", f"--sdnotify={ready}", "--log-driver=journald")

    def health(self, health: Health) -> Iterator[str]:
        """The health check, asked often until it first answers."""
        command = systemd.container_shell(health.command)
        yield from _health(health, command)
        yield f"--health-start-period={duration_seconds(health.start_period)}s"
        yield f"--health-startup-cmd={command}"
        yield "--health-startup-interval=2s"
        yield f"--health-startup-timeout={duration_seconds(health.timeout)}s"

    def scratch(self, _: Service) -> Iterator[str]:
        """Writable places of a read-only container."""
        yield "--read-only-tmpfs"


@dataclass(frozen=True, kw_only=True)
class Docker:
    """Docker of some ``version`` (major, minor) and newer; ``pinned`` is a tag or the image ID.

    ``ids`` is what docker may call the image, in its older store and in containerd's.
    ``systemd`` is the oldest that must understand the units.
    """

    name: ClassVar[str] = "docker"
    pinned: str
    ids: tuple[str, str]
    version: tuple[int, int]
    systemd: int

    def options(self, name: str, service: Service) -> Iterator[str]:
        """What docker needs to know beside what podman does; an image ID it cannot pull."""
        if len(service.networks) > 1 and self.version < (25, 0):
            raise PackageError(
                f"docker {self.version[0]}.{self.version[1]} starts no container in "
                f"{len(service.networks)} networks",
                hint="give the service one network, or take another target",
            )
        # By it containerpkg-host knows the unit's own container, whatever else has the name.
        yield f"--label=containerpkg.unit={name}.service"
        # What it prints is the unit's output, and so in the journal; a second copy serves nobody.
        yield from ("--rm", "--log-driver=none")
        if self.version >= DOCKER_PULL:
            yield "--pull=never"

    def health(self, health: Health) -> Iterator[str]:
        """The health check, asked often until it first answers where docker can."""
        yield from _health(health, health.command)
        if self.version >= (17, 5):
            yield f"--health-start-period={duration_seconds(health.start_period)}s"
        if self.version >= (25, 0):
            yield "--health-start-interval=2s"

    def scratch(self, service: Service) -> Iterator[str]:
        """Writable places of a read-only container."""
        for path in service.uncovered(_SCRATCH):
            yield f"--tmpfs={path}:rw,exec,nosuid,nodev"


def render_units(
    image: str,
    services: Mapping[str, Service],
    *,
    engine: Podman | Docker,
    summary: str,
    package: str,
    reference: str,
    project: Path | None = None,
) -> tuple[UnitFile, ...]:
    """The files that make units of an image's services, sorted by path.

    ``reference`` is ``REPOSITORY:TAG``, what people call the image.

    Raises :class:`PackageError` for a value that no unit can carry.
    """
    files: dict[str, str] = {}
    for name, service in services.items():
        try:
            values = {
                **common_values(name, service, summary=summary),
                **_values(image, name, service, engine),
                "package": systemd.setting(package),
                "reference": argument(reference),
            }
        except PackageError as error:
            raise PackageError(f"service '{name}': {error.message}", hint=error.hint) from error
        wanted = {f"{name}.service": f"{engine.name}.service.j2"}
        if service.schedule:
            wanted[f"{name}.timer"] = "service.timer.j2"
        for unit, template in wanted.items():
            files[f"{SYSTEM}/{unit}"] = render(
                template, values, kind="systemd", serialize=systemd.checked, project=project
            )
        if service.environment:
            files[defaults_path(image, name)] = render_defaults(service.environment)
    return tuple(UnitFile(path=path, text=text) for path, text in sorted(files.items()))


def _values(image: str, name: str, service: Service, engine: Podman | Docker) -> dict[str, object]:
    """The values of ``podman.service.j2`` and ``docker.service.j2``."""
    return {
        "host": argument(HOST),
        "image": systemd.names([image]),
        "pinned": systemd.setting(engine.pinned),
        "ids": words(engine.ids) if isinstance(engine, Docker) else None,
        "mounts": systemd.paths(mount.source for mount in service.mounts),
        "options": [words([option]) for option in _options(image, name, service, engine)],
        "command": words(service.command),
        "networks": [systemd.names([network]) for network in service.networks],
        "health": service.health is not None,
        # Type=exec: what comes after the start waits until the credentials are there.
        "exec": isinstance(engine, Docker) and engine.systemd >= _TYPE_EXEC,
        "hardening": hardening(engine.systemd) if isinstance(engine, Docker) else [],
    }


def _options(image: str, name: str, service: Service, engine: Podman | Docker) -> Iterator[str]:
    """The options of ``podman run`` or ``docker run``."""
    yield f"--name={name}"
    yield from engine.options(name, service)
    if service.entrypoint:
        yield f"--entrypoint={service.entrypoint}"
    if service.user:
        yield f"--user={service.user}"
    yield from (f"--publish={port}" for port in service.ports)
    yield from (f"--network={network}" for network in service.networks)
    yield from (f"--volume={volume}:{at}:rw" for volume, at in service.volumes.items())
    yield from (f"--volume={binding}" for binding in bindings(name, service))
    if service.environment:
        yield f"--env-file={defaults_path(image, name)}"
    yield f"--env-file={sysconfig_path(name)}"
    if service.health:
        yield from engine.health(service.health)
    if service.read_only:
        yield "--read-only"
        yield from engine.scratch(service)
    yield from (f"--tmpfs={path}" for path in service.tmpfs)
    yield "--cap-drop=all"
    yield from (f"--cap-add={capability}" for capability in service.capabilities)
    yield "--security-opt=no-new-privileges"
    yield f"--stop-timeout={duration_seconds(service.stop_timeout)}"


def _health(health: Health, command: str) -> Iterator[str]:
    yield f"--health-cmd={command}"
    yield f"--health-interval={duration_seconds(health.interval)}s"
    yield f"--health-timeout={duration_seconds(health.timeout)}s"
    yield f"--health-retries={health.retries}"
