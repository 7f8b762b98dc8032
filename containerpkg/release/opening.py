"""A project together with the sources of its images: what a command needs before it can plan.

Which images there are to build may itself be written in a source, where a Dockerfile lives in one.
So the project is read, what is missing is fetched, and it is read again until nothing is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from containerpkg import process
from containerpkg.definitions import load
from containerpkg.definitions.lock import LOCK_FILE, LockFile, load_lock
from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.reading import Reading, read_project
from containerpkg.definitions.source import SourceTree
from containerpkg.errors import DriftError
from containerpkg.progress import Progress
from containerpkg.release.locking import check_bases
from containerpkg.sources.checkout import Sources, Wanted, check_overrides, locked_revision

FOLDER = "sources"
"""The folder of the store that sources are kept in."""

# Remotes that are asked side by side.
_AT_ONCE = 8

Select = Callable[[Project], tuple[Image, ...]]


@dataclass(frozen=True, kw_only=True)
class Sourcing:
    """How the sources of a run are chosen."""

    folders: Mapping[str, Path] = field(default_factory=dict)
    """Folders that are taken instead of a source, by image."""

    locked: bool = False
    """Whether ``containerpkg.lock`` says which revisions are taken, and nothing else will do."""

    asking: bool = True
    """Whether to ask what sources are now; else they are taken as they were last."""


def find_trees(root: Path, *, store: Path | None = None) -> dict[str, SourceTree]:
    """The sources of the project in ``root`` as they were taken last; nothing is fetched."""
    return _found(read_project(root), store)


def _found(reading: Reading, store: Path | None) -> dict[str, SourceTree]:
    if not reading.sources or reading.project is None:
        return {}
    sources = _sources(reading, store, lambda _: None, process.run)
    found = {one.image: sources.current(one) for one in _wanted(reading)}
    return {name: tree for name, tree in found.items() if tree}


def open_project(start: Path, *, store: Path | None = None) -> Project:
    """The project that ``start`` lies in, with its sources as they were taken last.

    Raises what :func:`containerpkg.definitions.load.load_project` does.
    """
    reading = read_project(load.find_root(start))
    if not reading.sources:
        return load.consistent_project(reading)
    return load.load_project(start, _found(reading, store))


def open_images(
    start: Path,
    select: Select,
    sourcing: Sourcing,
    *,
    progress: Progress,
    store: Path | None = None,
    run: process.Run = process.run,
) -> tuple[Project, tuple[Image, ...]]:
    """The project and the images that ``select`` chooses, with their sources as they are now.

    Raises :class:`SourceError` for a source that cannot be had, :class:`DriftError` if with
    ``sourcing.locked`` something is not as it is locked, and what ``load_project`` and ``select``
    do.
    """
    root = load.find_root(start)
    reading = read_project(root)
    wanted = {one.image: one for one in _wanted(reading)}
    check_overrides(sourcing.folders, tuple(wanted.values()))
    lock = load_lock(root)
    if sourcing.locked and lock is None:
        raise DriftError(f"there is no {LOCK_FILE} in {root}", hint="write it: containerpkg lock")
    lock = lock or LockFile()
    trees = _found(reading, store)
    fresh: set[str] = set()
    if reading.project is not None and wanted and sourcing.asking:
        sources = _sources(reading, store, progress.note, run)
        resolving = _Resolving(sources, sourcing, lock)
        unread = [
            name for name, one in wanted.items() if one.source.dockerfile and name not in trees
        ]
        while True:
            if unread:
                names, unread = unread, []
            else:
                images = select(load.load_project(start, trees))
                names = [image.name for image in images if image.name in wanted.keys() - fresh]
            if not names:
                break
            trees |= resolving.trees([wanted[name] for name in names])
            fresh.update(names)
    project = load.load_project(start, trees) if wanted else load.consistent_project(reading)
    images = select(project)
    if sourcing.locked:
        for note in check_bases(lock, project, images, run=run):
            progress.note(note)
    return project, images


class _Resolving:
    """Finds out which revisions are meant, each question once in a run."""

    def __init__(self, sources: Sources, sourcing: Sourcing, lock: LockFile) -> None:
        self._sources, self._sourcing, self._lock = sources, sourcing, lock
        self._known: dict[tuple[str, str], str] = {}

    def trees(self, wanted: Iterable[Wanted]) -> dict[str, SourceTree]:
        found: dict[str, SourceTree] = {}
        remote: list[Wanted] = []
        for one in wanted:
            if folder := self._sourcing.folders.get(one.image):
                found[one.image] = self._sources.checkout_local(one, folder)
            else:
                remote.append(one)
        if self._sourcing.locked:
            revisions = [locked_revision(one, self._lock.sources.get(one.image)) for one in remote]
        else:
            revisions = self._resolve(remote)
        for one, revision in zip(remote, revisions, strict=True):
            tree = self._sources.checkout(one, revision)
            self._sources.keep_current(one, tree)
            found[one.image] = tree
        return found

    def _resolve(self, wanted: list[Wanted]) -> list[str]:
        """Images of the same branch get the same commit, also if it moves meanwhile."""
        asked = {_question(one): one for one in wanted if _question(one) not in self._known}
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="resolve")
        try:
            answers = pool.map(
                lambda one: self._sources.resolve(one, self._lock.sources.get(one.image)),
                asked.values(),
            )
            self._known.update(zip(asked, answers, strict=True))
        except KeyboardInterrupt:
            process.end_running()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return [self._known[_question(one)] for one in wanted]


def _question(one: Wanted) -> tuple[str, str]:
    return (one.source.origin, one.source.fixed or one.source.ref)


def _sources(
    reading: Reading, store: Path | None, tell: Callable[[str], None], run: process.Run
) -> Sources:
    assert reading.project is not None
    root = store or reading.root / reading.project.model.store
    outside = (root, reading.root / reading.project.model.output)
    return Sources(root / FOLDER, tell=tell, outside=outside, run=run)


def _wanted(reading: Reading) -> list[Wanted]:
    """The sources, but those of which a file is missing, as loading the project will say."""
    return [
        Wanted(image=name, folder=folder, source=source)
        for name, source in reading.sources.items()
        if (folder := reading.folders[name])
        and all((folder / file).is_file() for file in source.own_files)
    ]
