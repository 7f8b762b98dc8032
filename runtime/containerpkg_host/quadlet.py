"""Reads Quadlet units with their drop-ins as podman's generator does (podman-systemd.unit(5))."""

from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from containerpkg_host.host import Host

Keys = Dict[Tuple[str, str], List[str]]
"""(section, key) → each value, in the order in which they were read."""


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


def parse_keys(text: str, keys: Keys) -> None:
    """Add the keys of a unit file to ``keys``; an empty value takes the earlier ones away."""
    section, begun = "", ""
    for line in text.splitlines():
        if not begun and (not line.strip() or line.lstrip().startswith(("#", ";"))):
            continue
        if begun and line.lstrip().startswith(("#", ";")):
            continue
        whole = begun + line.strip()
        if whole.endswith("\\"):
            begun = whole[:-1].rstrip() + " "
            continue
        begun = ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
            continue
        key, _, value = whole.partition("=")
        values = keys.setdefault((section, key.strip()), [])
        if value.strip():
            values.append(value.strip())
        else:
            del values[:]


def load_quadlets(host: Host, kind: str) -> List[Quadlet]:
    """Every unit of ``kind`` that Quadlet would see, sorted by name."""
    paths: Dict[str, Path] = {}
    for folder in host.quadlets:
        # Quadlet looks into subfolders too; a drop-in folder is none that holds units.
        for path in sorted(folder.rglob(f"*.{kind}")):
            if path.is_file():
                paths.setdefault(path.name, path)
    found = []
    for name, path in sorted(paths.items()):
        keys: Keys = {}
        dropins = _dropins(host, name, kind)
        for file in (path, *dropins):
            parse_keys(file.read_text(encoding="utf-8", errors="replace"), keys)
        found.append(Quadlet(kind, name[: -len(kind) - 1], path, dropins, keys))
    return found


def _dropins(host: Host, name: str, kind: str) -> Tuple[Path, ...]:
    files: Dict[str, Path] = {}
    for folder in host.quadlets:
        for place in (f"{name}.d", f"{kind}.d"):
            for path in sorted((folder / place).glob("*.conf")):
                files.setdefault(path.name, path)
    return tuple(files[name] for name in sorted(files))
