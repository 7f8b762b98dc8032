"""The environment of a service on the host: the package's defaults and the administrator's file.

Both are environment files as podman reads them (podman-run(1), ``--env-file``): a variable to a
line, the value being everything after the first ``=``, without quoting or expansion. Podman lets a
later file win over an earlier one, and ``--env`` over both; so the defaults are a file as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from containerpkg.errors import PackageError
from containerpkg.templates import render

# Podman reads a line into a buffer of 64 KiB and fails on a longer one.
_LONGEST = 60_000


def sysconfig_path(service: str) -> str:
    """Where the host keeps the administrator's file."""
    return f"/etc/sysconfig/{service}"


def render_sysconfig(
    service: str, environment: Mapping[str, str], *, project: Path | None = None
) -> str:
    """The administrator's file as the package brings it: the defaults, commented out."""
    return render(
        "sysconfig.j2",
        {"service": service, "defaults": sorted(environment.items())},
        kind="systemd",
        serialize=_line,
        project=project,
    )


def render_defaults(environment: Mapping[str, str]) -> str:
    """The file with the package's defaults."""
    return "".join(f"{name}={_line(value)}\n" for name, value in sorted(environment.items()))


def _line(value: object) -> str:
    text = str(value)
    if len(text.splitlines()) > 1 or "\0" in text or len(text.encode()) > _LONGEST:
        raise PackageError(
            f"the value {text[:60]!r} does not fit into a line of an environment file",
            hint="change it in image.yaml",
        )
    return text
