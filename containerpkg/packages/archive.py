"""The payload of a package that needs no other: one docker-archive in one compressed file.

Its name says how it is compressed. Engines unpack it themselves when they load it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, cast

from containerpkg.definitions.project import Layers
from containerpkg.store import codec
from containerpkg.store.content import ContentStore, StoredImage
from containerpkg.store.export import write_archive

Compression = Literal["zstd", "gzip"]

_SUFFIX = {"zstd": "zst", "gzip": "gz"}

# zlib's own default; at 9 it takes twice as long for a hundredth of the bytes.
_GZIP_LEVEL = 6


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A docker-archive of ``image`` under each of ``references``, compressed as ``form`` says."""

    image: StoredImage
    references: tuple[str, ...]
    form: Layers
    store: ContentStore = field(repr=False, compare=False)


def archive_name(compression: Compression) -> str:
    """What the file of an archive is called."""
    return f"image.tar.{_SUFFIX[compression]}"


def archive_form(compression: Compression, layers: Layers) -> Layers:
    """How hard to compress, where the project says ``layers`` of its layers."""
    if compression == layers.compression:
        return layers
    return Layers(compression="gzip", level=_GZIP_LEVEL) if compression == "gzip" else Layers()


def write(archive: Archive, path: Path) -> None:
    """Write ``archive`` to ``path``; the same images give the same bytes.

    Raises :class:`StoreError` for a layer that is damaged.
    """
    with path.open("wb") as file:
        compressed = _Compressed(file, codec.encoder(archive.form))
        images = dict.fromkeys(archive.references, archive.image)
        write_archive(archive.store, images, cast("IO[bytes]", compressed))
        compressed.finish()


class _Compressed:
    """Something to write to that compresses."""

    def __init__(self, file: IO[bytes], encoder: codec.Encoder) -> None:
        self._file, self._encoder = file, encoder

    def write(self, data: bytes) -> int:
        self._file.write(self._encoder.compress(data))
        return len(data)

    def finish(self) -> None:
        self._file.write(self._encoder.flush())
