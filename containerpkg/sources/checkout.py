"""From what an image says of its source to its files on disk: fetched, patched, whole.

    git/HEX.git                 a bare repository for each URL, with the commits that were needed
    archives/SHA256/archive     archives as they came
    trees/IMAGE/KEY/            the files that one revision and its patches give
    trees/IMAGE/KEY/about.json  where they come from; written last
    current/IMAGE.json          the revision that was taken last

Everything here can be fetched again. A tree is made beside its place and renamed.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from containerpkg import process
from containerpkg.definitions.lock import LockedSource
from containerpkg.definitions.source import Source, SourceTree
from containerpkg.errors import DriftError, SourceError, UsageError
from containerpkg.files import locked, sha256_file, sha256_text, write_atomic
from containerpkg.sources import archive, git, local, patches

_FORM = "1"
_FILES = "files"

Tell = Callable[[str], None]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _About(_Record):
    created: str


class _Current(_Record):
    origin: str
    ref: str
    revision: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The source of one image, as its definition says."""

    image: str
    folder: Path
    """The image's, where patches are."""

    source: Source


class Sources:
    """The sources of a project's images, kept in ``root``.

    What is in the folders ``outside`` is no part of a developer's tree that they lie in.
    """

    def __init__(
        self,
        root: Path,
        *,
        tell: Tell,
        outside: Sequence[Path] = (),
        run: process.Run = process.run,
    ) -> None:
        self._root, self._tell, self._outside, self._run = root, tell, outside, run
        self._cache = git.Cache(root / "git", run=run)

    def resolve(self, wanted: Wanted, locked: LockedSource | None) -> str:
        """The revision that is meant now, from the remote where it may move.

        If that does not answer, the one in ``locked``, which has to be for the same ref, or for a
        tag the last one that was taken. Raises :class:`SourceError` if there is none.
        """
        source = wanted.source
        if source.archive:
            return f"sha256:{source.sha256}"
        if source.commit:
            return source.commit
        try:
            return git.ls_remote(source.origin, source.ref, run=self._run)
        except SourceError as error:
            unreachable = isinstance(error, git.UnreachableError)
            kept = self._current(wanted) if source.tag else None
            for revision, why in (
                (locked and meant(source, locked) and locked.revision, "in containerpkg.lock"),
                (kept and kept.revision, "it was the last time"),
            ):
                if revision and unreachable:
                    self._tell(
                        f"source of {wanted.image}: {error.message}; "
                        f"{source.ref} is taken as {why}: {abbreviated(revision)}"
                    )
                    return revision
            hint = error.hint
            if unreachable:
                hint = f"{hint}; without the network, name a commit or use containerpkg.lock"
            raise SourceError(f"image '{wanted.image}': {error.message}", hint=hint) from error

    def checkout(self, wanted: Wanted, revision: str, *, offline: bool = False) -> SourceTree:
        """The files of ``revision``, patched; fetched if they are not here, unless ``offline``.

        Raises :class:`SourceError`.
        """
        source = wanted.source
        place = self._root / "trees" / wanted.image / self._key(wanted, revision)
        if not _whole(place):
            with self._held(wanted.image):
                for left in place.parent.glob(".*"):
                    shutil.rmtree(left, ignore_errors=True)
                if not _whole(place):
                    self._make(wanted, revision, place, offline)
        about = _About.model_validate_json((place / "about.json").read_bytes())
        return SourceTree(
            folder=_part(wanted, place / _FILES),
            origin=source.origin,
            ref=source.ref,
            revision=revision,
            created=about.created,
        )

    def checkout_local(self, wanted: Wanted, folder: Path) -> SourceTree:
        """A developer's ``folder`` as it is, without the patches, instead of what is declared."""
        source = wanted.source
        part = _part(wanted, folder.resolve())
        revision, created = local.describe(folder, run=self._run)
        names = local.list_files(folder, outside=self._outside, run=self._run)
        if source.folder:
            below = Path(source.folder).as_posix() + "/"
            names = tuple(name.removeprefix(below) for name in names if name.startswith(below))
        note = f"source of {wanted.image}: {folder} as it is ({abbreviated(revision)})"
        if source.patches:
            note += f", without its {len(source.patches)} patches"
        self._tell(note)
        return SourceTree(
            folder=part,
            origin=source.origin,
            ref=str(folder),
            revision=revision,
            created=created,
            local=True,
            names=names,
        )

    def current(self, wanted: Wanted) -> SourceTree | None:
        """The source as it was taken last, if it is here; nothing is fetched."""
        kept = self._current(wanted)
        revision = wanted.source.fixed or (kept.revision if kept else "")
        if wanted.source.archive:
            revision = f"sha256:{revision}"
        if not revision:
            return None
        try:
            return self.checkout(wanted, revision, offline=True)
        except SourceError:
            return None

    def keep_current(self, wanted: Wanted, tree: SourceTree) -> None:
        """Remember what was taken, for commands that fetch nothing."""
        record = _Current(origin=tree.origin, ref=tree.ref, revision=tree.revision)
        if self._current(wanted) != record:
            write_atomic(self._record(wanted.image), record.model_dump_json())

    def sweep(self, image: str, used: SourceTree) -> None:
        """Remove all trees of ``image`` but the one that is used; nobody else may use them."""
        with self._held(image):
            for left in (self._root / "trees" / image).glob("*"):
                if not used.folder.is_relative_to(left):
                    shutil.rmtree(left, ignore_errors=True)

    def _held(self, image: str) -> AbstractContextManager[None]:
        path = self._root / "trees" / f"{image}.lock"
        return locked(path, what=f"the source of {image}", wait=True)

    def _record(self, image: str) -> Path:
        return self._root / "current" / f"{image}.json"

    def _current(self, wanted: Wanted) -> _Current | None:
        try:
            record = _Current.model_validate_json(self._record(wanted.image).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        source = wanted.source
        return record if (record.origin, record.ref) == (source.origin, source.ref) else None

    @staticmethod
    def _key(wanted: Wanted, revision: str) -> str:
        source = wanted.source
        parts = [
            _FORM, source.origin if source.git else "", revision, source.submodules, source.strip,
            [sha256_file(wanted.folder / name) for name in source.patches],
        ]  # fmt: skip
        return sha256_text(json.dumps(parts))[:32]

    def _make(self, wanted: Wanted, revision: str, place: Path, offline: bool) -> None:
        source = wanted.source
        place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        files = new / _FILES
        files.mkdir()
        try:
            if source.archive:
                created = self._unpack(wanted, files, offline)
            else:
                if not offline and not self._cache.has(source.origin, revision):
                    self._tell(
                        f"source of {wanted.image}: fetch {source.ref} "
                        f"({abbreviated(revision)}) of {source.origin}"
                    )
                empty = git.export_all(
                    self._cache, source.origin, revision, files,
                    submodules=source.submodules, offline=offline,
                )  # fmt: skip
                if empty:
                    self._tell(
                        f"source of {wanted.image}: its submodules are left out: "
                        f"{', '.join(empty)} ('submodules: true' takes them)"
                    )
                created = self._cache.committed(source.origin, revision)
            patches.apply(
                [wanted.folder / name for name in source.patches],
                files,
                image=wanted.image,
                run=self._run,
            )
            (new / "about.json").write_text(_About(created=created).model_dump_json())
            new.rename(place)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _unpack(self, wanted: Wanted, target: Path, offline: bool) -> str:
        source = wanted.source
        assert source.archive
        assert source.sha256
        if "://" in source.archive:
            path = archive.fetch(
                self._root / "archives", source.archive, source.sha256, offline=offline
            )
        else:
            path = wanted.folder / source.archive
            archive.check(path, source.sha256)
        return archive.unpack(path, target, strip=source.strip)


def meant(source: Source, locked: LockedSource) -> bool:
    """Whether ``locked`` is for what ``source`` asks for now."""
    if (source.origin, source.ref) != (locked.origin, locked.ref):
        return False
    return not source.fixed or locked.revision.removeprefix("sha256:") == source.fixed


def locked_revision(wanted: Wanted, locked: LockedSource | None) -> str:
    """The revision in the lock; raises :class:`DriftError` if it is for something else."""
    source = wanted.source
    hint = f"containerpkg lock {shlex.quote(wanted.image)}"
    if locked is None:
        raise DriftError(
            f"containerpkg.lock has nothing of the source of image '{wanted.image}'", hint=hint
        )
    if not meant(source, locked):
        has = f"{locked.ref} of {locked.origin} ({abbreviated(locked.revision)})"
        now = f"{source.ref} of {source.origin}"
        if source.fixed:
            now += f" ({abbreviated(source.fixed)})"
        raise DriftError(
            f"image '{wanted.image}': image.yaml wants {now}, and containerpkg.lock has {has}",
            hint=hint,
        )
    return locked.revision


def check_overrides(folders: Mapping[str, Path], wanted: Sequence[Wanted]) -> None:
    """Raise :class:`UsageError` unless each name is that of an image with a source."""
    known = {one.image for one in wanted}
    for name, folder in folders.items():
        if name not in known:
            raise UsageError(
                f"--source {name}={folder}: there is no image '{name}' with a 'source:'",
                hint=f"images that have one: {', '.join(sorted(known)) or 'none'}",
            )
        if not folder.is_dir():
            raise UsageError(f"--source {name}={folder}: there is no folder {folder}")


def abbreviated(revision: str) -> str:
    """A revision as people write it: twelve digits, and what is behind them."""
    digits, dash, rest = revision.removeprefix("sha256:").partition("-")
    return f"{digits[:12]}{dash}{rest}"


def _whole(place: Path) -> bool:
    return (place / "about.json").is_file()


def _part(wanted: Wanted, files: Path) -> Path:
    """The sub-folder of the source that is asked for."""
    if not wanted.source.folder:
        return files
    part = files / wanted.source.folder
    if not part.resolve().is_relative_to(files.resolve()):
        raise SourceError(
            f"image '{wanted.image}': the folder {wanted.source.folder} leads out of the source"
        )
    if not part.is_dir():
        raise SourceError(
            f"image '{wanted.image}': its source has no folder {wanted.source.folder}",
            hint=f"see what it has: ls {files}",
        )
    return part
