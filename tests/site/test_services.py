"""Each image of this project on an offline host, from dnf install to dnf remove."""

from __future__ import annotations

import pytest

from tests.site.host import Host
from tests.site.services import SERVICES, Service


def _files(host: Host) -> set[str]:
    """Everything below /usr and /etc with its kind, mode, owner, size and link target."""
    plain = ["-printf", "%p %M %U:%G %s %l\n"]
    argv = ["find", "/usr", "/etc", "-type", "d", "-printf", "%p %M %U:%G\n", "-o", *plain]
    return set(host.run(*argv).stdout.splitlines())


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_from_install_to_removal(site: Host, service: Service) -> None:
    before = _files(site)

    site.run("dnf", "--assumeyes", "install", service.package)
    assert site.run("rpm", "--verify", service.package).stdout == ""
    service.prepare(site)

    site.run("systemctl", "start", service.name)
    service.write(site)
    assert service.read(site) == service.kept

    assert service.effect(site) != service.changed
    service.change(site)
    site.run("systemctl", "restart", service.name)
    assert service.effect(site) == service.changed

    site.reboot()
    assert site.run("systemctl", "is-system-running").stdout == "running\n"
    assert site.run("systemctl", "is-active", service.name).stdout == "active\n"
    assert service.read(site) == service.kept
    assert service.effect(site) == service.changed

    verified = site.run("rpm", "--verify", service.package, check=False).stdout
    assert {tuple(line.split()) for line in verified.splitlines()} == {
        ("S.5....T.", "c", path) for path in service.edited
    }

    site.run("systemctl", "stop", service.name)
    site.run("dnf", "--assumeyes", "remove", service.package)
    left = {line.split()[0] for line in before ^ _files(site)}
    assert left == {
        service.config.rpartition("/")[0],
        *(f"{path}.rpmsave" for path in service.edited),
    }
    packages = site.run("rpm", "--query", "--all", "--queryformat=%{name}\n").stdout
    assert packages == "distribution-stand-in\n"
    assert site.run("podman", "ps", "--all", "--quiet").stdout == ""
    assert site.run("podman", "volume", "ls", "--quiet").stdout == f"{service.name}\n"
