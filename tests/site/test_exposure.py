"""The manual's table of what systemd says of the units is what systemd says."""

from __future__ import annotations

import re
from pathlib import Path

from containerpkg.definitions.load import load_project
from containerpkg.packages.targets import TARGETS
from containerpkg.units.flavour import render_units
from tests.site.host import Host
from tests.site.services import SERVICES

_ROOT = Path(__file__).parents[2]
_TARGETS = ("el9", "el9-podman", "el9-docker")
_DIGEST = f"sha256:{64 * 'a'}"


def _measured(host: Host, target: str) -> dict[str, str]:
    """The exposure of each service's unit."""
    project = load_project(_ROOT)
    profile = TARGETS[target]
    for service in SERVICES:
        image = project.image(service.name)
        for file in render_units(
            image.name,
            image.file.services,
            flavour=profile.units,
            engine=profile.engine,
            systemd=profile.systemd,
            summary=image.file.summary,
            package=image.package,
            repository=image.repository,
            tag=image.tag,
            digest=_DIGEST,
            image_id=_DIGEST,
        ):
            path = host.path(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
    host.run("systemctl", "daemon-reload")
    found = {}
    for service in SERVICES:
        show = ["systemctl", "show", "--property=FragmentPath", "--value", service.name]
        path = host.run(*show).stdout.strip()
        argv = ["systemd-analyze", "security", "--offline=yes", "--no-pager", path]
        printed = host.run(*argv).stdout
        (found[service.name],) = re.findall(r"Overall exposure level for \S+ (\d+\.\d) ", printed)
    return found


def test_the_table_of_exposure_is_true(host: Host) -> None:
    # Quadlet's last: units of the generator come before those below /usr.
    measured = {target: _measured(host, target) for target in reversed(_TARGETS)}
    table = [
        f"| `{service.name}` | " + " | ".join(measured[t][service.name] for t in _TARGETS) + " |"
        for service in sorted(SERVICES, key=lambda service: service.name)
    ]
    text = (_ROOT / "docs/packages.md").read_text()
    written = text.partition("systemd-analyze security")[2].partition("\n\n")[2]
    assert written.partition("\n\n")[0].splitlines()[2:] == table, "\n".join(table)
