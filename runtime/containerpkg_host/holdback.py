"""Holds a service at an image that is not the installed one.

The administrator's folder has the last word over what packages bring. Quadlet reads drop-ins since
podman 5; before it, a copy of the whole unit is what says so. A plain unit has the name of its
image in a variable.
"""

from pathlib import Path
from typing import List, Tuple

from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, remove, write_whole
from containerpkg_host.state import Change

VARIABLE = "CONTAINERPKG_IMAGE"
"""What plain units name their image by."""

_MARK = "# Written by containerpkg-host"
_NAME = "90-containerpkg-rollback.conf"


def _paths(host: Host, service: str) -> List[Path]:
    return [
        host.local_quadlets / f"{service}.container.d" / _NAME,
        host.local_quadlets / f"{service}.container",
        host.local_units / f"{service}.service.d" / _NAME,
    ]


def _comment(change: Change) -> str:
    return (
        f"{_MARK}: {change.service} did not start with the image that its package brought,\n"
        f"# {change.new}.\n"
        f"# It goes with the next version of the image; this one is tried again by\n"
        f"# 'containerpkg-host retry {change.service}'.\n"
    )


def write_quadlet(
    host: Host, change: Change, image: str, reference: str, podman: Tuple[int, int]
) -> bool:
    """Have Quadlet's unit run ``image``, and give it the tag ``reference`` as at any start.

    Whether something had to be written.

    Raises :class:`HostProblem` if the administrator has a unit of his own in the place.
    """
    dropin, copy, _ = _paths(host, change.service)
    line = f"Image={image}"
    if podman >= (5, 0):
        tag = f"ExecStartPost=-/usr/bin/podman tag {image} {reference}"
        text = f"{_comment(change)}[Container]\n{line}\n\n[Service]\n{tag}\n"
        return _write(dropin, text, change.service)
    unit = host.quadlets[-1] / f"{change.service}.container"
    lines = unit.read_text(encoding="utf-8").splitlines()
    lines = [line if one.startswith("Image=") else one for one in lines]
    return _write(copy, _comment(change) + "\n".join(lines) + "\n", change.service)


def write_plain(host: Host, change: Change, image: str) -> bool:
    """The same for a unit that starts its engine itself."""
    dropin = _paths(host, change.service)[2]
    text = f"{_comment(change)}[Service]\nEnvironment={VARIABLE}={image}\n"
    return _write(dropin, text, change.service)


def _write(path: Path, text: str, service: str) -> bool:
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there == text:
        return False
    if there and not there.startswith(_MARK):
        raise HostProblem(f"{path} is not ours, so {service} cannot be given its image back")
    write_whole(path, text)
    return True


def is_hold(path: Path) -> bool:
    """Whether a file is of ours, and not the administrator's."""
    return path.exists() and path.read_text(encoding="utf-8", errors="replace").startswith(_MARK)


def lift(host: Host, service: str) -> bool:
    """Whether there was something to take away."""
    lifted = False
    for path in _paths(host, service):
        if is_hold(path):
            remove(path)
            lifted = True
        if path.name == _NAME and path.parent.is_dir():
            try:
                path.parent.rmdir()
            except OSError:
                pass  # the administrator has drop-ins too
    return lifted
