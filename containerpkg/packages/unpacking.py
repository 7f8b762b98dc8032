"""Reads a compressed docker-archive as it passes, and tells which images its bytes really are.

It is the form that :mod:`containerpkg.store.export` writes: a tar of plain files, in which
manifest.json names a configuration and layers for each image. Anything else is refused, and memory
stays the same whatever the archive's size.
https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from containerpkg.files import CHUNK
from containerpkg.store import codec

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(_BLOCK)

# Far more than any image has; what is read from a file is not believed.
_DOCUMENT_MOST = 4 << 20
_MEMBERS_MOST = 4096


class Reader(Protocol):
    """Something to read bytes from, fewer than asked for at the end alone."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


@dataclass(frozen=True, kw_only=True)
class ArchivedImage:
    """An image in an archive. Digests are of the bytes in it, not what it says of them."""

    id: str
    """``sha256:`` and 64 digits of its configuration."""

    layers: tuple[str, ...]
    """The diff IDs of its layers, lowest first."""

    declared: tuple[str, ...]
    """The diff IDs that the configuration names."""

    references: tuple[str, ...]


def read_archive(file: Reader) -> tuple[ArchivedImage, ...]:
    """The images of an archive in gzip or zstd, which is read to its end.

    Raises ValueError, as one sentence about the archive, for what is no such archive or damaged.
    """
    stream = _Plain(file)
    digests: dict[str, str] = {}
    documents: dict[str, bytes] = {}
    try:
        while (header := stream.exactly(_BLOCK)) != _END:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            if not member.isreg() or member.name in digests or len(digests) == _MEMBERS_MOST:
                raise ValueError(f"it has an entry that no image needs: {member.name}")
            kept = member.name.endswith(".json") and member.size <= _DOCUMENT_MOST
            digest, content = hashlib.sha256(), bytearray()
            for data in stream.pieces(member.size):
                digest.update(data)
                if kept:
                    content += data
            stream.exactly(-member.size % _BLOCK)
            digests[member.name] = f"sha256:{digest.hexdigest()}"
            if kept:
                documents[member.name] = bytes(content)
        while data := stream.read(CHUNK):
            if data.strip(b"\0"):
                raise ValueError("it goes on behind its end")
    except (*codec.DAMAGED, tarfile.HeaderError) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    try:
        return tuple(
            _image(entry, digests, documents) for entry in json.loads(documents["manifest.json"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}, or that is something else") from error
    except RecursionError as error:
        raise ValueError("it has a description that is nested too deeply") from error


def _image(
    entry: dict[str, object], digests: dict[str, str], documents: dict[str, bytes]
) -> ArchivedImage:
    config, layers, references = entry["Config"], entry["Layers"], entry["RepoTags"]
    if not (isinstance(config, str) and isinstance(layers, list) and isinstance(references, list)):
        raise TypeError("manifest.json")
    return ArchivedImage(
        id=digests[config],
        layers=tuple(digests[layer] for layer in layers),
        declared=tuple(map(str, json.loads(documents[config])["rootfs"]["diff_ids"])),
        references=tuple(map(str, references)),
    )


class _Plain:
    """The uncompressed bytes of a file."""

    def __init__(self, file: Reader) -> None:
        self._pieces = codec.plain(iter(lambda: file.read(CHUNK), b""))
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not self._ready:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._ready = memoryview(piece)
        data, self._ready = self._ready[:size], self._ready[size:]
        return bytes(data)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes."""
        left = size
        while left:
            data = self.read(min(left, CHUNK))
            if not data:
                raise ValueError("it is cut short")
            left -= len(data)
            yield data

    def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes, which are few."""
        return b"".join(self.pieces(size))
