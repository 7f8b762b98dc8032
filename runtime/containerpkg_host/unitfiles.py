"""Reads unit files with their drop-ins as systemd does, see systemd.unit(5)."""

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

Keys = Dict[Tuple[str, str], List[str]]
"""(section, key) → each value, in the order in which they were read."""


def find_units(folders: Sequence[Path], suffix: str, *, deep: bool = False) -> Dict[str, Path]:
    """The units whose names end in ``suffix``, by name: of two, that of the earlier folder."""
    paths: Dict[str, Path] = {}
    for folder in folders:
        found = folder.rglob(f"*{suffix}") if deep else folder.glob(f"*{suffix}")
        for path in sorted(found):
            if path.is_file():
                paths.setdefault(path.name, path)
    return dict(sorted(paths.items()))


def find_dropins(folders: Sequence[Path], name: str) -> Tuple[Path, ...]:
    """The drop-ins of the unit ``name`` and of its kind, in the order in which they count."""
    files: Dict[str, Path] = {}
    for folder in folders:
        for place in (f"{name}.d", f"{name.rpartition('.')[2]}.d"):
            for path in sorted((folder / place).glob("*.conf")):
                if path.exists():  # else it is a link that leads to nothing
                    files.setdefault(path.name, path)
    return tuple(files[name] for name in sorted(files))


def read_keys(paths: Sequence[Path]) -> Keys:
    """What a unit file and its drop-ins say together."""
    keys: Keys = {}
    for path in paths:
        parse_keys(path.read_text(encoding="utf-8", errors="replace"), keys)
    return keys


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
