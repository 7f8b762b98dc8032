"""A service: one container that systemd runs from an image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from containerpkg.definitions.model import (
    AbsolutePath,
    Duration,
    HostFile,
    Line,
    Model,
    Name,
    RelativePath,
    Value,
    Variable,
    matching,
)

Port = Annotated[
    str,
    matching(
        r"^(?:(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):)?\d{1,5}:\d{1,5}(?:/(?:tcp|udp|sctp))?$",
        "must be [ADDRESS:]HOSTPORT:CONTAINERPORT[/PROTOCOL]",
    ),
]
"""``[ADDRESS:]HOSTPORT:CONTAINERPORT[/PROTOCOL]``"""


def _bare_capability(value: str) -> str:
    if value.startswith("CAP_"):
        raise ValueError("must be written without CAP_")
    return value


Capability = Annotated[
    str,
    matching(r"^[A-Z][A-Z_]+$", "must be a capability in capitals, like NET_BIND_SERVICE"),
    AfterValidator(_bare_capability),
]
"""A Linux capability without its CAP_ prefix, for example NET_BIND_SERVICE."""

UnitName = Annotated[
    str,
    matching(
        r"^[A-Za-z0-9:_.@-]+\.(?:service|target|socket|mount|path|timer)$",
        "must be a unit's full name, like network-online.target",
    ),
]
"""The full name of a systemd unit."""

User = Annotated[
    str,
    matching(
        r"^[a-z0-9_][a-z0-9_-]*(?::[a-z0-9_][a-z0-9_-]*)?$",
        "must be USER or USER:GROUP, names or numbers",
    ),
]


Schedule = Annotated[
    str,
    matching(
        r"^[A-Za-z0-9*][A-Za-z0-9 *,./:~+_-]*$",
        "must be a calendar event as systemd.time(7) has it, like daily or Mon..Fri 02:30",
        max_length=200,
    ),
]
"""A calendar event, see systemd.time(7)."""


Mode = Annotated[str, matching(r"^0[0-7]{3}$", "must be four octal digits, like 0644")]
"""Permissions in octal."""

# Relabelled, one of these would keep everybody else from their files.
_NEVER_RELABELLED = frozenset({
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/mnt", "/opt", "/proc",
    "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",  # noqa: S108
    "/var/log", "/var/tmp",  # noqa: S108
})  # fmt: skip


class Directory(Model):
    """How a directory of the host is made where it is missing."""

    mode: Mode = "0755"
    """Its permissions, in octal."""

    owner: User = "root:root"
    """Its user, and after a colon its group, by name or number."""


class ConfigFile(Model):
    """A file that the package installs below /etc and the container sees read-only."""

    source: RelativePath
    """The file in the image's folder."""

    target: AbsolutePath
    """Where the container sees it."""

    path: HostFile | None = None
    """Where the host keeps it; by default /etc/SERVICE/NAME with the name of ``source``."""

    mode: Mode = "0644"
    """Its permissions on the host, in octal."""

    def host_path(self, service: str) -> str:
        """Where the host keeps it for the service of that name."""
        return self.path or f"/etc/{service}/{self.source.rpartition('/')[2]}"


class Mount(Model):
    """A host file or directory that the container sees."""

    source: AbsolutePath
    """The path on the host."""

    target: AbsolutePath
    """The path in the container."""

    read_only: bool = True
    """Whether the container may only read it."""

    label: Literal["shared", "private"] | None = None
    """SELinux relabelling: shared is ``:z``, private is ``:Z``."""

    directory: Directory | None = None
    """Makes ``source`` a directory at boot and when the package is installed, if it is missing."""

    @field_validator("label")
    @classmethod
    def _own_label(cls, label: str | None, info: ValidationInfo) -> str | None:
        source = posixpath.normpath(info.data.get("source", "."))
        if label and source in _NEVER_RELABELLED:
            raise ValueError(f"{source} belongs to the system and must keep its labels")
        return label


class Secret(Model):
    """A file of the host, such as a key or a password, that is in no image and no package.

    The service gets a copy in memory when it starts, and does not start without.
    """

    source: AbsolutePath | None = None
    """The host's file, which root can read. Either this or ``credential``."""

    credential: (
        Annotated[
            str,
            matching(
                r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
                "must be letters, digits and . _ - and must not begin with . or -",
                max_length=128,
            ),
        ]
        | None
    ) = None
    """The name of a systemd credential: the host has it in /etc/credstore, or in a drop-in. Needs
    systemd 250, so not el7 and el8."""

    target: AbsolutePath | None = None
    """Where the container sees it, read-only; by default /run/secrets/NAME."""

    owner: User = "root:root"
    """Who owns the copy: the user, and after a colon the group, that reads it in the container;
    numbers, or names that the host has too."""

    mode: Mode = "0400"
    """The permissions of the copy, in octal."""

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Secret:
        if bool(self.source) == bool(self.credential):
            raise ValueError("needs either 'source' or 'credential'")
        return self


class Health(Model):
    """How podman finds out whether the service answers."""

    command: Line
    """A command line that a shell in the container runs; status 0 is healthy."""

    interval: Duration = "30s"
    """Time from one check to the next."""

    timeout: Duration = "10s"
    """Time after which a check counts as failed."""

    retries: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row that make the service unhealthy."""

    start_period: Duration = "60s"
    """Time after the start in which failures do not count."""


def published(port: str) -> tuple[str, str, str]:
    """Address, host port and protocol of a port; the address of all interfaces is empty."""
    rest, _, protocol = port.partition("/")
    outside, _, _ = rest.rpartition(":")
    address, _, number = outside.rpartition(":")
    return "" if address in {"0.0.0.0", "[::]"} else address, number, protocol or "tcp"  # noqa: S104


class Service(Model):
    """One unit. The key it stands under in ``services:`` is the unit's name."""

    description: Line | None = None
    """The unit's Description; by default it names the service and the image."""

    type: Literal["service", "oneshot"] = "service"
    """A oneshot runs until it is done, as a database migration does, and what comes after it waits
    for that; it stays active until the next boot, unless it has a schedule."""

    schedule: Schedule | None = None
    """When a oneshot runs, as systemd's OnCalendar: daily, Mon..Fri 02:30. It gets a SERVICE.timer,
    which ``systemctl enable --now SERVICE.timer`` turns on."""

    command: tuple[Line, ...] = ()
    """Arguments that replace the image's own command."""

    entrypoint: Line | None = None
    """A program that replaces the image's own entrypoint."""

    user: User | None = None
    """The user, and after a colon the group, that the container runs as."""

    ports: tuple[Port, ...] = ()
    """Published ports."""

    volumes: dict[Name, AbsolutePath] = {}
    """Named data volumes and where the container sees them; they outlive the package."""

    mounts: tuple[Mount, ...] = ()
    """Files and directories of the host that the container sees."""

    config: tuple[ConfigFile, ...] = ()
    """Configuration files that the package installs."""

    secrets: dict[Name, Secret] = {}
    """Keys, certificates and passwords that the host has, by name."""

    environment: dict[Variable, Value] = {}
    """Defaults; the host's /etc/sysconfig/SERVICE overrides them."""

    health: Health | None = None
    """The health check; with one, the unit is started when the service answers."""

    networks: tuple[Name, ...] = ()
    """Container networks that the service joins; each becomes a .network unit."""

    after: tuple[UnitName, ...] = ()
    """Units that are started before this one."""

    before: tuple[UnitName, ...] = ()
    """Units that are started after this one."""

    requires: tuple[UnitName, ...] = ()
    """Units without which this one does not start."""

    wants: tuple[UnitName, ...] = ()
    """Units that are started along with this one."""

    wanted_by: tuple[UnitName, ...] = ("multi-user.target",)
    """Units that start this one, for example at boot; with a schedule, its timer alone does."""

    restart: Literal["no", "on-failure", "always"] = "on-failure"
    """When systemd starts it again; a oneshot is not."""

    start_timeout: Duration = "15min"
    """Long enough for the first start, which copies the image into the engine, and for all the work
    of a oneshot."""

    stop_timeout: Duration = "90s"
    """Time to stop in before it is killed."""

    read_only: bool = True
    """The container's root file system; volumes and ``tmpfs`` stay writable."""

    tmpfs: tuple[AbsolutePath, ...] = ()
    """Empty writable directories in memory."""

    capabilities: tuple[Capability, ...] = ()
    """Kept; every other capability is dropped."""

    def uncovered(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Those of ``paths`` in the container on which nothing is mounted, sorted."""
        targets = [mount.target for mount in self.mounts] + [file.target for file in self.config]
        targets += self.secret_targets.values()
        covered = {posixpath.normpath(p) for p in (*self.volumes.values(), *targets, *self.tmpfs)}
        return tuple(sorted({posixpath.normpath(path) for path in paths} - covered))

    @property
    def secret_targets(self) -> dict[str, str]:
        """Where the container sees each secret, by name."""
        return {
            name: secret.target or f"/run/secrets/{name}" for name, secret in self.secrets.items()
        }

    @property
    def oneshot(self) -> bool:
        """Whether it ends by itself."""
        return self.type == "oneshot"

    @model_validator(mode="after")
    def _goes_together(self) -> Service:
        if self.schedule and not self.oneshot:
            raise ValueError("'schedule' needs 'type: oneshot'")
        if self.oneshot and self.health:
            raise ValueError("'health' does not go with 'type: oneshot', whose end tells how it is")
        if self.oneshot and self.restart != "no" and "restart" in self.model_fields_set:
            raise ValueError(f"'restart: {self.restart}' does not go with 'type: oneshot'")
        if self.schedule and self.wanted_by and "wanted_by" in self.model_fields_set:
            raise ValueError("'wanted_by' does not go with 'schedule', whose timer starts it")
        return self

    @field_validator("ports")
    @classmethod
    def _ports_in_range(cls, ports: tuple[str, ...]) -> tuple[str, ...]:
        for port in ports:
            numbers = port.partition("/")[0].rsplit(":", 2)[-2:]
            if any(not 0 < int(number) < 65536 for number in numbers):
                raise ValueError(f"'{port}' has a port outside 1-65535")
        return ports
