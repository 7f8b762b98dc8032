"""What a package is made of, decided before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from containerpkg.packages.archive import Archive
from containerpkg.packages.version import Nevra

SHARED_TIME = 946_684_800
"""2000-01-01T00:00:00Z in seconds since 1970: the time of what several packages may own.

rpm checks the time of a file, so it must be the same in all of them.
"""


@dataclass(frozen=True, kw_only=True)
class Symlink:
    """A symbolic link to ``to``."""

    to: str


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A file of a package: ``target`` is its absolute path on the host.

    ``content`` is a file of this machine, which is not changed, or text, or a link, or an archive
    that is written when the package is built.
    """

    target: str
    content: Path | str | Symlink | Archive
    mode: int = 0o644
    config: bool = False
    """Whether an update keeps what an administrator made of it."""

    shared: bool = False
    """Whether other packages may own it too."""


@dataclass(frozen=True, kw_only=True)
class PackagePlan:
    """A package that can be built: :func:`containerpkg.packages.rpmbuild.build` does it."""

    nevra: Nevra
    time: int
    """Seconds since 1970 of the build time and of the package's own files, not before
    ``SHARED_TIME``."""

    directories: tuple[str, ...] = ()
    files: tuple[PackageFile, ...] = ()
    payload: str = "w.ufdio"
    """How rpmbuild packs the files; as they are, since what is large is compressed already."""

    spec: str = field(repr=False)
