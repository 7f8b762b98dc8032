"""What the host families that packages are made for can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from containerpkg.definitions.image import Payload
from containerpkg.packages.archive import Compression
from containerpkg.units.flavour import Flavour, Version
from containerpkg.units.quadlet import DROPINS


@dataclass(frozen=True, kw_only=True)
class Target:
    """A host family and how it runs containers."""

    name: str
    dist: str
    """What ends the release of an image package."""

    units: Flavour = "quadlet"
    """How services are started."""

    engine: Version
    """The oldest version (major, minor) of podman or docker that the units need."""

    systemd: int
    """The oldest version of systemd that the family has."""

    epoch: int = 0
    """The epoch with which the family's own podman packages reached that version."""

    payload: Payload = "layers"
    """What image packages carry unless the image says otherwise."""

    compression: Compression = "zstd"
    """How archives are compressed."""

    rsa: bool = False
    """Whether rpm is older than 4.16, which reads no signature of an Ed25519 or ECDSA key."""

    classic: bool = False
    """Whether rpm is older than 4.13: no file triggers, no rich dependencies, payloads in gzip."""

    @property
    def neighbours(self) -> bool:
        """Whether units of other deployments can take their image from a package."""
        return self.units == "quadlet" and self.engine >= DROPINS

    @property
    def engine_requirement(self) -> tuple[tuple[str, ...], ...]:
        """What image packages with services require: all of any one of these groups.

        Without an epoch, every podman package that has one would do, whatever its version.
        """
        version = f"{self.engine[0]}.{self.engine[1]}"
        if self.classic:
            # Red Hat's docker and Docker's own; podman-docker brings the command alone.
            return (("/usr/lib/systemd/system/docker.service",),)
        if self.units == "docker":
            # Docker's own packages, Fedora's, and those of other distributions. The podman-docker
            # of EL 8 provides docker too, with podman's epoch, and has no daemon.
            return (
                (f"docker-ce >= 3:{version}",),
                (f"moby-engine >= {version}",),
                (f"docker >= {version}", "/usr/bin/dockerd"),
            )
        return ((f"podman >= {self.epoch}:{version}",),)


_QUADLET = (
    # .image units exist since 4.8. EL 8.9 has 3:4.6.1, EL 8.10 and last 4:4.9.4.
    Target(name="el8", dist=".el8", engine=(4, 8), epoch=4, systemd=239, rsa=True),
    # EL 9.4 has 4:4.9.4, 9.5 has 4:5.2.2, 9.6 has 5:5.4.0, 9.7 has 6:5.6.0. CentOS Stream 9
    # once had 2:4.9.4 and 2:5.1.2, which no epoch tells apart from older ones.
    Target(name="el9", dist=".el9", engine=(5, 0), epoch=4, systemd=252),
    # EL 10.0 has 6:5.4.0, 10.2 has 7:5.8.2.
    Target(name="el10", dist=".el10", engine=(5, 4), epoch=6, systemd=257),
    # Fedora has had epoch 5 since before podman 5; Fedora 42 came with 5.4.
    Target(name="fedora", dist=".fc", engine=(5, 4), epoch=5, systemd=257),
)

# A unit can wait for a healthy container since 4.7; older packages have another epoch.
_PODMAN = (4, 7)

# Loads layers with zstd since 23, asks often while a container starts since 25.
_DOCKER = (25, 0)


def _variant(family: Target, units: Flavour, engine: Version) -> Target:
    name, dist = f"{family.name}-{units}", f"{family.dist}.{units}"
    return replace(family, name=name, dist=dist, units=units, engine=engine)


# rpm 4.11, docker 1.13 and systemd 219, but for what others bring.
_EL7 = Target(
    name="el7",
    dist=".el7",
    units="docker",
    engine=(1, 13),
    systemd=219,
    payload="archive",
    compression="gzip",
    rsa=True,
    classic=True,
)

TARGETS: Mapping[str, Target] = {"el7": _EL7} | {
    target.name: target
    for family in _QUADLET
    for target in (
        family,
        _variant(family, "podman", _PODMAN),
        _variant(family, "docker", _DOCKER),
    )
}
"""By the name that ``target:`` in containerpkg.yaml has."""
