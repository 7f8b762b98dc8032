"""``make``: from a project to a published repository, in one run that can be broken off anywhere.

Order: build what changed, import all that is new in one stream while its layers are packaged,
package the images, switch the metadata in. Each station keeps what it finished.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from containerpkg.definitions.project import Image, Project
from containerpkg.engines.protocol import Engine, EngineImage
from containerpkg.errors import (
    BuildError,
    ContainerpkgError,
    EngineError,
    PackageError,
    RepositoryError,
    StoreError,
)
from containerpkg.files import locked, make_public, sweep
from containerpkg.packages import signing
from containerpkg.packages.image import has_archive
from containerpkg.packages.runtime import NAME as RUNTIME
from containerpkg.packages.signing import Signer, SigningError
from containerpkg.packages.targets import TARGETS
from containerpkg.process import missing_tool
from containerpkg.progress import Progress
from containerpkg.release.building import Builder, BuildOutcome, taken_from_engine
from containerpkg.release.builds import BuildStep, plan_builds
from containerpkg.release.opening import FOLDER as SOURCES
from containerpkg.release.packages import PackagePlanner
from containerpkg.release.packaging import Packaged, PackagedImage, PackagedRuntime, Packager
from containerpkg.repository.metadata import PACKAGES, SIGNATURE, publish_metadata
from containerpkg.repository.repofile import write_repo_file
from containerpkg.sources.checkout import Sources
from containerpkg.store.content import ContentStore, Layer, StoredImage
from containerpkg.store.importer import TASK, import_images
from containerpkg.store.records import Records

REPOSITORY = "repo"
"""The folder below the output folder that is published."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run differs from the project's settings."""

    jobs: int
    no_cache: bool = False
    force: bool = False
    """Build every selected image, whatever the records say."""

    no_build: bool = False
    """Take the images from the engine as they are."""

    rebuild_packages: bool = False
    """Make packages again that are there already."""


@dataclass(frozen=True, kw_only=True)
class PlannedPackage:
    """What would be done for one package."""

    name: str
    action: Literal["make", "keep", "sign"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do; ``packages`` is empty where only images are asked for."""

    builds: tuple[BuildStep, ...]
    packages: tuple[PlannedPackage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run did."""

    outcomes: tuple[BuildOutcome, ...]
    digests: Mapping[str, str]
    """Manifest digests by the names of the images that the store has."""

    packaged: tuple[PackagedImage, ...]
    unpackaged: Mapping[str, PackageError]
    """Why an image has no package, by the names of those that were to have one."""

    runtime: PackagedRuntime | None
    """What the packages of images with services require, if there are such."""

    repository: Path | None
    signed: tuple[str, ...]
    """File names of packages that were there and got a signature."""

    @property
    def failure(self) -> ContainerpkgError | None:
        """One error for all images that were not built or not packaged, or None."""
        failed = [outcome for outcome in self.outcomes if outcome.status == "failed"]
        skipped = [outcome.image.name for outcome in self.outcomes if outcome.status == "skipped"]
        if not failed and not self.unpackaged:
            return None
        errors: list[ContainerpkgError] = [outcome.error for outcome in failed if outcome.error]
        lines = [error.message for error in errors]
        if skipped:
            lines.append(f"not built because of that: {', '.join(skipped)}")
        # Several images may want for the same thing.
        lines += dict.fromkeys(error.message for error in self.unpackaged.values())
        errors += self.unpackaged.values()
        hints = [part for error in errors for part in (error.hint or "").split("; ") if part]
        kind = BuildError if failed else PackageError
        return kind("\n".join(lines), hint="; ".join(dict.fromkeys(hints)) or None)


class Workshop:
    """A project with its store and records, held by one run."""

    def __init__(self, project: Project, *, progress: Progress) -> None:
        self.project = project
        self.store = ContentStore(project.store, project.file.layers)
        self.records = Records(project.store)
        self.progress = progress

    @property
    def repository(self) -> Path:
        """The folder that is published."""
        return self.project.output / REPOSITORY

    def plan(self, images: Sequence[Image], *, force: bool = False) -> tuple[BuildStep, ...]:
        """See :func:`containerpkg.release.builds.plan_builds`."""
        return plan_builds(
            self.project, images, store=self.store, records=self.records, force=force
        )

    def plan_make(self, images: Sequence[Image], engine: Engine, options: Options) -> Plan:
        """What :meth:`make` would do, as far as it can be known before images are built."""
        if options.no_build:
            taken = {o.image.name: o.image_id for o in taken_from_engine(engine, images)}
            builds: tuple[BuildStep, ...] = ()
        else:
            builds = self.plan(images, force=options.force or options.no_cache)
            taken = {step.image.name: step.image_id for step in builds if step.action == "keep"}
        known = []
        later = []
        for image in images:
            stored = self.store.image(taken[image.name]) if image.name in taken else None
            if stored:
                known.append((image, stored))
            elif image.file.packaged:
                reason = "after its import" if image.name in taken else "after its build"
                later.append(PlannedPackage(name=image.package, action="make", reason=reason))
        runtime = self._plan_runtime(images)
        return Plan(builds=builds, packages=(*self._plan_packages(known), *later, *runtime))

    def plan_packages(
        self, images: Sequence[Image], *, rebuild: bool
    ) -> tuple[PlannedPackage, ...]:
        """What :meth:`package` would do."""
        planned = self._plan_packages(self.stored(images), rebuild=rebuild)
        return (*planned, *self._plan_runtime(images, rebuild=rebuild))

    def _plan_runtime(
        self, images: Sequence[Image], *, rebuild: bool = False
    ) -> tuple[PlannedPackage, ...]:
        if not self._needs_runtime(image for image in images if image.file.packaged):
            return ()
        step = self._planner(rebuild=rebuild).runtime()
        return (PlannedPackage(name=RUNTIME, action=step.action, reason=step.reason),)

    def _plan_packages(
        self, images: Sequence[tuple[Image, StoredImage]], *, rebuild: bool = False
    ) -> tuple[PlannedPackage, ...]:
        planner = self._planner(rebuild=rebuild)
        steps = [planner.image(i, stored) for i, stored in images if i.file.packaged]
        layers = {layer.diff_id: layer for step in steps for layer in step.layers}
        planned = (
            *(
                PlannedPackage(name=s.plan.nevra.name, action=s.action, reason=s.reason)
                for s in map(planner.layer, layers.values())
            ),
            *(
                PlannedPackage(name=s.image.package, action=s.action, reason=s.reason)
                for s in steps
            ),
        )
        anew = {package.name for package in planned if rebuild}
        return (*planned, *self._plan_signatures(anew))

    def _plan_signatures(self, anew: set[str]) -> tuple[PlannedPackage, ...]:
        """Packages that are there and get a signature, unless one of their name is made anew."""
        with self._signer() as signer:
            names = signing.unsigned(signer, self.repository / PACKAGES) if signer else ()
        return tuple(
            PlannedPackage(name=name, action="sign", reason="not signed by the key")
            for name in names
            if name.rsplit("-", 2)[0] not in anew
        )

    def _needs_runtime(self, images: Iterable[Image]) -> bool:
        """Whether a package of ``images`` requires containerpkg-runtime."""
        return any(image.file.services for image in images)

    def _planner(self, *, rebuild: bool) -> PackagePlanner:
        return PackagePlanner(
            self.project,
            self.store,
            self.records,
            self.repository / PACKAGES,
            rebuild=rebuild,
        )

    def stored(self, images: Sequence[Image]) -> tuple[tuple[Image, StoredImage], ...]:
        """The images as the store has them; see :meth:`package` for what it raises."""
        found = []
        for step in self.plan(images):
            if step.action != "keep":
                raise StoreError(
                    f"image '{step.image.name}' is not in the store as it is defined now: "
                    f"{step.reason}",
                    hint=f"containerpkg build {step.image.name}",
                )
            found.append((step.image, _held(self.store, step.image_id)))
        return tuple(found)

    def build(self, images: Sequence[Image], engine: Engine, options: Options) -> Report:
        """Build ``images`` and import them into the store."""
        with self.store.locked():
            outcomes = self._build(images, engine, options)
            self._import(outcomes, engine, None)
            return self._report(outcomes)

    def package(self, images: Sequence[Image], options: Options) -> Report:
        """Package ``images`` as the store has them.

        Raises :class:`StoreError` for one that it lacks as its definition stands now.
        """
        with self.store.locked(), self._packager(options) as packager:
            outcomes = tuple(
                BuildOutcome(image=image, status="kept", image_id=stored.id)
                for image, stored in self.stored(images)
            )
            return self._publish(outcomes, packager)

    def make(self, images: Sequence[Image], engine: Engine, options: Options) -> Report:
        """Build, import, package and publish ``images``.

        Images that fail are in the report; the others are published.
        """
        with self.store.locked(), self._packager(options) as packager:
            outcomes = self._build(
                images, engine, options, programs=("rpmbuild",), signer=packager.signer
            )
            self._import(outcomes, engine, packager)
            return self._publish(outcomes, packager)

    def _build(
        self,
        images: Sequence[Image],
        engine: Engine,
        options: Options,
        *,
        programs: Sequence[str] = (),
        signer: Signer | None = None,
    ) -> tuple[BuildOutcome, ...]:
        """Build what has to be, unless ``programs`` or ``signer``, needed later, will fail."""
        if options.no_build:
            return taken_from_engine(engine, images)
        builder = Builder(
            self.project,
            engine,
            self.store,
            self.records,
            progress=self.progress,
            jobs=options.jobs,
            no_cache=options.no_cache,
        )
        steps = self.plan(images, force=options.force or options.no_cache)
        if any(step.action == "build" for step in steps):
            for program in programs:
                if shutil.which(program) is None:
                    raise missing_tool(program)
            if signer:
                signer.prove()
        outcomes = builder.run(steps)
        self._sweep_sources(images)
        return outcomes

    def _sweep_sources(self, images: Sequence[Image]) -> None:
        """Remove what was fetched of sources for builds before this one."""
        sources = Sources(self.store.root / SOURCES, tell=self.progress.note)
        for image in images:
            if image.tree and not image.tree.local:
                sources.sweep(image.name, image.tree)

    def _import(
        self, outcomes: Sequence[BuildOutcome], engine: Engine, packager: Packager | None
    ) -> None:
        ids = {outcome.image_id: None for outcome in outcomes if outcome.image_id}
        missing = [image_id for image_id in ids if self.store.image(image_id) is None]
        if not missing:
            return
        images = [_described(engine, image_id) for image_id in missing]
        # Layers of an image that only serves as a base or a toolchain, or whose package has all
        # of it in one file, have no business in the repository.
        target = TARGETS[self.project.file.target]
        packaged = {
            outcome.image_id
            for outcome in outcomes
            if outcome.image.file.packaged and not has_archive(outcome.image, target)
        }
        shipped = {d for image in images if image.id in packaged for d in image.diff_ids}
        # Shared layers are in the stream once, so this is more than will come.
        total = sum(image.size for image in images)
        what = f"{len(images)} image{'s' if len(images) > 1 else ''} into the store"
        self.progress.start(TASK, what, total=total)

        def on_layer(layer: Layer) -> None:
            if packager and layer.diff_id in shipped:
                packager.add_layer(layer)

        with engine.save(missing) as stream:
            import_images(self.store, stream, images, progress=self.progress, on_layer=on_layer)
        self.progress.finish(TASK, "done", what)

    def _publish(self, outcomes: tuple[BuildOutcome, ...], packager: Packager) -> Report:
        stored = {
            outcome.image.name: _held(self.store, outcome.image_id)
            for outcome in outcomes
            if outcome.image_id and outcome.image.file.packaged
        }
        packaged = packager.finish(stored)
        if not packaged.images and not self.repository.joinpath("repodata").exists():
            return self._report(outcomes, packaged)  # nobody wants an empty repository
        needed = self._needs_runtime(one.image for one in packaged.images)
        runtime = packager.make_runtime() if needed else None
        signer = packager.signer
        signed = self._sign_again(signer) if signer else ()
        published = publish_metadata(self.repository, signer=signer)
        if published.changed:
            self.progress.note(f"repository {self.repository}: {published.packages} packages")
        key = signer.public_key() if signer else None
        write_repo_file(self.project.file.repository, self.repository, key=key)
        return self._report(
            outcomes, packaged, runtime=runtime, repository=self.repository, signed=signed
        )

    def _sign_again(self, signer: Signer) -> tuple[str, ...]:
        """Sign what is in the repository and not signed by ``signer``; its file names."""
        done = []
        with self.store.workspace("signing") as work:
            for name in signing.sign_again(signer, self.repository / PACKAGES, work):
                self.progress.note(f"signed {name}")
                done.append(name)
        return tuple(done)

    def _report(
        self,
        outcomes: tuple[BuildOutcome, ...],
        packaged: Packaged | None = None,
        *,
        runtime: PackagedRuntime | None = None,
        repository: Path | None = None,
        signed: tuple[str, ...] = (),
    ) -> Report:
        held = {o.image.name: _held(self.store, o.image_id) for o in outcomes if o.image_id}
        digests = {name: stored.manifest.digest for name, stored in held.items()}
        outcomes = tuple(
            replace(outcome, image_id=held[outcome.image.name].id) if outcome.image_id else outcome
            for outcome in outcomes
        )
        return Report(
            outcomes=outcomes,
            digests=digests,
            packaged=packaged.images if packaged else (),
            unpackaged=packaged.failed if packaged else {},
            runtime=runtime,
            repository=repository,
            signed=signed,
        )

    @contextmanager
    def _packager(self, options: Options) -> Iterator[Packager]:
        output = self.project.output
        with ExitStack() as stack:
            make_public(output)
            stack.enter_context(locked(output / ".lock", what=f"the output folder {output}"))
            sweep(output / REPOSITORY)
            signer = stack.enter_context(self._signer())
            work = stack.enter_context(self.store.workspace("packages"))
            packager = Packager(
                self.project,
                self.store,
                self.records,
                self.repository / PACKAGES,
                work,
                planner=self._planner(rebuild=options.rebuild_packages),
                progress=self.progress,
                signer=signer,
            )
            stack.callback(packager.close)
            yield packager

    @contextmanager
    def _signer(self) -> Iterator[Signer | None]:
        """The project's signer, if it has one."""
        if self.project.file.signing is None:
            signature = self.repository / "repodata" / SIGNATURE
            if signature.exists():
                raise RepositoryError(
                    f"the repository {self.repository} is signed, and this run has no key",
                    hint="name the key: --sign KEY, or 'signing:' in containerpkg.yaml; to go on "
                    f"without signatures, which its sites will refuse, remove {signature}",
                )
            yield None
            return
        target = TARGETS[self.project.file.target]
        with signing.opened(self.project.file.signing, self.project.root) as signer:
            if target.rsa and signer.modern:
                raise SigningError(
                    f"hosts of the target '{target.name}' read RSA signatures alone, and the key "
                    f"'{self.project.file.signing.key}' makes others",
                    hint="gpg --quick-generate-key 'NAME <ADDRESS>' rsa4096 sign 2y",
                )
            yield signer


def _described(engine: Engine, image_id: str) -> EngineImage:
    found = engine.inspect(image_id)
    if found is None:
        raise EngineError(
            f"the engine lost image {image_id} during the run",
            hint="run the command again; nothing that was finished is done twice",
        )
    return found


def _held(store: ContentStore, image_id: str) -> StoredImage:
    stored = store.image(image_id)
    assert stored is not None, "it was kept or imported in this run"
    return stored
