"""A service: one container that systemd runs from an image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from containerpkg.definitions.model import (
    AbsolutePath,
    Duration,
    HostFile,
    Line,
    Model,
    Name,
    RelativePath,
    Variable,
)

Port = Annotated[
    str,
    Field(
        pattern=r"^(?:(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):)?\d{1,5}:\d{1,5}(?:/(?:tcp|udp|sctp))?$"
    ),
]
"""``[ADDRESS:]HOSTPORT:CONTAINERPORT[/PROTOCOL]``"""

Capability = Annotated[str, Field(pattern=r"^[A-Z][A-Z_]+$")]
"""A Linux capability without its CAP_ prefix, for example NET_BIND_SERVICE."""

UnitName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9:_.@-]+\.(?:service|target|socket|mount|path|timer)$")
]
"""The full name of a systemd unit."""


class ConfigFile(Model):
    """A file that the package installs below /etc and the container sees read-only."""

    source: RelativePath
    """The file in the image's folder."""

    target: AbsolutePath
    """Where the container sees it."""

    path: HostFile | None = None
    """Where the host keeps it; by default /etc/SERVICE/NAME with the name of ``source``."""

    mode: Annotated[str, Field(pattern=r"^0[0-7]{3}$")] = "0644"
    """Its permissions on the host, in octal."""


class Mount(Model):
    """A host file or directory that the container sees."""

    source: AbsolutePath
    target: AbsolutePath
    read_only: bool = True
    label: Literal["shared", "private"] | None = None
    """SELinux relabelling: shared is ``:z``, private is ``:Z``."""


class Health(Model):
    """How podman finds out whether the service answers."""

    command: Line
    """A command line that a shell in the container runs; status 0 is healthy."""

    interval: Duration = "30s"
    timeout: Duration = "10s"
    retries: Annotated[int, Field(ge=1, le=100)] = 3
    start_period: Duration = "60s"


class Service(Model):
    """One unit. The key it stands under in ``services:`` is the unit's name."""

    description: Line | None = None
    command: tuple[Line, ...] = ()
    """Arguments that replace the image's own command."""

    entrypoint: Line | None = None
    """A program that replaces the image's own entrypoint."""

    user: (
        Annotated[str, Field(pattern=r"^[a-z0-9_][a-z0-9_-]*(?::[a-z0-9_][a-z0-9_-]*)?$")] | None
    ) = None
    ports: tuple[Port, ...] = ()
    volumes: dict[Name, AbsolutePath] = {}
    """Named data volumes and where the container sees them; they outlive the package."""

    mounts: tuple[Mount, ...] = ()
    config: tuple[ConfigFile, ...] = ()
    environment: dict[Variable, Line] = {}
    """Defaults; the host's /etc/sysconfig/SERVICE overrides them."""

    health: Health | None = None
    networks: tuple[Name, ...] = ()
    """Container networks that the service joins; each becomes a .network unit."""

    after: tuple[UnitName, ...] = ()
    requires: tuple[UnitName, ...] = ()
    wants: tuple[UnitName, ...] = ()
    wanted_by: tuple[UnitName, ...] = ("multi-user.target",)
    restart: Literal["no", "on-failure", "always"] = "on-failure"
    start_timeout: Duration = "15min"
    """Long enough for the first start, which copies the image into the engine."""

    stop_timeout: Duration = "90s"
    read_only: bool = True
    """The container's root file system; volumes and ``tmpfs`` stay writable."""

    tmpfs: tuple[AbsolutePath, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    """Kept; every other capability is dropped."""

    @field_validator("ports")
    @classmethod
    def _ports_in_range(cls, ports: tuple[str, ...]) -> tuple[str, ...]:
        for port in ports:
            numbers = port.partition("/")[0].rsplit(":", 2)[-2:]
            if any(not 0 < int(number) < 65536 for number in numbers):
                raise ValueError(f"'{port}' has a port outside 1-65535")
        return ports
