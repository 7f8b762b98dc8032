"""Makes the packages of a run into a repository folder, several at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from containerpkg import process
from containerpkg.definitions.project import Image, Project
from containerpkg.errors import PackageError
from containerpkg.files import make_public
from containerpkg.packages import rpmbuild
from containerpkg.packages.plan import PackagePlan
from containerpkg.packages.runtime import plan_runtime
from containerpkg.packages.signing import Signer
from containerpkg.progress import Progress
from containerpkg.release.packages import ImageStep, PackagePlanner, has_package
from containerpkg.release.unitcheck import find_unit_problems
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.records import PackageRecord, Records


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


@dataclass(frozen=True, kw_only=True)
class PackagedRuntime:
    """The package that all image packages with services require."""

    nevra: str
    fresh: bool
    """Whether this run made it."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """What came of the images of a run."""

    images: tuple[PackagedImage, ...]
    failed: Mapping[str, PackageError]
    """Why there is no package, by the names of the other images."""


class Packager:
    """Makes what ``planner`` plans into ``folder``, signed by ``signer`` if there is one."""

    def __init__(
        self,
        project: Project,
        store: ContentStore,
        records: Records,
        folder: Path,
        work: Path,
        *,
        planner: PackagePlanner,
        progress: Progress,
        signer: Signer | None = None,
        run: process.Run = process.run,
    ) -> None:
        self.signer = signer
        self._project, self._store, self._records = project, store, records
        self._folder, self._work = folder, work
        self._planner, self._progress, self._run = planner, progress, run
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="package")
        self._layers: dict[str, Future[bool]] = {}
        self._guard = threading.Lock()
        make_public(folder)

    def add_layer(self, layer: Layer) -> None:
        """Begin the package of ``layer`` unless it is small, there, or begun."""
        digest = layer.blob.digest
        with self._guard:
            if has_package(layer) and digest not in self._layers:
                self._layers[digest] = self._pool.submit(self._make_layer, layer)

    def finish(self, images: Mapping[str, StoredImage]) -> Packaged:
        """Make what is left for ``images`` (by image name) and wait for all of it.

        Errors that stop one package are in what is returned; a machine that can't go on raises.
        """
        for name, stored in images.items():
            if not self._planner.archived(self._project.image(name)):
                for layer in stored.layers:
                    self.add_layer(layer)
        made = {
            name: self._pool.submit(self._package, self._project.image(name), stored)
            for name, stored in images.items()
        }
        packaged: list[PackagedImage] = []
        failed: dict[str, PackageError] = {}
        for name, future in made.items():
            try:
                packaged.append(self._summary(*future.result()))
            except PackageError as error:
                failed[name] = error
        return Packaged(images=tuple(packaged), failed=failed)

    def make_runtime(self) -> PackagedRuntime:
        """Make the package that image packages with services require, unless it is there."""
        step = self._planner.runtime()
        nevra = plan_runtime("00000000000000").nevra
        record = step.record or PackageRecord(
            package=nevra.name,
            key=step.key,
            target=nevra.arch,
            version=nevra.version,
            stamp=self._records.next_stamp(nevra.name, datetime.now(UTC)),
            manifest="",
        )
        if step.record is None:
            self._records.add_package(record)
        plan = plan_runtime(record.stamp)
        if step.action == "make":
            self._build(plan)
            self._progress.note(f"package {plan.nevra}")
        return PackagedRuntime(nevra=str(plan.nevra), fresh=step.action == "make")

    def close(self) -> None:
        """Let what runs end, and begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make_layer(self, layer: Layer) -> bool:
        """Whether the package had to be made."""
        step = self._planner.layer(layer)
        if step.action == "keep":
            return False
        self._store.verified(layer.blob)
        self._build(step.plan)
        return True

    def _package(self, image: Image, stored: StoredImage) -> tuple[ImageStep, PackageRecord]:
        step = self._planner.image(image, stored)
        for layer in step.layers:
            # All of them were begun earlier. Without one of them nobody could install the image.
            self._layers[layer.blob.digest].result()
        return step, self._make_image(step)

    def _make_image(self, step: ImageStep) -> PackageRecord:
        """The record of the package, which is there afterwards."""
        record = step.record
        if record is None:
            self._check_units(step.image)
            record = PackageRecord(
                package=step.image.package,
                key=step.key,
                target=self._project.file.target,
                version=step.image.version,
                stamp=self._records.next_stamp(step.image.package, datetime.now(UTC)),
                manifest=step.stored.manifest.digest,
                architecture=step.stored.architecture,
            )
            # Kept before the package exists, so that a run killed now gives no second release.
            self._records.add_package(record)
        if step.action == "make":
            # Layers of an archive are looked at when it is written.
            layers = () if step.archived else step.stored.layers
            carried = [layer.blob for layer in layers if not has_package(layer)]
            for blob in (step.stored.manifest, step.stored.config, *carried):
                self._store.verified(blob)
            plan = self._planner.plan(step.image, step.stored, record.stamp)
            self._build(plan)
            self._progress.note(f"package {plan.nevra}")
        return record

    def _build(self, plan: PackagePlan) -> None:
        finish = self.signer.sign_package if self.signer else None
        rpmbuild.build(plan, self._work, self._folder, finish=finish, run=self._run)

    def _check_units(self, image: Image) -> None:
        """Raise :class:`PackageError` for units that a host would not take."""
        for problem in find_unit_problems(self._project, [image], run=self._run):
            if problem.severity == "error":
                raise PackageError(
                    f"image '{image.name}': {problem}",
                    hint=problem.hint or "'containerpkg check' shows all that is wrong",
                )
            if problem.severity == "warning":
                self._progress.note(str(problem))

    def _summary(self, step: ImageStep, record: PackageRecord) -> PackagedImage:
        nevra = self._planner.plan(step.image, step.stored, record.stamp).nevra
        made = {
            self._planner.layer(layer).plan.nevra.filename: self._layers[layer.blob.digest].result()
            for layer in step.layers
        } | {nevra.filename: step.action == "make"}
        sizes = {name: (self._folder / name).stat().st_size for name in made}
        # A record without a size is of a package that was never there before this run.
        new = not record.size
        history = self._planner.history(step.image, step.stored)
        before = [r for r in history if r.size and r.stamp < record.stamp]
        had = before[-1].layers if before else {}
        layers = {name: size for name, size in sizes.items() if name != nevra.filename}
        if (record.layers, record.size) != (layers, sizes[nevra.filename]):
            changes = {"layers": layers, "size": sizes[nevra.filename]}
            self._records.add_package(record.model_copy(update=changes))
        return PackagedImage(
            image=step.image,
            stored=step.stored,
            nevra=str(nevra),
            fresh=tuple(name for name, fresh in made.items() if fresh),
            reused=tuple(name for name, fresh in made.items() if not fresh),
            total_bytes=sum(sizes.values()),
            update_bytes=sum(s for name, s in sizes.items() if name not in had) if new else 0,
        )
