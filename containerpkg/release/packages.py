"""Which packages have to be made, and why: decided from content, records and the repository."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from containerpkg.definitions.project import Image, Project
from containerpkg.files import sha256_file, sha256_text
from containerpkg.packages.image import check_volumes, has_archive, plan_image
from containerpkg.packages.layer import BLOBS, CARRIED_BELOW, plan_layer
from containerpkg.packages.plan import PackagePlan
from containerpkg.packages.runtime import NAME as RUNTIME
from containerpkg.packages.runtime import plan_runtime
from containerpkg.packages.targets import TARGETS
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.records import PackageRecord, Records

_UNRELEASED = "00000000000000"


@dataclass(frozen=True, kw_only=True)
class LayerStep:
    """What is to be done for the package of a layer."""

    layer: Layer
    plan: PackagePlan
    action: Literal["make", "keep"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class ImageStep:
    """What is to be done for the package of an image."""

    image: Image
    stored: StoredImage
    key: str
    """The digest of everything in the package but its release."""

    record: PackageRecord | None
    """The release that this content has, or None if it gets a new one."""

    action: Literal["make", "keep"]
    reason: str
    archived: bool = False
    """Whether all of it is in one file."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that have packages of their own, lowest first."""
        if self.archived:
            return ()
        return tuple(layer for layer in self.stored.layers if has_package(layer))


@dataclass(frozen=True, kw_only=True)
class RuntimeStep:
    """What is to be done for the package that all image packages with services require."""

    key: str
    record: PackageRecord | None
    """The release that this content has, or None if it gets a new one."""

    action: Literal["make", "keep"]
    reason: str


def has_package(layer: Layer) -> bool:
    """Whether a layer has a package of its own, and does not ride in those of its images."""
    return layer.blob.size >= CARRIED_BELOW


class PackagePlanner:
    """Plans the packages of one project in ``folder``; writes nothing.

    With ``rebuild`` every package is made.
    """

    def __init__(
        self,
        project: Project,
        store: ContentStore,
        records: Records,
        folder: Path,
        *,
        rebuild: bool = False,
    ) -> None:
        self._project, self._store, self._records = project, store, records
        self._folder, self._rebuild = folder, rebuild

    def layer(self, layer: Layer) -> LayerStep:
        """The step for a layer that has a package of its own."""
        plan = plan_layer(self._store, layer.blob)
        make, reason = self._needed(plan)
        return LayerStep(layer=layer, plan=plan, action="make" if make else "keep", reason=reason)

    def image(self, image: Image, stored: StoredImage) -> ImageStep:
        """The step for the package of ``image``.

        Content that had a release, and then another, gets a new one: going back is an update too.
        Raises :class:`PackageError` for what cannot be packaged, or should not.
        """
        check_volumes(image, json.loads(self._store.verified(stored.config).read_bytes()))
        key, record, make, reason = self._release(
            lambda stamp: self.plan(image, stored, stamp),
            [r for r in self.history(image, stored) if r.version == image.version],
        )
        return ImageStep(
            image=image,
            stored=stored,
            key=key,
            record=record,
            action="make" if make else "keep",
            reason=reason,
            archived=self.archived(image),
        )

    def runtime(self) -> RuntimeStep:
        """The step for containerpkg-runtime, which is the same for every target."""
        key, record, make, reason = self._release(plan_runtime, self._records.packages(RUNTIME))
        return RuntimeStep(key=key, record=record, action="make" if make else "keep", reason=reason)

    def _release(
        self, plan: Callable[[str], PackagePlan], history: Sequence[PackageRecord]
    ) -> tuple[str, PackageRecord | None, bool, str]:
        """Key, record, whether to make it, and why, of what ``plan`` gives for a stamp."""
        key = _content_key(plan(_UNRELEASED))
        record = history[-1] if history and history[-1].key == key else None
        if record:
            return (key, record, *self._needed(plan(record.stamp)))
        if any(earlier.key == key for earlier in history):
            return key, None, True, "back to an earlier content"
        return key, None, True, "new content" if history else "never packaged"

    def archived(self, image: Image) -> bool:
        """Whether the package of ``image`` needs no layer packages."""
        return has_archive(image, TARGETS[self._project.file.target])

    def history(self, image: Image, stored: StoredImage) -> tuple[PackageRecord, ...]:
        """The releases for this target and architecture, of whatever version, oldest first."""
        return tuple(
            record
            for record in self._records.packages(image.package)
            if record.target == self._project.file.target
            and record.architecture in {"", stored.architecture}
        )

    def plan(self, image: Image, stored: StoredImage, stamp: str) -> PackagePlan:
        """The package of ``image`` with the release that ``stamp`` ends."""
        return plan_image(self._project, image, stored, self._store, stamp=stamp)

    def _needed(self, plan: PackagePlan) -> tuple[bool, str]:
        if self._rebuild:
            return True, "asked for by --rebuild"
        if (self._folder / plan.nevra.filename).exists():
            return False, "there"
        return True, f"not in {self._folder}"


def _content_key(plan: PackagePlan) -> str:
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
