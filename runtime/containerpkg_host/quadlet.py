"""Reads Quadlet units as podman's generator does, see podman-systemd.unit(5)."""

from pathlib import Path
from typing import List, NamedTuple, Tuple

from containerpkg_host.host import Host
from containerpkg_host.unitfiles import Keys, find_dropins, find_units, read_keys


class Quadlet(NamedTuple):
    """A unit of a kind (``container`` or ``image``) and its name, merged from its files."""

    kind: str
    name: str
    path: Path
    dropins: Tuple[Path, ...]
    keys: Keys

    def last(self, key: str) -> str:
        """The value that counts of a key in the section of its kind, or empty."""
        values = self.keys.get((self.kind.capitalize(), key), [])
        return values[-1] if values else ""


def load_quadlets(host: Host, kind: str) -> List[Quadlet]:
    """Every unit of ``kind`` that Quadlet would see, sorted by name."""
    found = []
    # Quadlet looks into subfolders too; a drop-in folder is none that holds units.
    for name, path in find_units(host.quadlets, f".{kind}", deep=True).items():
        if host.rootless in path.parents:
            continue  # of a user's own podman
        dropins = find_dropins(host.quadlets, name)
        keys = read_keys((path, *dropins))
        found.append(Quadlet(kind, path.stem, path, dropins, keys))
    return found
