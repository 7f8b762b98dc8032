"""The metadata of a yum repository, written beside and switched in by one rename.

A client that has read the old repomd.xml can still fetch every file it names: those files stay
until the metadata after the next.  https://createrepo.baseurl.org and the createrepo_c library.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import createrepo_c

from containerpkg.errors import RepositoryError
from containerpkg.files import make_public

PACKAGES = "packages"
"""The folder of a repository that holds its RPMs."""

_BESIDE = ".metadata-"
_PROBE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Published:
    """What :func:`publish_metadata` did."""

    packages: int
    changed: bool


def publish_metadata(folder: Path) -> Published:
    """Make ``folder/repodata`` describe every RPM in ``folder/packages``.

    Packages that the present metadata describes with the same size and time are not read again,
    and metadata that is already right is left alone. Nobody else may publish meanwhile.

    Raises :class:`RepositoryError` for a package that cannot be read or metadata that cannot be
    written, and OSError where the disk is full.
    """
    for left in folder.glob(f"{_BESIDE}*"):
        shutil.rmtree(left)
    trusted = _present(folder)
    present = trusted or {}
    files = {f"{PACKAGES}/{path.name}": path for path in sorted((folder / PACKAGES).glob("*.rpm"))}
    kept = {href: known for href, known in present.items() if _unchanged(files.get(href), known)}
    if trusted is not None and len(kept) == len(present) == len(files):
        return Published(packages=len(files), changed=False)
    with tempfile.TemporaryDirectory(prefix=_BESIDE, dir=folder) as beside:
        packages = (kept.get(href) or _read(path, href) for href, path in files.items())
        _write(Path(beside), len(files), packages)
        _switch(Path(beside) / "repodata", folder / "repodata")
    return Published(packages=len(files), changed=True)


def _write(beside: Path, number: int, packages: Iterable[createrepo_c.Package]) -> None:
    try:
        writer = createrepo_c.RepositoryWriter(
            beside, num_packages=number, compression=createrepo_c.GZ_COMPRESSION
        )
        for package in packages:
            writer.add_pkg(package)
        writer.finish()
    except createrepo_c.CreaterepoCError as error:
        # The library does not say that the disk is full; a file of our own does.
        (beside / "probe").write_bytes(bytes(_PROBE))
        raise RepositoryError(f"the metadata cannot be written to {beside}: {error}") from error


def _present(folder: Path) -> dict[str, createrepo_c.Package] | None:
    """The packages of today's metadata by their place; None where there is none to trust."""
    try:
        reader = createrepo_c.RepositoryReader.from_path(folder, warningcb=lambda *_: True)
        return {package.location_href: package for package in reader.iter_packages()}
    except (OSError, KeyError, createrepo_c.CreaterepoCError):
        # Missing or damaged, it is made anew from the packages, which carry all that it says.
        return None


def _unchanged(path: Path | None, known: createrepo_c.Package) -> bool:
    if path is None:
        return False
    found = path.stat()
    return bool(found.st_size == known.size_package and int(found.st_mtime) == known.time_file)


def _read(path: Path, href: str) -> createrepo_c.Package:
    try:
        return createrepo_c.package_from_rpm(
            str(path), checksum_type=createrepo_c.SHA256, location_href=href
        )
    except (OSError, createrepo_c.CreaterepoCError) as error:
        raise RepositoryError(
            f"{path} is not a package that can be read: {error}",
            hint=f"remove it ('rm {path}') and run 'containerpkg make' again",
        ) from error


def _switch(fresh: Path, place: Path) -> None:
    """Move ``fresh`` over ``place``; repomd.xml last, since it names all the others."""
    make_public(place)
    before = _named(place)
    now = _named(fresh)
    for name in (*sorted(now), "repomd.xml"):
        # Like the packages, whatever the umask: a web server has to read them.
        (fresh / name).chmod(0o644)
        _durable(fresh / name)
        (fresh / name).rename(place / name)
    _durable(place)
    for path in place.iterdir():
        if path.name not in {*before, *now, "repomd.xml", "repomd.xml.asc"}:
            path.unlink()


def _named(repodata: Path) -> frozenset[str]:
    """The names of the files that a repomd.xml points to."""
    try:
        records: Iterable[createrepo_c.RepomdRecord] = createrepo_c.Repomd(
            str(repodata / "repomd.xml")
        ).records
    except (OSError, createrepo_c.CreaterepoCError):
        return frozenset()
    return frozenset(Path(record.location_href).name for record in records)


def _durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
