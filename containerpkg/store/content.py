"""The content store on disk: blobs by digest, and which blob holds which layer.

    blobs/sha256/HEX            layers as they are shipped, configurations, manifests
    layers/zstd-3/HEX.json      uncompressed layer (diff ID) → its blob, by compression
    images/zstd-3/HEX.json      image ID → its manifest, by compression
    aliases/HEX                 what an engine calls a layer → its diff ID,
                                or an image → the digest of its configuration
    tmp/                        what is being written; swept when the store is opened
    lock

Blobs are written under tmp/ and renamed, so a blob that is there is whole; it is hashed once
more before a later run uses it, since disks fail.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from containerpkg import files
from containerpkg.definitions.project import Layers
from containerpkg.errors import StoreError

_Record = TypeVar("_Record")

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob: ``digest`` is ``sha256:HEX``, ``size`` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer: its blob, and the digest and size of what the blob unpacks to."""

    blob: Blob
    diff_id: str
    plain_size: int


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image of the store; ``id`` is the digest of its configuration."""

    id: str
    manifest: Blob
    config: Blob
    layers: tuple[Layer, ...]
    architecture: str
    """OCI architecture with its variant, for example ``amd64`` or ``arm/v7``."""

    created: str
    """RFC 3339, as the builder wrote it."""

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Manifest, configuration and layers."""
        return (self.manifest, self.config, *(layer.blob for layer in self.layers))


def hex_of(digest: str) -> str:
    """The 64 digits of ``sha256:HEX``; raises :class:`StoreError` for anything else."""
    if not (match := _DIGEST.fullmatch(digest)):
        raise StoreError(f"'{digest}' is not a SHA-256 digest")
    return match[1]


def diff_ids_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The diff IDs in an image's configuration, lowest first; Docker leaves out an empty list."""
    return tuple(config["rootfs"].get("diff_ids") or ())


class ContentStore:
    """The store in ``root``, for layers compressed as ``layers`` says."""

    def __init__(self, root: Path, layers: Layers) -> None:
        self.root = root
        self.layers = layers
        self._form = f"{layers.compression}-{layers.level}"
        self._verified: set[str] = set()
        self._guard = threading.Lock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other run out of the store, and sweep what a killed one left.

        Raises :class:`LockedError`.
        """
        with files.locked(self.root / "lock", what=f"the store {self.root}"):
            shutil.rmtree(self.root / "tmp", ignore_errors=True)
            for name in ("blobs", "layers", "images", "aliases", "builds", "packages"):
                files.sweep(self.root / name)
            yield

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """A folder on the store's own file system that is gone after the block."""
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.root / "tmp") as folder:
            yield Path(folder)

    def blob_path(self, digest: str) -> Path:
        """Where the blob with this digest is, or would be."""
        return self.root / "blobs" / "sha256" / hex_of(digest)

    def verified(self, blob: Blob) -> Path:
        """The blob's file, after hashing it unless this run wrote or hashed it already.

        Raises :class:`StoreError` for a blob that is missing or damaged; a damaged one is moved
        away so that the next run makes it anew.
        """
        path = self.blob_path(blob.digest)
        if blob.digest in self._verified:
            return path
        hint = "run 'containerpkg make' again: it takes the layer from the engine once more"
        try:
            found = f"sha256:{files.sha256_file(path)}"
        except FileNotFoundError as error:
            raise StoreError(f"the store lacks blob {blob.digest} ({path})", hint=hint) from error
        if found != blob.digest:
            path.rename(path.with_name(f"{path.name}.damaged"))
            raise StoreError(
                f"blob {blob.digest} in the store is damaged: its bytes hash to {found}; "
                f"it was moved to {path.name}.damaged",
                hint=hint,
            )
        self.trust(blob.digest)
        return path

    def trust(self, digest: str) -> None:
        """Note that this run wrote the blob itself."""
        with self._guard:
            self._verified.add(digest)

    def add(self, content: bytes) -> Blob:
        """Put a small blob (a configuration, a manifest) into the store."""
        blob = Blob(digest=f"sha256:{files.sha256_bytes(content)}", size=len(content))
        path = self.blob_path(blob.digest)
        if not (path.exists() and path.read_bytes() == content):
            with self.workspace("blob") as folder:
                files.write_atomic(folder / "blob", content)
                self.adopt(folder / "blob", blob)
        self.trust(blob.digest)
        return blob

    def adopt(self, temporary: Path, blob: Blob) -> None:
        """Take a complete file of :meth:`workspace` as the blob that it is known to be."""
        path = self.blob_path(blob.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o444)
        temporary.rename(path)
        self.trust(blob.digest)

    def layer(self, diff_id: str) -> Layer | None:
        """The layer that unpacks to ``diff_id``, if the store has its blob in this compression."""
        record = self.root / "layers" / self._form / f"{hex_of(diff_id)}.json"
        layer = _load(
            record,
            lambda data: Layer(
                blob=Blob(**data["blob"]), diff_id=data["diff_id"], plain_size=data["plain_size"]
            ),
        )
        if layer is None:
            return None
        path = self.blob_path(layer.blob.digest)
        return layer if path.exists() and path.stat().st_size == layer.blob.size else None

    def add_layer(self, layer: Layer) -> None:
        """Record which blob holds ``layer``."""
        path = self.root / "layers" / self._form / f"{hex_of(layer.diff_id)}.json"
        files.write_atomic(path, json.dumps(asdict(layer)))

    def alias(self, name: str) -> str | None:
        """The diff ID of the layer that an engine calls ``name`` (64 hexadecimal digits).

        Of an image it is the digest of its configuration.
        """
        try:
            digest = (self.root / "aliases" / name).read_text(errors="replace")
        except FileNotFoundError:
            return None
        return digest if _DIGEST.fullmatch(digest) else None  # else it is found out anew

    def add_alias(self, name: str, digest: str) -> None:
        """Record that an engine calls the layer or image ``digest`` ``name``."""
        files.write_atomic(self.root / "aliases" / name, digest)

    def image(self, image_id: str) -> StoredImage | None:
        """The image with this ID, if the store has all of it in this compression.

        ``image_id`` may also be what an engine called the image when it was imported.

        Raises :class:`StoreError` for a damaged record or configuration.
        """
        image_id = self.alias(hex_of(image_id)) or image_id
        record = self.root / "images" / self._form / f"{hex_of(image_id)}.json"
        manifest = _load(record, lambda data: Blob(**data["manifest"]))
        config_path = self.blob_path(image_id)
        if manifest is None or not config_path.exists():
            return None
        blob = Blob(digest=image_id, size=config_path.stat().st_size)
        config = json.loads(self.verified(blob).read_bytes())
        layers = tuple(self.layer(diff_id) for diff_id in diff_ids_of(config))
        if not all(layers) or not self.blob_path(manifest.digest).exists():
            return None
        variant = config.get("variant")
        return StoredImage(
            id=image_id,
            manifest=manifest,
            config=blob,
            layers=tuple(layer for layer in layers if layer),
            architecture=config["architecture"] + (f"/{variant}" if variant else ""),
            created=config.get("created") or "1970-01-01T00:00:00Z",
        )

    def add_image(self, image_id: str, manifest: Blob) -> None:
        """Record the manifest of an image whose blobs are all in the store."""
        path = self.root / "images" / self._form / f"{hex_of(image_id)}.json"
        files.write_atomic(path, json.dumps({"manifest": asdict(manifest)}))


def _load(path: Path, parse: Callable[[Any], _Record]) -> _Record | None:
    try:
        return parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} in the store is damaged", hint=f"remove it: rm {shlex.quote(str(path))}"
        ) from error
