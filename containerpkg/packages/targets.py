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
    """The oldest version (major, minor) that the units need."""

    podman_epoch: int
    """The epoch with which the family's own podman packages reached that version."""

    @property
    def podman_requirement(self) -> str:
        """What image packages with services require.

        Without an epoch, every podman package that has one would do, whatever its version.
        """
        return f"podman >= {self.podman_epoch}:{self.podman[0]}.{self.podman[1]}"


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        # .image units exist since 4.8. EL 8.9 has 3:4.6.1, EL 8.10 and last 4:4.9.4.
        Target(name="el8", dist=".el8", podman=(4, 8), podman_epoch=4),
        # EL 9.4 has 4:4.9.4, 9.5 has 4:5.2.2, 9.6 has 5:5.4.0, 9.7 has 6:5.6.0. CentOS Stream 9
        # once had 2:4.9.4 and 2:5.1.2, which no epoch tells apart from older ones.
        Target(name="el9", dist=".el9", podman=(5, 0), podman_epoch=4),
        # EL 10.0 has 6:5.4.0, 10.2 has 7:5.8.2.
        Target(name="el10", dist=".el10", podman=(5, 4), podman_epoch=6),
        # Fedora has had epoch 5 since before podman 5; Fedora 42 came with 5.4.
        Target(name="fedora", dist=".fc", podman=(5, 4), podman_epoch=5),
    )
}
"""By the name that ``target:`` in containerpkg.yaml has."""
