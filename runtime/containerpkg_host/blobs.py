"""Finds out whether the blobs of an image are what its package brought.

A blob's name is its SHA-256. Hashing takes a second for some hundred megabytes, so that what was
right is remembered with the file's inode, size and times: whoever writes to it changes its ctime.
"""

import hashlib
from pathlib import Path
from typing import List, NamedTuple, Tuple

from containerpkg_host.host import Host, remove, write_whole
from containerpkg_host.layout import Layout

_CHUNK = 1 << 20


class Damage(NamedTuple):
    """A blob that is not there as it should be."""

    digest: str
    package: str
    how: str
    """What was found, for example ``is missing``."""


def find_damage(host: Host, layout: Layout) -> List[Damage]:
    """The blobs of ``layout`` that are missing or have another content."""
    blobs = [(layout.digest, layout.package), (layout.id, layout.package)]
    blobs += [(layer.digest, layer.package) for layer in layout.layers]
    found = []
    for digest, package in dict(blobs).items():
        how = _damage(host, digest)
        if how:
            found.append(Damage(digest, package, how))
    return found


def describe(layout: Layout, damage: List[Damage]) -> str:
    """One sentence for the journal, with the command that repairs it."""
    blobs = "; ".join(
        f"blob {d.digest[:19]} of package {d.package} {d.how}" for d in sorted(set(damage))
    )
    packages = " ".join(sorted({d.package for d in damage}))
    return f"image {layout.name} is damaged: {blobs}; repair it with 'dnf reinstall {packages}'"


def _damage(host: Host, digest: str) -> str:
    """How the blob is wrong, empty if it is not."""
    number = digest.partition(":")[2]
    path, stamp = host.blobs / number, host.state / "verified" / number
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
    found = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_CHUNK), b""):
            found.update(piece)
    return found.hexdigest()


def forget_absent(host: Host) -> None:
    """Remove what is remembered of blobs that are gone."""
    for stamp in (host.state / "verified").glob("*"):
        if not (host.blobs / stamp.name).exists():
            remove(stamp)


def needed_bytes(layout: Layout) -> Tuple[int, int]:
    """What a load writes at most: unpacked below the engine's storage, and to its work folder.

    The package does not say how large layers unpack; three times is what such layers have.
    """
    packed = sum({layer.digest: layer.size for layer in layout.layers}.values())
    return 3 * packed, packed
