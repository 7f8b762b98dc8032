"""A docker-archive of stored images: what ``docker load`` and ``podman load`` of any age read.

Layers are written uncompressed, since Docker before 23 knows no zstd, each once; names are sorted
and times zero, so that the same images give the same bytes. The tar is in GNU's form: the older
one ends at 8 GiB for a layer.
https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import IO

from containerpkg.errors import StoreError
from containerpkg.files import CHUNK
from containerpkg.store import codec
from containerpkg.store.content import ContentStore, Layer, StoredImage, hex_of


def write_archive(
    store: ContentStore,
    images: Mapping[str, StoredImage],
    file: IO[bytes],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ``images`` (reference → image) to ``file``; ``advance`` is told of bytes written.

    Raises :class:`StoreError` for a layer that is damaged, which shows only at its end: write to
    a place that can be taken back.
    """
    by_id: dict[str, list[str]] = {}
    for reference, image in sorted(images.items()):
        by_id.setdefault(image.id, []).append(reference)
    stored = {image.id: image for image in images.values()}
    layers = {layer.diff_id: layer for image in stored.values() for layer in image.layers}
    manifest = [
        {
            "Config": f"{hex_of(image_id)}.json",
            "RepoTags": references,
            "Layers": [f"{hex_of(layer.diff_id)}.tar" for layer in stored[image_id].layers],
        }
        for image_id, references in sorted(by_id.items())
    ]
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
        _add(tar, "manifest.json", json.dumps(manifest, separators=(",", ":")).encode())
        for image_id, image in sorted(stored.items()):
            _add(tar, f"{hex_of(image_id)}.json", store.verified(image.config).read_bytes())
        for diff_id, layer in sorted(layers.items()):
            info = _info(f"{hex_of(diff_id)}.tar", layer.plain_size)
            with _Plain(store, layer, advance) as plain:
                tar.addfile(info, plain)
                plain.check()


class _Plain(io.RawIOBase):
    """The uncompressed bytes of a stored layer, hashed on their way."""

    def __init__(self, store: ContentStore, layer: Layer, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._path, self._layer, self._advance = store.blob_path(layer.blob.digest), layer, advance
        self._file = self._path.open("rb")
        self._pieces = codec.plain(iter(lambda: self._file.read(CHUNK), b""))
        self._ready = memoryview(b"")
        self._hash = hashlib.sha256()
        self._missing = layer.plain_size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        out = bytearray()
        wanted = self._missing if size < 0 else min(size, self._missing)
        while len(out) < wanted:
            if not self._ready:
                self._ready = self._unpack()
            part = self._ready[: wanted - len(out)]
            out += part
            self._ready = self._ready[len(part) :]
        self._missing -= len(out)
        self._hash.update(out)
        self._advance(len(out))
        return bytes(out)

    def _unpack(self) -> memoryview:
        try:
            for piece in self._pieces:
                if piece:
                    return memoryview(piece)
        except codec.DAMAGED as error:
            raise self._damaged(str(error)) from error
        raise self._damaged(f"it unpacks to less than {self._layer.plain_size} bytes")

    def check(self) -> None:
        """Raise :class:`StoreError` unless what was read is the layer."""
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._layer.diff_id:
            raise self._damaged(f"it unpacks to {found} and not to {self._layer.diff_id}")

    def close(self) -> None:
        self._file.close()
        super().close()

    def _damaged(self, how: str) -> StoreError:
        return StoreError(
            f"blob {self._layer.blob.digest} in the store is damaged: {how}",
            hint=f"rm {self._path}, then 'containerpkg make' takes it from the engine again",
        )


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o444
    return info


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_info(name, len(content)), io.BytesIO(content))
