"""Runs build steps: parents before children, independent images side by side, all the way through.

An image that fails takes its children with it and nobody else.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from containerpkg import process
from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.reference import Reference
from containerpkg.engines.protocol import BuildRequest, Engine, EngineImage
from containerpkg.errors import BuildError, ContainerpkgError, EngineError, StoreError
from containerpkg.files import piped
from containerpkg.process import TAIL_LINES
from containerpkg.progress import Progress
from containerpkg.release.builds import (
    BuildStep,
    build_arguments,
    build_secrets,
    plan_image,
)
from containerpkg.sources.context import load_image_context
from containerpkg.sources.prepare import prepare
from containerpkg.store.content import ContentStore, StoredImage, hex_of
from containerpkg.store.export import write_archive
from containerpkg.store.records import BuildRecord, Records, SourceRecord

_WIDEST = 200

# The classic builder colours what a RUN prints on stderr; logs and messages are plain text.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True, kw_only=True)
class BuildOutcome:
    """How one step ended."""

    image: Image
    status: Literal["built", "taken", "kept", "failed", "skipped"]
    """``taken``: the engine still had what these inputs gave; ``skipped``: a parent failed."""

    image_id: str = ""
    error: ContainerpkgError | None = None
    seconds: float = 0.0


class Builder:
    """Runs steps of one project on one engine."""

    def __init__(
        self,
        project: Project,
        engine: Engine,
        store: ContentStore,
        records: Records,
        *,
        progress: Progress,
        jobs: int,
        no_cache: bool = False,
    ) -> None:
        self._project, self._engine, self._store = project, engine, store
        self._records, self._progress, self._jobs = records, progress, jobs
        self._no_cache = no_cache
        self._loading = threading.Lock()
        self._builder = ""

    def run(self, steps: Sequence[BuildStep]) -> tuple[BuildOutcome, ...]:
        """Run ``steps`` and give an outcome for each, in their order.

        Errors that stop one image are in its outcome; an engine that is gone, or a machine that
        can't go on, raises.
        """
        for step in steps:
            if step.action == "build":
                build_secrets(self._project, step.image)  # says what is missing before any build
        outcomes: dict[str, BuildOutcome] = {}
        waiting = {step.image.name: step for step in steps}
        running: dict[Future[BuildOutcome], str] = {}
        for left in (self._store.root / "prepared").glob("*/.*"):
            shutil.rmtree(left, ignore_errors=True)
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="build")
        try:
            while waiting or running:
                for name, step in list(waiting.items()):
                    if any(n in waiting or n in running.values() for n in step.image.parents):
                        continue
                    del waiting[name]
                    if failed := self._failed_parent(step, outcomes):
                        outcomes[name] = self._skip(step, failed)
                    elif step.action == "keep" and self._parents_kept(step, outcomes):
                        outcomes[name] = BuildOutcome(
                            image=step.image, status="kept", image_id=step.image_id
                        )
                    else:
                        running[pool.submit(self._one, step, dict(outcomes))] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcomes[running.pop(future)] = future.result()
        except KeyboardInterrupt:
            # Nobody waits for the other builds: they end with their programs.
            pool.shutdown(wait=False, cancel_futures=True)
            process.end_running()
            raise
        except Exception:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()
        return tuple(outcomes[step.image.name] for step in steps)

    @staticmethod
    def _failed_parent(step: BuildStep, outcomes: Mapping[str, BuildOutcome]) -> str:
        for name in step.image.parents:
            if name in outcomes and outcomes[name].status in {"failed", "skipped"}:
                return name
        return ""

    @staticmethod
    def _parents_kept(step: BuildStep, outcomes: Mapping[str, BuildOutcome]) -> bool:
        return all(
            outcomes[name].status == "kept" for name in step.image.parents if name in outcomes
        )

    def _skip(self, step: BuildStep, failed: str) -> BuildOutcome:
        task = f"build {step.image.name}"
        self._progress.start(task, step.reason)
        self._progress.finish(task, "skipped", f"not built, since {failed} was not")
        return BuildOutcome(image=step.image, status="skipped")

    def _one(self, step: BuildStep, outcomes: Mapping[str, BuildOutcome]) -> BuildOutcome:
        image, task = step.image, f"build {step.image.name}"
        parents = {
            name: outcomes[name].image_id if name in outcomes else step.inputs[f"parent {name}"]
            for name in image.parents
        }
        if parents:
            step = plan_image(
                self._project,
                image,
                parents,
                store=self._store,
                records=self._records,
                context=step.context,
                force=step.forced,
            )
            if step.action == "keep":
                return BuildOutcome(image=image, status="kept", image_id=step.image_id)
        if step.image_id and self._engine.inspect(step.image_id):
            self._name(image, step.image_id)
            return BuildOutcome(image=image, status="taken", image_id=step.image_id)
        self._tell_builder()
        self._progress.start(task, step.reason)
        started = time.monotonic()
        try:
            image_id = self._build(step, parents)
        except BuildError as error:
            self._progress.finish(task, "failed", error.message.splitlines()[0])
            return BuildOutcome(image=image, status="failed", error=error)
        seconds = time.monotonic() - started
        if load_image_context(image).inputs != step.context.inputs:
            message = f"the files of image '{image.name}' changed while it was built"
            self._progress.finish(task, "failed", message)
            failure = BuildError(message, hint="run the command again")
            return BuildOutcome(image=image, status="failed", error=failure)
        self._records.add_build(
            BuildRecord(
                image=image.name,
                key=step.key,
                inputs=dict(step.inputs),
                image_id=image_id,
                built=datetime.now(UTC),
                seconds=round(seconds, 1),
                source=_source(image),
            )
        )
        self._progress.finish(task, "done", f"{image.reference} in {seconds:.1f} s")
        return BuildOutcome(image=image, status="built", image_id=image_id, seconds=seconds)

    def _tell_builder(self) -> None:
        with self._loading:
            if not self._builder:
                self._builder = self._engine.builder()
                self._progress.note(f"building with {self._builder}")

    def _build(self, step: BuildStep, parents: Mapping[str, str]) -> str:
        image, task = step.image, f"build {step.image.name}"
        provided = self._provide(image, parents)
        path = self._store.root / "logs" / f"{image.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        prepared = self._store.root / "prepared" / image.name / step.key
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with path.open("w", encoding="utf-8", errors="surrogateescape") as log:

            def on_line(coloured: str) -> None:
                line = _COLOUR.sub("", coloured)
                if coloured and not line:
                    return
                tail.append(line)
                log.write(line + "\n")
                log.flush()
                self._progress.update(task, line)

            try:
                generated = None
                if image.file.prepare:
                    self._progress.update(task, f"prepare: {image.file.prepare} runs")
                    generated = prepare(
                        image=image.name,
                        executable=image.folder / image.file.prepare,
                        target=prepared,
                        source=image.tree.folder if image.tree else None,
                        on_line=on_line,
                        anew=step.forced,
                    )
                image_id = self._engine.build(self._request(step, generated), on_line)
            except BuildError as error:
                last = "\n".join(f"    {_shortened(line)}" for line in tail)
                raise BuildError(
                    _shortened(error.message.splitlines()[0]) + (f"\n{last}" if last else ""),
                    hint="; ".join(filter(None, (error.hint, f"the whole log: {path}"))),
                ) from error
        self._check_base(image, image_id, provided)
        shutil.rmtree(prepared.parent, ignore_errors=True)
        return image_id

    def _check_base(self, image: Image, image_id: str, parents: Mapping[str, EngineImage]) -> None:
        """Raise :class:`BuildError` if the image does not stand on the parent that is recorded.

        Another run on the same engine may move a name just before the builder looks at it.
        """
        name = _base(self._project, image)
        if name is None:
            return
        parent, built = parents[name], self._engine.inspect(image_id)
        if built is None:
            raise EngineError(
                f"the engine lost image {image_id} during the run",
                hint="run the command again; nothing that was finished is done twice",
            )
        if built.diff_ids[: len(parent.diff_ids)] != parent.diff_ids:
            raise BuildError(
                f"image '{image.name}' was built on another image than the '{name}' of this run, "
                "whose name somebody else gave away meanwhile",
                hint="run the command again, when no other uses the engine",
            )
        if built.architecture != parent.architecture:
            raise BuildError(
                f"image '{image.name}' was built for {built.architecture} on '{name}', which is "
                f"for {parent.architecture}",
                hint=f"build '{name}' for the same: look at DOCKER_HOST and "
                "DOCKER_DEFAULT_PLATFORM, or 'containerpkg build --force'",
            )

    def _request(self, step: BuildStep, generated: Path | None) -> BuildRequest:
        image, settings = step.image, self._project.file.build
        proxies = {}
        if settings.proxy:
            names = (*_PROXIES, *(name.upper() for name in _PROXIES))
            proxies = {name: os.environ[name] for name in names if name in os.environ}
        return BuildRequest(
            image=image.name,
            context=step.context,
            generated=generated,
            tags=self._names(image),
            args={**proxies, **build_arguments(self._project, image)},
            network=image.file.build.network or settings.network,
            secrets=build_secrets(self._project, image),
            features=image.dockerfile.buildkit_features,
            no_cache=self._no_cache,
        )

    def _names(self, image: Image) -> tuple[str, ...]:
        """Its own reference first, then those by which other images build on it."""
        used = {
            reference
            for child in self._project.images
            for reference in child.parent_references
            if (named := Reference.parse(reference)).digest is None
            and named.repository == image.repository
        }
        return (image.reference, *sorted(used - {image.reference}))

    def _name(self, image: Image, image_id: str) -> None:
        for reference in self._names(image):
            self._engine.tag(image_id, reference)

    def _provide(self, image: Image, parents: Mapping[str, str]) -> dict[str, EngineImage]:
        """See that the engine has the parents under the names that the Dockerfile uses."""
        provided = {}
        for name, image_id in parents.items():
            parent = self._project.image(name)
            with self._loading:
                held = self._engine.inspect(image_id) or self._loaded(image, parent, image_id)
                for reference in self._names(parent):
                    found = self._engine.inspect(reference)
                    if found is None or found.id != held.id:
                        self._engine.tag(held.id, reference)
                provided[name] = held
        return provided

    def _loaded(self, image: Image, parent: Image, image_id: str) -> EngineImage:
        """A parent that the engine does not know by ``image_id``, out of the store.

        An engine with containerd's image store gives what it loads another ID.
        """
        stored = self._store.image(image_id)
        if stored is None:
            raise StoreError(
                f"image '{image.name}' is built from '{parent.name}' ({image_id}), which "
                "neither the engine nor the store has any more",
                hint=f"containerpkg build {parent.name}",
            )
        found = self._engine.inspect(parent.reference)
        if found and self._store.image(found.id) == stored:
            return found
        self._load(parent, stored)
        found = self._engine.inspect(parent.reference)
        if found is None or found.diff_ids != tuple(layer.diff_id for layer in stored.layers):
            raise EngineError(
                f"the engine lost image {parent.reference} during the run",
                hint="run the command again; nothing that was finished is done twice",
            )
        if found.id != stored.id:
            self._store.add_alias(hex_of(found.id), stored.id)
        return found

    def _load(self, parent: Image, stored: StoredImage) -> None:
        self._progress.note(f"load {parent.reference} from the store into the engine")

        def write(pipe: IO[bytes]) -> None:
            write_archive(self._store, {parent.reference: stored}, pipe)

        self._engine.load(piped(write))


def _source(image: Image) -> SourceRecord | None:
    if (tree := image.tree) is None:
        return None
    return SourceRecord(origin=tree.origin, ref=tree.ref, revision=tree.revision, local=tree.local)


def _base(project: Project, image: Image) -> str | None:
    """The image of the project that the last stage stands on, itself or by way of others."""
    stages = image.dockerfile.stages
    stage = stages[-1]
    while stage.base_stage is not None:
        stage = stages[stage.base_stage]
    repository = Reference.parse(stage.base).repository
    for name in image.parents:
        if project.image(name).repository == repository:
            return name
    return None


def _shortened(line: str) -> str:
    """A line with its middle left out: a RUN instruction may be a script, the log has it all."""
    if len(line) <= _WIDEST:
        return line
    return f"{line[: _WIDEST // 2]} … {line[-_WIDEST // 2 :]}"


def taken_from_engine(engine: Engine, images: Sequence[Image]) -> tuple[BuildOutcome, ...]:
    """The images as the engine has them now by their references, without building.

    Raises :class:`BuildError` naming the first that it lacks.
    """
    outcomes = []
    for image in images:
        found = engine.inspect(image.reference)
        if found is None:
            raise BuildError(
                f"the engine has no image {image.reference}",
                hint=f"containerpkg build {image.name}",
            )
        outcomes.append(BuildOutcome(image=image, status="taken", image_id=found.id))
    return tuple(outcomes)
