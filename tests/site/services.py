"""The services of this project's own images, and how their own clients talk to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.site.host import Host

_WEB = "192.0.2.1"
"""The host, as containers of any engine see it: what they do not know goes to the host."""

_PAGE = f"http://{_WEB}:8080/page"


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

    @property
    def sysconfig_file(self) -> str:
        """Where its environment is."""
        return f"/etc/sysconfig/{self.name}"

    @property
    def edited(self) -> set[str]:
        """The files that :meth:`prepare` and :meth:`change` edit."""
        return {self.config, *([self.sysconfig_file] if self.sysconfig else [])}

    def prepare(self, host: Host) -> None:
        """What an administrator does before the first start."""
        for name, value in self.sysconfig.items():
            script = 'printf "%s=%s\\n" "$0" "$1" >> "$2"'
            host.run("sh", "-c", script, name, value, self.sysconfig_file)

    def change(self, host: Host) -> None:
        """Edit the configuration as editors do: the file is replaced by a new one."""
        host.run("sed", "--in-place", f"$ a {self.line}", self.config)


def _redis(host: Host, *command: str) -> str:
    return host.run("redis-cli", *command).stdout.strip()


def _sql(host: Host, statement: str) -> str:
    connection = "postgresql://postgres:a%20%22b%22%20%25c@127.0.0.1/postgres"
    return host.run("psql", "--quiet", "-At", connection, "--command", statement).stdout.strip()


def _through_squid(host: Host, *options: str) -> str:
    argv = ["curl", "--silent", "--show-error", "--fail", "--proxy", "http://127.0.0.1:3128"]
    return host.run(*argv, *options, _PAGE).stdout.strip()


def _serve_and_fetch(host: Host) -> None:
    host.run("ip", "address", "add", f"{_WEB}/32", "dev", "lo")
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
