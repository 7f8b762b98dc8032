"""The metadata of a yum repository, written beside and switched in.

A client that has read the old repomd.xml can still fetch every file it names: those files stay
until the metadata after the next.  https://createrepo.baseurl.org and the createrepo_c library.

Metadata without a signature is switched in by the rename of repomd.xml. With one there are two
files that belong together, repomd.xml and repomd.xml.asc, so the whole folder is exchanged in one
step where the file system can do that (ext4, XFS, btrfs, tmpfs on Linux). Elsewhere repomd.xml goes
first and its signature follows at once: a run that is killed between the two leaves a pair that
clients refuse, and the next run mends it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import createrepo_c

from containerpkg.errors import RepositoryError
from containerpkg.files import link_or_copy, make_public, write_atomic
from containerpkg.packages.signing import SignatureError, Signer

PACKAGES = "packages"
"""The folder of a repository that holds its RPMs."""

REPOMD = "repomd.xml"
SIGNATURE = "repomd.xml.asc"

_BESIDE = ".metadata-"
_PROBE = 1 << 16

# renameat2(2)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(frozen=True, kw_only=True)
class Published:
    """What :func:`publish_metadata` did."""

    packages: int
    changed: bool


def publish_metadata(folder: Path, *, signer: Signer | None = None) -> Published:
    """Make ``folder/repodata`` describe every RPM in ``folder/packages``.

    Packages that the present metadata describes with the same size and time are not read again,
    and metadata that is already right, and signed by ``signer`` or not at all, is left alone.
    Nobody else may publish meanwhile.

    Raises :class:`RepositoryError` for a package that cannot be read or metadata that cannot be
    written, and OSError where the disk is full.
    """
    for left in folder.glob(f"{_BESIDE}*"):
        shutil.rmtree(left)
    trusted = _present(folder)
    present = trusted or {}
    files = {f"{PACKAGES}/{path.name}": path for path in sorted((folder / PACKAGES).glob("*.rpm"))}
    kept = {href: known for href, known in present.items() if _unchanged(files.get(href), known)}
    same = trusted is not None and len(kept) == len(present) == len(files)
    if same and _signed_right(folder / "repodata", signer):
        return Published(packages=len(files), changed=False)
    with tempfile.TemporaryDirectory(prefix=_BESIDE, dir=folder) as beside:
        packages = (kept.get(href) or _read(path, href) for href, path in files.items())
        # What a later run publishes is never of an earlier or the same time.
        revision = max(int(time.time()), revision_of(folder / "repodata") + 1)
        fresh = write_metadata(Path(beside), len(files), packages, revision=revision, signer=signer)
        switch(fresh, folder / "repodata")
    return Published(packages=len(files), changed=True)


def write_metadata(
    beside: Path,
    number: int,
    packages: Iterable[createrepo_c.Package],
    *,
    revision: int,
    signer: Signer | None = None,
) -> Path:
    """Write the metadata of ``number`` packages to ``beside/repodata``, and return that.

    The same packages, revision and key give the same bytes. ``revision`` is in seconds since 1970
    and is the time of everything, the signature too.

    Raises :class:`RepositoryError` for metadata that cannot be written, and OSError where the disk
    is full.
    """
    fresh = beside / "repodata"
    try:
        writer = createrepo_c.RepositoryWriter(
            beside, num_packages=number, compression=createrepo_c.GZ_COMPRESSION
        )
        for package in packages:
            writer.add_pkg(package)
        writer.finish()
        written = createrepo_c.Repomd(str(fresh / REPOMD))
        dated = createrepo_c.Repomd()
        dated.set_revision(str(revision))
        for record in written.records:
            record.set_timestamp(revision)
            dated.set_record(record)
    except createrepo_c.CreaterepoCError as error:
        # The library does not say that the disk is full; a file of our own does.
        (beside / "probe").write_bytes(bytes(_PROBE))
        raise RepositoryError(f"the metadata cannot be written to {beside}: {error}") from error
    write_atomic(fresh / REPOMD, dated.xml_dump())
    if signer:
        signer.sign_file(fresh / REPOMD, at=revision)
    return fresh


def revision_of(repodata: Path) -> int:
    """The revision of a repomd.xml, seconds since 1970 if we wrote it; 0 where there is none."""
    try:
        return int(createrepo_c.Repomd(str(repodata / REPOMD)).revision or 0)
    except (OSError, ValueError, createrepo_c.CreaterepoCError):
        return 0


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


def _signed_right(repodata: Path, signer: Signer | None) -> bool:
    """Whether the signature is that of ``signer``, or there is none as there is no signer."""
    signature = repodata / SIGNATURE
    if signer is None or not signature.is_file():
        return signer is None and not signature.exists()
    with tempfile.TemporaryDirectory(prefix="containerpkg-") as folder:
        try:
            signer.keyring(Path(folder)).check(
                signature.read_bytes(), (repodata / REPOMD).read_bytes()
            )
        except SignatureError:
            return False
    return True


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


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the file system or the kernel cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = (os.fsencode(one.absolute()), os.fsencode(other.absolute()))
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
        return False
    raise OSError(number, os.strerror(number), str(other))


def switch(fresh: Path, place: Path) -> None:
    """Put the metadata in the folder ``fresh`` into ``place``, which keeps the files of before.

    Afterwards ``fresh`` holds nothing of value. Both are on one file system.
    """
    make_public(place)
    before, now = _named(place), _named(fresh)
    for path in fresh.iterdir():
        # Like the packages, whatever the umask: a web server has to read them.
        path.chmod(0o644)
        _durable(path)
    if (fresh / SIGNATURE).exists() and _exchanged(fresh, place, before):
        return
    # Each names or signs all that went before it.
    last = [name for name in (REPOMD, SIGNATURE) if (fresh / name).exists()]
    for name in (*sorted(now), *last):
        (fresh / name).rename(place / name)
    _durable(place)
    for path in place.iterdir():
        if path.name not in {*before, *now, *last}:
            path.unlink()


def _exchanged(fresh: Path, place: Path, before: frozenset[str]) -> bool:
    for name in before:
        if not (fresh / name).exists() and (place / name).exists():
            link_or_copy(place / name, fresh / name)
    fresh.chmod(place.stat().st_mode & 0o7777)
    _durable(fresh)
    if not exchange(fresh, place):
        return False
    _durable(place.parent)
    return True


def _named(repodata: Path) -> frozenset[str]:
    """The names of the files that a repomd.xml points to."""
    try:
        records: Iterable[createrepo_c.RepomdRecord] = createrepo_c.Repomd(
            str(repodata / REPOMD)
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
