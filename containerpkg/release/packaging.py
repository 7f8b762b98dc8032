"""From stored images to packages in a repository folder; what is there is not made again."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from containerpkg import process
from containerpkg.definitions.project import Image, Project
from containerpkg.errors import PackageError
from containerpkg.files import sha256_file, sha256_text
from containerpkg.packages import rpmbuild
from containerpkg.packages.image import ImageContent, Origin, plan_image
from containerpkg.packages.layer import BLOBS, CARRIED_BELOW, Blob, layer_nevra, plan_layer
from containerpkg.packages.plan import PackagePlan
from containerpkg.packages.targets import TARGETS
from containerpkg.progress import Progress
from containerpkg.release.unitcheck import find_unit_problems
from containerpkg.repository.metadata import PACKAGES
from containerpkg.store.content import Blob as StoredBlob
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.records import PackageRecord, Records

_UNRELEASED = "00000000000000"


@dataclass(frozen=True, kw_only=True)
class PackagedImage:
    """The packages of one image and what they mean for a site."""

    image: Image
    stored: StoredImage
    nevra: str
    fresh: tuple[str, ...]
    """File names of packages that this run made."""

    reused: tuple[str, ...]
    """File names of packages that were there."""

    total_bytes: int
    """What a site downloads that has none of it."""

    update_bytes: int
    """What a site downloads that has the version before this one."""


class Packager:
    """Makes the packages of one run into ``folder``, several at a time."""

    def __init__(
        self,
        project: Project,
        store: ContentStore,
        records: Records,
        folder: Path,
        work: Path,
        *,
        progress: Progress,
        rebuild: bool = False,
        run: process.Run = process.run,
    ) -> None:
        self._project, self._store, self._records = project, store, records
        self._folder, self._work = folder / PACKAGES, work
        self._progress, self._rebuild, self._run = progress, rebuild, run
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="package")
        self._layers: dict[str, Future[bool]] = {}
        self._guard = threading.Lock()
        self._folder.mkdir(parents=True, exist_ok=True)

    def add_layer(self, layer: Layer) -> None:
        """Begin the package of ``layer`` unless it is small, there, or begun."""
        digest = layer.blob.digest
        with self._guard:
            if layer.blob.size >= CARRIED_BELOW and digest not in self._layers:
                self._layers[digest] = self._pool.submit(self._make_layer, layer)

    def finish(self, images: Mapping[str, StoredImage]) -> tuple[PackagedImage, ...]:
        """Make what is left for ``images`` (by image name) and wait for all of it."""
        for stored in images.values():
            for layer in stored.layers:
                self.add_layer(layer)
        made = [
            self._pool.submit(self._make_image, self._project.image(name), stored)
            for name, stored in images.items()
        ]
        fresh = {
            layer_nevra(self._blob(layer.blob)).filename: self._layers[layer.blob.digest].result()
            for stored in images.values()
            for layer in _packaged(stored)
        }
        return tuple(self._summary(*future.result(), fresh) for future in made)

    def close(self) -> None:
        """Let what runs end, and begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make_layer(self, layer: Layer) -> bool:
        plan = plan_layer(self._blob(layer.blob))
        if (self._folder / plan.nevra.filename).exists() and not self._rebuild:
            return False
        self._store.verified(layer.blob)
        rpmbuild.build(plan, self._work, self._folder, run=self._run)
        return True

    def _make_image(
        self, image: Image, stored: StoredImage
    ) -> tuple[Image, StoredImage, PackageRecord, bool, bool]:
        """Also whether the content is new, and whether the file is."""
        content = self._content(image, stored)
        key = _content_key(self._plan(image, content, _UNRELEASED))
        record = self._records.package(image.package, key)
        # A record without a size is of a run that was broken off before its package was made.
        new_content = record is None or not record.size
        if record is None:
            self._check_units(image)
            record = PackageRecord(
                package=image.package,
                key=key,
                version=image.version,
                stamp=self._records.next_stamp(image.package, datetime.now(UTC)),
                manifest=stored.manifest.digest,
            )
            # Kept before the package exists, so that a run killed now gives no second release.
            self._records.add_package(record)
        plan = self._plan(image, content, record.stamp)
        path = self._folder / plan.nevra.filename
        new_file = self._rebuild or not path.exists()
        if new_file:
            for blob in (stored.manifest, stored.config):
                self._store.verified(blob)
            for layer in stored.layers:
                if layer.blob.size < CARRIED_BELOW:
                    self._store.verified(layer.blob)
            rpmbuild.build(plan, self._work, self._folder, run=self._run)
            self._progress.note(f"package {plan.nevra}")
        return image, stored, record, new_content, new_file

    def _check_units(self, image: Image) -> None:
        """Raise :class:`PackageError` for units that a host would not take."""
        for problem in find_unit_problems(self._project, [image], run=self._run):
            if problem.severity == "error":
                raise PackageError(
                    f"image '{image.name}': {problem}",
                    hint=problem.hint or "'containerpkg check' shows all that is wrong",
                )

    def _summary(
        self,
        image: Image,
        stored: StoredImage,
        record: PackageRecord,
        new_content: bool,
        new_file: bool,
        fresh: Mapping[str, bool],
    ) -> PackagedImage:
        nevra = self._plan(image, self._content(image, stored), record.stamp).nevra
        layers = {
            layer_nevra(self._blob(layer.blob)).filename: layer for layer in _packaged(stored)
        }
        sizes = {name: (self._folder / name).stat().st_size for name in (*layers, nevra.filename)}
        if record.layers.keys() != layers.keys() or record.size != sizes[nevra.filename]:
            record = record.model_copy(
                update={
                    "layers": {name: sizes[name] for name in layers},
                    "size": sizes[nevra.filename],
                }
            )
            self._records.add_package(record)
        before = [
            r for r in self._records.packages(image.package) if r.size and r.stamp < record.stamp
        ]
        had = before[-1].layers if before else {}
        update = sum(size for name, size in sizes.items() if name not in had)
        files = {**{name: fresh[name] for name in layers}, nevra.filename: new_file}
        return PackagedImage(
            image=image,
            stored=stored,
            nevra=str(nevra),
            fresh=tuple(name for name, new in files.items() if new),
            reused=tuple(name for name, new in files.items() if not new),
            total_bytes=sum(sizes.values()),
            update_bytes=update if new_content else 0,
        )

    def _plan(self, image: Image, content: ImageContent, stamp: str) -> PackagePlan:
        project = self._project.file
        return plan_image(
            image.name,
            image.file,
            content,
            package=image.package,
            version=image.version,
            release=f"{project.release}.{stamp}",
            folder=image.folder,
            origin=Origin(
                root=self._project.root,
                vendor=project.vendor,
                packager=project.packager,
                url=project.url,
            ),
            target=TARGETS[project.target],
        )

    def _content(self, image: Image, stored: StoredImage) -> ImageContent:
        return ImageContent(
            repository=image.repository,
            tag=image.tag,
            manifest=self._blob(stored.manifest),
            config=self._blob(stored.config),
            layers=tuple(self._blob(layer.blob) for layer in stored.layers),
            architecture=stored.architecture,
            created=_epoch(stored.created),
        )

    def _blob(self, blob: StoredBlob) -> Blob:
        return Blob(digest=blob.digest, size=blob.size, path=self._store.blob_path(blob.digest))


def _packaged(stored: StoredImage) -> tuple[Layer, ...]:
    """The layers that have packages of their own."""
    return tuple(layer for layer in stored.layers if layer.blob.size >= CARRIED_BELOW)


def _content_key(plan: PackagePlan) -> str:
    """The digest of everything that makes the package but its release."""
    parts = [plan.spec]
    for file in plan.files:
        if isinstance(file.content, Path):
            # A blob's name is its digest; other files are an image's own, and small.
            inside = (
                file.content.name
                if file.target.startswith(f"{BLOBS}/")
                else sha256_file(file.content)
            )
        else:
            inside = str(file.content)
        parts.append(f"{file.target} {file.mode:o} {file.config} {inside}")
    return sha256_text("\n".join(parts))


def _epoch(created: str) -> int:
    """Seconds since 1970 of an RFC 3339 time, whose fraction may have nine digits."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", created)
    if not match:
        raise PackageError(f"the image's creation time '{created}' is not an RFC 3339 time")
    zone = "+00:00" if match[2] == "Z" else match[2]
    return max(0, int(datetime.fromisoformat(match[1] + zone).timestamp()))
