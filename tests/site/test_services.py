"""Each image of this project on an offline host, from dnf install to dnf remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from tests.site.host import Host

_GATEWAY = "10.88.0.1"
"""The host, as containers on podman's default network see it."""

_PAGE = f"http://{_GATEWAY}:8080/page"


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a test needs to know of one service."""

    name: str
    config: str
    line: str
    """Appended to ``config``, so that ``effect`` gives ``changed``."""

    effect: Callable[[Host], str]
    changed: str
    write: Callable[[Host], object]
    read: Callable[[Host], str]
    """Gives what ``write`` has left, from the service's own data alone."""

    kept: str
    sysconfig: Mapping[str, str] = field(default_factory=dict)
    """Set in /etc/sysconfig before the first start."""

    @property
    def package(self) -> str:
        return f"{self.name}-container"


def _redis(host: Host, *command: str) -> str:
    return host.run("redis-cli", *command).stdout.strip()


def _sql(host: Host, statement: str) -> str:
    connection = "postgresql://postgres:a%20%22b%22%20%25c@127.0.0.1/postgres"
    return host.run("psql", "--quiet", "-At", connection, "--command", statement).stdout.strip()


def _through_squid(host: Host, *options: str) -> str:
    argv = ["curl", "--silent", "--show-error", "--fail", "--proxy", "http://127.0.0.1:3128"]
    return host.run(*argv, *options, _PAGE).stdout.strip()


def _serve_and_fetch(host: Host) -> None:
    host.run("mkdir", "/srv/www")
    host.path("/srv/www/page").write_text("fetched through squid\n")
    # A page that has not changed for long is fresh enough to be answered from the cache.
    host.run("touch", "--date=1 year ago", "/srv/www/page")
    web = ["python3", "-m", "http.server", "--directory=/srv/www", "8080"]
    host.run("systemd-run", "--unit=web", "--", *web)
    plain = ["curl", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/page"]
    host.wait_for(lambda: host.run(*plain, check=False).returncode == 0, "local web server")
    assert _through_squid(host) == "fetched through squid"


SERVICES = (
    Service(
        name="redis",
        config="/etc/redis/redis.conf",
        line="maxmemory 64mb",
        effect=lambda host: _redis(host, "config", "get", "maxmemory"),
        changed="maxmemory\n67108864",
        write=lambda host: _redis(host, "set", "word", "kept"),
        read=lambda host: _redis(host, "get", "word"),
        kept="kept",
    ),
    Service(
        name="squid",
        config="/etc/squid/squid.conf",
        line="visible_hostname changed.example",
        effect=lambda host: _through_squid(
            host, "--output", "/dev/null", "--write-out", "%header{via}"
        ),
        changed="1.1 changed.example (squid/5.7)",
        write=_serve_and_fetch,
        read=_through_squid,
        kept="fetched through squid",
    ),
    Service(
        name="postgresql",
        config="/etc/postgresql/postgresql.conf",
        line="work_mem = 9MB",
        effect=lambda host: _sql(host, "show work_mem"),
        changed="9MB",
        write=lambda host: _sql(host, "create table words as select 'kept' as word"),
        read=lambda host: _sql(host, "select word from words"),
        kept="kept",
        sysconfig={"POSTGRES_PASSWORD": 'a "b" %c'},
    ),
)


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
    for name, value in service.sysconfig.items():
        site.run("sh", "-c", 'printf "%s=%s\n" "$0" "$1" >> "$2"', name, value, _sysconfig(service))

    site.run("systemctl", "start", service.name)
    service.write(site)
    assert service.read(site) == service.kept

    assert service.effect(site) != service.changed
    # As editors do: the file is replaced by a new one.
    site.run("sed", "--in-place", f"$ a {service.line}", service.config)
    site.run("systemctl", "restart", service.name)
    assert service.effect(site) == service.changed

    site.reboot()
    assert site.run("systemctl", "is-system-running").stdout == "running\n"
    assert site.run("systemctl", "is-active", service.name).stdout == "active\n"
    assert service.read(site) == service.kept
    assert service.effect(site) == service.changed

    edited = {service.config, *([_sysconfig(service)] if service.sysconfig else [])}
    verified = site.run("rpm", "--verify", service.package, check=False).stdout
    assert {tuple(line.split()) for line in verified.splitlines()} == {
        ("S.5....T.", "c", path) for path in edited
    }

    site.run("systemctl", "stop", service.name)
    site.run("dnf", "--assumeyes", "remove", service.package)
    left = {line.split()[0] for line in before ^ _files(site)}
    assert left == {service.config.rpartition("/")[0], *(f"{path}.rpmsave" for path in edited)}
    packages = site.run("rpm", "--query", "--all", "--queryformat=%{name}\n").stdout
    assert packages == "distribution-stand-in\n"
    assert site.run("podman", "ps", "--all", "--quiet").stdout == ""
    assert site.run("podman", "volume", "ls", "--quiet").stdout == f"{service.name}\n"


def _sysconfig(service: Service) -> str:
    return f"/etc/sysconfig/{service.name}"
