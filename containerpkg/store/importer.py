"""From an engine's saved images to blobs, in one pass over the stream.

Two layouts are read: docker-archive (Docker up to 24: ``ID/layer.tar``, manifest.json last) and an
OCI layout with manifest.json (Docker 25 and newer: ``blobs/sha256/HEX``).
https://github.com/moby/docker-image-spec and
https://github.com/opencontainers/image-spec/blob/main/image-layout.md

The reader hands a layer's bytes to a job that hashes, compresses and hashes again, and goes on to
the next layer meanwhile; how much is under way at once is bounded, whatever the image's size.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import queue
import re
import tarfile
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

from containerpkg.engines.protocol import ByteStream, EngineImage
from containerpkg.errors import StoreError
from containerpkg.files import CHUNK
from containerpkg.progress import Progress
from containerpkg.store import codec
from containerpkg.store.content import (
    Blob,
    ContentStore,
    Layer,
    StoredImage,
    diff_ids_of,
    hex_of,
)
from containerpkg.store.manifest import render_manifest

# One is compressed while the one before it is written out to the disk. The encoder has threads of
# its own, so compressing two at once costs memory and saves no time.
_LAYERS_AT_ONCE = 2
_CHUNKS_WAITING = 8
_LARGEST_DOCUMENT = 16 << 20

_HEX = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")

TASK = "import"


def import_images(
    store: ContentStore,
    stream: ByteStream,
    images: Sequence[EngineImage],
    *,
    progress: Progress,
    on_layer: Callable[[Layer], None],
) -> tuple[StoredImage, ...]:
    """Read one stream that holds ``images`` into the store; give them as stored, in that order.

    ``on_layer`` is called, from another thread, for each layer as soon as its blob is complete.
    Layers that the store has are read over.

    Raises :class:`StoreError` if the stream is cut, damaged or lacks one of the images; the
    layers that were complete by then stay.
    """
    with store.workspace("import") as folder:
        reading = _Reading(store, folder, images, progress=progress, on_layer=on_layer)
        try:
            forward = cast("IO[bytes]", _Forward(stream))
            with tarfile.open(fileobj=forward, mode="r:") as tar:
                for member in tar:
                    reading.take(tar, member)
        except (tarfile.TarError, EOFError) as error:
            raise StoreError(
                f"the engine's stream of images is cut or damaged: {error}",
                hint="run the command again: layers that were complete are kept",
            ) from error
        finally:
            reading.close()
        layers = reading.layers()
        return tuple(_complete(store, image, reading.documents, layers) for image in images)


class _Forward:
    """A stream as a file that can be told to skip ahead.

    tarfile reads such a file as it is; its own mode for streams copies every byte twice more.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("the members of the stream overlap")
        while self._position < position:
            if not self.read(min(CHUNK, position - self._position)):
                raise tarfile.ReadError("unexpected end of data")
        return position

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes unless the stream ends."""
        data = self._stream.read(size)
        if 0 < len(data) < size:
            parts = [data]
            missing = size - len(data)
            while missing and (data := self._stream.read(missing)):
                parts.append(data)
                missing -= len(data)
            data = b"".join(parts)
        self._position += len(data)
        return data


class _Reading:
    """The state of one pass over a stream."""

    def __init__(
        self,
        store: ContentStore,
        folder: Path,
        images: Sequence[EngineImage],
        *,
        progress: Progress,
        on_layer: Callable[[Layer], None],
    ) -> None:
        self.documents: dict[str, bytes] = {}
        self._store, self._folder = store, folder
        self._wanted = {diff_id for image in images for diff_id in image.diff_ids}
        self._progress, self._on_layer = progress, on_layer
        self._pool = ThreadPoolExecutor(_LAYERS_AT_ONCE, thread_name_prefix="layer")
        self._compressing = threading.Lock()
        self._known: list[Layer] = []
        self._jobs: list[Future[Layer | None]] = []

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Read one member of the stream: a layer, a document, or something to pass over."""
        if not member.isfile():
            return
        for job in self._jobs:
            if job.done():
                job.result()  # a full disk should end the run now and not a gigabyte later
        name = posixpath.normpath(member.name)
        content = _content(tar, member)
        blob = _BLOB.fullmatch(name)
        if name.endswith(".tar") or (blob and f"sha256:{blob[1]}" in self._wanted):
            self._take_layer(member, content, blob[1] if blob else _alias(name))
        elif blob or name.endswith(".json"):
            start = content.read(CHUNK)
            if blob and not start.startswith(b"{"):
                self._take_layer(member, content, blob[1], start)
            elif member.size <= _LARGEST_DOCUMENT:
                self.documents[name] = start + content.read()

    def _take_layer(
        self,
        member: tarfile.TarInfo,
        content: IO[bytes],
        alias: str | None,
        start: bytes = b"",
    ) -> None:
        if known := self._known_layer(alias):
            self._known.append(known)
            self._on_layer(known)
            self._progress.advance(TASK, member.size)
            return
        path = self._folder / f"layer-{len(self._jobs)}"
        job = _LayerJob(
            self._store,
            path,
            member.name,
            alias,
            self._wanted,
            self._on_layer,
            self._compressing,
        )
        self._jobs.append(self._pool.submit(job.run))
        try:
            chunk = start or content.read(CHUNK)
            while chunk:
                job.chunks.put(chunk)
                self._progress.advance(TASK, len(chunk))
                chunk = content.read(CHUNK)
        except BaseException:
            job.abandoned = True
            raise
        finally:
            job.chunks.put(None)

    def _known_layer(self, alias: str | None) -> Layer | None:
        """The layer that the stream calls ``alias``, if the store has it."""
        if alias is None:
            return None
        if (diff_id := f"sha256:{alias}") in self._wanted:
            return self._store.layer(diff_id)
        known = self._store.alias(alias)
        return self._store.layer(known) if known else None

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(wait=True)

    def layers(self) -> dict[str, Layer]:
        """Every wanted layer of the stream by its diff ID."""
        found = (*self._known, *(job.result() for job in self._jobs))
        return {layer.diff_id: layer for layer in found if layer}


class _LayerJob:
    """Hashes, compresses and hashes one layer while it comes in."""

    def __init__(
        self,
        store: ContentStore,
        path: Path,
        name: str,
        alias: str | None,
        wanted: Collection[str],
        on_layer: Callable[[Layer], None],
        compressing: threading.Lock,
    ) -> None:
        self.chunks: queue.Queue[bytes | None] = queue.Queue(_CHUNKS_WAITING)
        self.abandoned = False
        """Set before the last chunk if the stream broke off in this layer."""

        self._store, self._path, self._wanted = store, path, wanted
        self._name, self._alias, self._on_layer = name, alias, on_layer
        self._compressing = compressing
        self._incoming = iter(self.chunks.get, None)

    def run(self) -> Layer | None:
        """The layer, or None if it is none of those that are wanted."""
        try:
            return self._run()
        finally:
            self._path.unlink(missing_ok=True)
            # Whatever went wrong here, the reader must not wait for us.
            for _ in self._incoming:
                pass

    def _run(self) -> Layer | None:
        with self._path.open("wb", buffering=0) as file:
            with self._compressing:
                found = self._compress(file)
            if self.abandoned or found.diff_id not in self._wanted:
                return None
            # Before it has its name: its record is on disk at once, and must not outlive it.
            os.fsync(file.fileno())
        layer = self._store.layer(found.diff_id)
        if layer is None:
            layer = found
            self._store.adopt(self._path, layer.blob)
            self._store.add_layer(layer)
        if self._alias and layer.diff_id != f"sha256:{self._alias}":
            self._store.add_alias(self._alias, layer.diff_id)
        self._on_layer(layer)
        return layer

    def _compress(self, file: IO[bytes]) -> Layer:
        plain, packed = hashlib.sha256(), hashlib.sha256()
        plain_size = packed_size = 0
        encoder = codec.encoder(self._store.layers)

        def write(out: bytes) -> None:
            nonlocal packed_size
            if out:
                packed.update(out)
                packed_size += len(out)
                view = memoryview(out)
                while view:
                    view = view[file.write(view) :]

        try:
            for data in codec.plain(self._incoming):
                plain.update(data)
                plain_size += len(data)
                write(encoder.compress(data))
        except codec.DAMAGED as error:
            raise StoreError(
                f"{self._name} in the engine's stream is damaged: {error}",
                hint="run the command again; if it stays so, build the image anew",
            ) from error
        write(encoder.flush())
        return Layer(
            blob=Blob(digest=f"sha256:{packed.hexdigest()}", size=packed_size),
            diff_id=f"sha256:{plain.hexdigest()}",
            plain_size=plain_size,
        )


def _alias(name: str) -> str | None:
    """What the stream calls a layer: the folder of ``ID/layer.tar`` or the stem of ``ID.tar``.

    None for what is no digest: only a digest means the same layer in the next stream.
    """
    stem = name.removesuffix("/layer.tar").removesuffix(".tar")
    return stem if _HEX.fullmatch(stem) else None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "only regular files come here"
    return content


def _complete(
    store: ContentStore,
    image: EngineImage,
    documents: dict[str, bytes],
    layers: dict[str, Layer],
) -> StoredImage:
    """Store the configuration and the manifest of an image whose layers have come in."""
    content = _config(image, documents)
    missing = [diff_id for diff_id in image.diff_ids if diff_id not in layers]
    if missing:
        raise StoreError(
            f"the engine's stream lacks layer {missing[0]} of image {image.id}, or has it damaged",
            hint="run the command again; if it stays so, build the image anew with --no-cache",
        )
    ordered = [layers[diff_id] for diff_id in image.diff_ids]
    config = store.add(content)
    manifest = store.add(render_manifest(config, ordered, store.layers))
    store.add_image(config.digest, manifest)
    if image.id != config.digest:
        store.add_alias(hex_of(image.id), config.digest)
    stored = store.image(image.id)
    assert stored is not None, "all its blobs were just written"
    return stored


def _config(image: EngineImage, documents: dict[str, bytes]) -> bytes:
    """The configuration that the image's ID leads to, by way of an index and a manifest or not.

    An index may name other images too: for other platforms, and what is attested of this one.
    """
    pending = [image.id]
    while pending:
        content = _document(pending.pop(0), image, documents)
        match json.loads(content or b"null"):
            case {"rootfs": _} as config if diff_ids_of(config) == image.diff_ids:
                return content
            case {"manifests": list(manifests)}:
                pending += [str(manifest["digest"]) for manifest in manifests]
            case {"layers": _, "config": {"digest": str(digest)}}:
                pending.append(digest)
    raise StoreError(
        f"the engine's stream lacks image {image.id}; it holds {_held(documents)}",
        hint="run the command again; if it stays so, build the image anew",
    )


def _document(digest: str, image: EngineImage, documents: dict[str, bytes]) -> bytes:
    """A document of the stream by its digest; empty if it is not there."""
    name = digest.removeprefix("sha256:")
    for path in (f"{name}.json", f"blobs/sha256/{name}"):
        if path in documents:
            if hashlib.sha256(documents[path]).hexdigest() == name:
                return documents[path]
            raise StoreError(
                f"the engine's configuration of image {image.id} is damaged",
                hint="run the command again; if it stays so, build the image anew",
            )
    return b""


def _held(documents: dict[str, bytes]) -> str:
    """The configurations that the stream's manifest.json names, for a message."""
    try:
        entries = json.loads(documents.get("manifest.json", b"[]"))
        return ", ".join(str(entry["Config"]) for entry in entries) or "none"
    except (ValueError, TypeError, KeyError):
        return "a manifest.json that cannot be read"
