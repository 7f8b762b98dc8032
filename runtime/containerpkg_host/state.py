"""What is remembered from one transaction to the next, in small files below /var/lib/containerpkg.

Each file is replaced in one step. Whatever is lost is found out again, but for what an upgrade
came from.
"""

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, TypeVar

from containerpkg_host.host import Host, remove, write_whole
from containerpkg_host.layout import Layout

_One = TypeVar("_One")


class Loaded(NamedTuple):
    """An image that we had an engine load."""

    image: str
    digest: str
    id: str
    names: Tuple[str, ...]
    """Each reference that it may have in the engine."""

    engine: str
    engine_id: str
    """What the engine calls it by; empty if nobody saw the end of the load."""


class Version(NamedTuple):
    """What is to be remembered of a version of an image."""

    digest: str
    services: Tuple[str, ...]
    layers: Tuple[str, ...]
    """The packages of its layers."""

    units: str
    """The flavour of its units."""


class Known(NamedTuple):
    """An image as the last run found it."""

    current: Version
    previous: Optional[Version]
    file: str
    """The fingerprint of its image.json, which changes with each installation."""


class Change(NamedTuple):
    """A service on its way from one image to another, or held back on its way."""

    service: str
    image: str
    repository: str
    old: str
    """The manifest digest that ran before."""

    new: str


class Presets(NamedTuple):
    """The units of an image that presets were applied to."""

    units: Tuple[str, ...]
    enabled: Tuple[str, ...] = ()
    """Those that a removal disabled, to be enabled again if their package is still there."""


def version_of(layout: Layout) -> Version:
    """What is remembered of an installed image."""
    layers = {layer.package for layer in layout.layers} - {layout.package}
    return Version(layout.digest, layout.services, tuple(sorted(layers)), layout.units)


class State:
    """The files; see the module."""

    def __init__(self, host: Host) -> None:
        self._root = host.state

    # Images that we loaded, by the hexadecimal digits of their digest.

    def loaded(self) -> Dict[str, Loaded]:
        """By manifest digest."""
        return {one.digest: one for one in self._all("loaded", _loaded)}

    def add_loaded(self, one: Loaded) -> None:
        """Remember it before it is loaded, so that nothing is left that nobody knows of."""
        self._write("loaded", _hex(one.digest), one._asdict())

    def forget_loaded(self, digest: str) -> None:
        """It is not in the engine any more."""
        remove(self._path("loaded", _hex(digest)))

    # Images as they were installed.

    def known(self) -> Dict[str, Known]:
        """By image name."""
        return dict(self._all("images", _known))

    def set_known(self, name: str, known: Known) -> None:
        """Remember ``known`` as what is installed."""
        previous = known.previous._asdict() if known.previous else None
        data = {"name": name, "current": known.current._asdict(), "previous": previous}
        data["file"] = known.file
        self._write("images", name, data)

    def forget_known(self, name: str) -> None:
        """Its package is gone."""
        remove(self._path("images", name))

    # Units that were given the state that the host's presets say.

    def presets(self) -> Dict[str, Presets]:
        """By image."""
        return dict(
            self._all(
                "presets",
                lambda data: (
                    data["name"],
                    Presets(tuple(data["units"]), tuple(data["enabled"])),
                ),
            )
        )

    def note_presets(self, name: str, presets: Presets) -> None:
        """It was done; it is, once in the life of an installed unit."""
        self._write("presets", name, dict(presets._asdict(), name=name))

    def forget_presets(self, name: str) -> None:
        """The package is gone."""
        remove(self._path("presets", name))

    # Services that are being restarted with a new image, and those that did not start with it.

    def upgrades(self) -> Dict[str, Change]:
        """By service: begun and not ended."""
        return self._changes("upgrades")

    def begin_upgrade(self, change: Change) -> None:
        """Remember what ran, before it is stopped."""
        self._write("upgrades", change.service, change._asdict())

    def end_upgrade(self, service: str) -> None:
        """It runs, with whatever image."""
        remove(self._path("upgrades", service))

    def rollbacks(self) -> Dict[str, Change]:
        """By service: given their image before back."""
        return self._changes("rollbacks")

    def add_rollback(self, change: Change) -> None:
        """Remember that ``change.new`` did not start."""
        self._write("rollbacks", change.service, change._asdict())

    def end_rollback(self, service: str) -> None:
        """Another image has come."""
        remove(self._path("rollbacks", service))

    def _changes(self, kind: str) -> Dict[str, Change]:
        return {change.service: change for change in self._all(kind, _change)}

    def _path(self, kind: str, name: str) -> Path:
        return self._root / kind / f"{name}.json"

    def _write(self, kind: str, name: str, data: Dict[str, Any]) -> None:
        write_whole(self._path(kind, name), json.dumps(data, indent=2) + "\n")

    def _all(self, kind: str, read: Callable[[Any], _One]) -> List[_One]:
        found = []
        for path in sorted((self._root / kind).glob("[!.]*.json")):
            try:
                found.append(read(json.loads(path.read_text(encoding="utf-8"))))
            except (ValueError, KeyError, TypeError, AttributeError):
                remove(path)  # not ours, or written by a failing disk
            except FileNotFoundError:
                pass
        return found


# A newer version of this program may have written more than is read here.


def _loaded(data: Any) -> Loaded:
    fields = {name: data[name] for name in Loaded._fields}
    return Loaded(**dict(fields, names=tuple(data["names"])))


def _change(data: Any) -> Change:
    return Change(**{name: data[name] for name in Change._fields})


def _known(data: Any) -> Tuple[str, Known]:
    previous = data["previous"]
    before = _version(previous) if previous else None
    return data["name"], Known(_version(data["current"]), before, data["file"])


def _version(data: Dict[str, Any]) -> Version:
    services, layers = tuple(data["services"]), tuple(data["layers"])
    return Version(data["digest"], services, layers, data["units"])


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def file_fingerprint(path: Path) -> str:
    """Changes whenever a package puts the file there, be it the same content; "" if it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ""
    return f"{status.st_ino} {status.st_ctime_ns}"
