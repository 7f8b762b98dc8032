"""Finds out whether the files of an image are what its package brought.

A blob's name is its SHA-256. Hashing takes a second for some hundred megabytes, so that what was
right is remembered with the file's inode, size and times: whoever writes to it changes its ctime.
"""

from pathlib import Path
from typing import List, NamedTuple, Tuple

from containerpkg_host import rpmdb
from containerpkg_host.host import Host, remove, write_whole
from containerpkg_host.layout import Layout

_CHUNK = 1 << 20


class Damage(NamedTuple):
    """A file that is not there as it should be."""

    name: str
    """``blob`` and the beginning of its digest, or ``file`` and its path."""

    package: str
    how: str
    """What was found, for example ``is missing``."""


def find_damage(host: Host, layout: Layout) -> List[Damage]:
    """The files of ``layout`` that are missing or have another content."""
    if layout.archive:
        return _archive_damage(host, layout)
    blobs = [(layout.digest, layout.package), (layout.id, layout.package)]
    blobs += [(layer.digest, layer.package) for layer in layout.layers]
    found = []
    for digest, package in dict(blobs).items():
        number = digest.partition(":")[2]
        how = _damage(host, host.blobs / number, number)
        if how:
            found.append(Damage(f"blob {digest[:19]}", package, how))
    return found


def _archive_damage(host: Host, layout: Layout) -> List[Damage]:
    """An archive's digest is known to rpm alone, from the header that is signed."""
    path = host.images / layout.name / layout.archive
    number = rpmdb.file_sha256(host, path)
    how = _damage(host, path, number) if number else "is not known to rpm"
    return [Damage(f"file {path}", layout.package, how)] if how else []


def describe(layout: Layout, damage: List[Damage]) -> str:
    """One sentence for the journal, with the command that repairs it."""
    blobs = "; ".join(f"{d.name} of package {d.package} {d.how}" for d in sorted(set(damage)))
    packages = " ".join(sorted({d.package for d in damage}))
    return f"image {layout.name} is damaged: {blobs}; repair it with 'dnf reinstall {packages}'"


def _damage(host: Host, path: Path, number: str) -> str:
    """How the file with the SHA-256 ``number`` is wrong, empty if it is not."""
    stamp = host.state / "verified" / number
    try:
        before = _fingerprint(path)
        if _read(stamp) == before:
            return ""
        found = _sha256(path)
        if found != number:
            remove(stamp)
            return f"has the content sha256:{found[:12]}"
        if _fingerprint(path) == before:
            _remember(stamp, before)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def _remember(stamp: Path, fingerprint: str) -> None:
    try:
        write_whole(stamp, fingerprint)
    except OSError:
        pass  # it is hashed again the next time


def _fingerprint(path: Path) -> str:
    status = path.stat()
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{status.st_dev} {status.st_ino} {status.st_size} {times}\n"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


def _sha256(path: Path) -> str:
    import hashlib  # it brings OpenSSL, and mostly nothing is hashed

    found = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_CHUNK), b""):
            found.update(piece)
    return found.hexdigest()


def forget_absent(host: Host) -> None:
    """Remove what is remembered of files that are gone."""
    archives = [_fingerprint(path) for path in host.images.glob("*/image.tar.*")]
    for stamp in (host.state / "verified").glob("*"):
        if not (host.blobs / stamp.name).exists() and _read(stamp) not in archives:
            remove(stamp)


def needed_bytes(layout: Layout) -> Tuple[int, int]:
    """What a load writes at most: unpacked below the engine's storage, and to its work folder."""
    layers = {layer.diff_id: layer for layer in layout.layers}.values()
    return sum(layer.plain_size for layer in layers), sum(layer.size for layer in layers)
