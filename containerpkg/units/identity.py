"""Renders what a host needs to know of a service's users, directories and ports.

See sysusers.d(5), tmpfiles.d(5) and firewalld.service(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from containerpkg.definitions.image import HostUser
from containerpkg.definitions.service import Service, published
from containerpkg.templates import render
from containerpkg.units import systemd
from containerpkg.units.quadlet import UnitFile
from containerpkg.units.systemd import UnitText, names, setting

FIREWALLD = "/usr/lib/firewalld/services"
"""Where packages put services of firewalld."""

SYSUSERS = "/usr/lib/sysusers.d"
"""Where packages put users."""

TMPFILES = "/usr/lib/tmpfiles.d"
"""Where packages put directories that are made where they are missing."""


def render_identity(
    image: str,
    services: Mapping[str, Service],
    users: Mapping[str, HostUser],
    *,
    package: str,
    project: Path | None = None,
) -> tuple[UnitFile, ...]:
    """The files for an image's users and for what its services mount and publish, by path.

    Raises :class:`PackageError` for a value that no such file can carry.
    """
    files = {
        f"{FIREWALLD}/{firewall_service(name)}.xml": text
        for name, service in services.items()
        if (text := render_firewalld(name, service))
    }
    for folder, template, lines in (
        (SYSUSERS, "sysusers.j2", _users(users)),
        (TMPFILES, "tmpfiles.j2", _directories(services)),
    ):
        if lines:
            files[f"{folder}/{image}.conf"] = render(
                template,
                {"image": names([image]), "package": setting(package), "lines": lines},
                kind="systemd",
                serialize=systemd.checked,
                project=project,
            )
    return tuple(UnitFile(path=path, text=text) for path, text in sorted(files.items()))


def firewall_service(service: str) -> str:
    """What firewalld calls a service; it brings services of its own, such as redis."""
    return f"{service}-container"


def render_firewalld(name: str, service: Service) -> str:
    """A service of firewalld for the ports that others may reach; empty if there are none."""
    ports = {
        (number, protocol)
        for address, number, protocol in map(published, service.ports)
        if not address.startswith(("127.", "[::1]"))
    }
    if not ports:
        return ""
    root = ElementTree.Element("service")
    ElementTree.SubElement(root, "short").text = name
    ElementTree.SubElement(root, "description").text = (
        service.description or f"Published ports of {name}.service"
    )
    for number, protocol in sorted(ports, key=lambda port: (int(port[0]), port[1])):
        ElementTree.SubElement(root, "port", protocol=protocol, port=number)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _users(users: Mapping[str, HostUser]) -> list[UnitText]:
    lines = []
    for name, user in sorted(users.items()):
        about = UnitText(f'"{setting(user.description)}"') if user.description else UnitText("-")
        if user.gid in {None, user.uid}:
            lines.append(UnitText(f"u {names([name])} {user.uid} {about}"))
        else:
            lines.append(UnitText(f"g {names([name])} {user.gid}"))
            lines.append(UnitText(f"u {names([name])} {user.uid}:{user.gid} {about}"))
    return lines


def _directories(services: Mapping[str, Service]) -> list[UnitText]:
    lines = set()
    for service in services.values():
        for mount in service.mounts:
            if mount.directory:
                user, _, group = mount.directory.owner.partition(":")
                owner = f"{names([user])} {names([group or user])}"
                path = systemd.paths([mount.source])
                lines.add(UnitText(f"d {path} {mount.directory.mode} {owner} -"))
    return sorted(lines)
