"""What the store remembers of builds and packages, each a small JSON file.

A build record says which inputs gave which image; a package record says which content got which
release, so that the same content is never released twice and never under two names.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from containerpkg.errors import StoreError
from containerpkg.files import write_atomic

_STAMP = "%Y%m%d%H%M%S"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Kind = TypeVar("_Kind", bound=_Record)


class SourceRecord(_Record):
    """The source that an image was built from."""

    origin: str
    ref: str
    """What was asked for, or the folder of a local source."""

    revision: str
    local: bool


class BuildRecord(_Record):
    """One build that succeeded."""

    image: str
    key: str
    """The digest of everything that went into it."""

    inputs: dict[str, str]
    """Each of those things by name, so that a change can be named."""

    image_id: str
    """What the engine called it; the store knows the image by this too."""

    built: datetime
    seconds: float
    source: SourceRecord | None = None


class PackageRecord(_Record):
    """One content of an image package, with the release it was given."""

    package: str
    key: str
    target: str
    version: str
    stamp: Annotated[str, Field(pattern=r"^\d{14}$")]
    """When this content was released, in UTC; the part of the release that orders builds."""

    manifest: str
    architecture: str = ""
    """OCI's name of it; empty in records of before there was this, which hold for any."""

    layers: dict[str, int] = {}
    """Layer package → bytes, for the size of an update."""

    size: int = 0
    """Bytes of the package itself, 0 until it was made."""


class Records:
    """The records below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def build(self, image: str, key: str) -> BuildRecord | None:
        """The build of ``image`` from exactly these inputs."""
        return _load(self._root / "builds" / image / f"{key}.json", BuildRecord)

    def last_build(self, image: str) -> BuildRecord | None:
        """The newest build of ``image``, whatever its inputs."""
        found = [
            record
            for path in (self._root / "builds" / image).glob("[0-9a-f]*.json")
            if (record := _load(path, BuildRecord))
        ]
        return max(found, key=lambda record: record.built, default=None)

    def add_build(self, record: BuildRecord) -> None:
        """Keep ``record``."""
        path = self._root / "builds" / record.image / f"{record.key}.json"
        write_atomic(path, record.model_dump_json())

    def packages(self, package: str) -> tuple[PackageRecord, ...]:
        """Every content that the package had, oldest first."""
        found = [
            record
            for path in (self._root / "packages" / package).glob("[0-9a-f]*.json")
            if (record := _load(path, PackageRecord))
        ]
        return tuple(sorted(found, key=lambda record: record.stamp))

    def add_package(self, record: PackageRecord) -> None:
        """Keep ``record``, in place of an earlier one for the same content."""
        path = self._root / "packages" / record.package / f"{record.key}.json"
        write_atomic(path, record.model_dump_json())

    def next_stamp(self, package: str, now: datetime) -> str:
        """``now``, or a second after the newest stamp of ``package`` if the clock is behind it."""
        stamp = now.astimezone(UTC).strftime(_STAMP)
        newest = max((record.stamp for record in self.packages(package)), default="")
        if stamp <= newest:
            moved = datetime.strptime(newest, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
            stamp = moved.strftime(_STAMP)
        return stamp


def _load(path: Path, kind: type[_Kind]) -> _Kind | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{path} in the store is damaged", hint=f"remove it: rm {path}") from error
