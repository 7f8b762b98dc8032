"""Holds a Quadlet service at an image that is not the installed one.

The administrator's folder has the last word over what packages bring. Since podman 5 a drop-in
says the one line; before it, Quadlet reads none, and a copy of the whole unit does.
"""

from pathlib import Path
from typing import Tuple

from containerpkg_host.errors import HostProblem
from containerpkg_host.host import Host, remove, write_whole
from containerpkg_host.state import Change

_MARK = "# Written by containerpkg-host"


def _files(host: Host, service: str) -> Tuple[Path, Path]:
    folder = host.local_quadlets
    return (
        folder / f"{service}.container.d" / "90-containerpkg-rollback.conf",
        folder / f"{service}.container",
    )


def render(change: Change) -> str:
    """The drop-in."""
    return (
        f"{_MARK}: {change.service} did not start with the image that its package brought,\n"
        f"# {change.new}.\n"
        f"# It goes with the next version of the image; this one is tried again by\n"
        f"# 'containerpkg-host retry {change.service}'.\n"
        f"[Container]\n"
        f"Image={change.repository}@{change.old}\n"
    )


def render_copy(unit: str, change: Change) -> str:
    """The whole unit with another image."""
    image = f"Image={change.repository}@{change.old}"
    lines = [image if line.startswith("Image=") else line for line in unit.splitlines()]
    comments = [line for line in render(change).splitlines() if line.startswith("#")]
    return "\n".join([*comments, *lines]) + "\n"


def write(host: Host, change: Change, podman: Tuple[int, int]) -> bool:
    """Whether something had to be written.

    Raises :class:`HostProblem` if the administrator has a unit of his own in the place.
    """
    dropin, copy = _files(host, change.service)
    if podman >= (5, 0):
        path, text = dropin, render(change)
    else:
        unit = host.quadlets[-1] / f"{change.service}.container"
        path, text = copy, render_copy(unit.read_text(encoding="utf-8"), change)
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there == text:
        return False
    if there and not there.startswith(_MARK):
        raise HostProblem(f"{path} is not ours, so {change.service} cannot be given its image back")
    write_whole(path, text)
    return True


def lift(host: Host, service: str) -> bool:
    """Whether there was something to take away."""
    lifted = False
    for path in _files(host, service):
        if path.exists() and path.read_text(encoding="utf-8").startswith(_MARK):
            remove(path)
            lifted = True
        if path.parent != host.local_quadlets and path.parent.is_dir():
            try:
                path.parent.rmdir()
            except OSError:
                pass  # the administrator has drop-ins too
    return lifted
