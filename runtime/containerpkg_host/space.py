"""Whether there is room for the images that an engine has yet to load."""

import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from containerpkg_host import blobs
from containerpkg_host.engine import Engine
from containerpkg_host.host import Host
from containerpkg_host.layout import Layout


class SpaceFinding(NamedTuple):
    """Room for images in a folder."""

    folder: str
    needed: int
    """At most, by all the folders on its file system."""

    free: int

    @property
    def enough(self) -> bool:
        """Whether it fits."""
        return self.free >= self.needed


def needs(engine: Engine, layouts: List[Layout]) -> Dict[str, int]:
    """Folder → the bytes that a load of ``layouts``, one after another, writes there at most."""
    if not layouts:
        return {}
    storage, work = engine.storage()
    unpacked, packed = zip(*map(blobs.needed_bytes, layouts))
    needed = {storage: sum(unpacked)}
    needed[work] = needed.get(work, 0) + max(packed)
    return needed


def find_space(host: Host, needs: Dict[str, int]) -> Tuple[SpaceFinding, ...]:
    """The room in folders, of which each needs so many bytes; they may be still to be made."""
    places = {folder: _existing(host.root / folder.lstrip("/")) for folder in sorted(needs)}
    together: Dict[int, int] = {}
    for folder, place in places.items():
        device = place.stat().st_dev
        together[device] = together.get(device, 0) + needs[folder]
    return tuple(
        SpaceFinding(folder, together[place.stat().st_dev], _free(place))
        for folder, place in places.items()
    )


def describe_lack(space: Tuple[SpaceFinding, ...]) -> str:
    """Where there is not enough, as a part of a sentence; empty if there is."""
    parts: List[str] = []
    for one in space:
        if not one.enough:
            needed = f"{one.needed >> 20} MiB are needed at most"
            parts.append(f"{one.folder} has {one.free >> 20} MiB free where {needed}")
    return " and ".join(parts)


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _free(path: Path) -> int:
    status = os.statvfs(str(path))
    return status.f_bavail * status.f_frsize
