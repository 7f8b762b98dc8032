"""What the host families that packages are made for can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """A host family. ``podman`` is the oldest version (major, minor) that the units need."""

    name: str
    dist: str
    """What ends the release of an image package."""

    podman: tuple[int, int]


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        # 4.9 is the last podman of EL8; .image units exist since 4.8.
        Target(name="el8", dist=".el8", podman=(4, 8)),
        Target(name="el9", dist=".el9", podman=(5, 0)),
        Target(name="el10", dist=".el10", podman=(5, 0)),
        Target(name="fedora", dist=".fc", podman=(5, 0)),
    )
}
"""By the name that ``target:`` in containerpkg.yaml has."""
