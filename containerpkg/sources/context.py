"""The build context of an image: which files the builder gets, their digest, and the tar of them.

The files are those of the image's source, over them those of the image's folder, as far as
``.dockerignore`` lets them through, and those that the image's prepare step has generated.
https://docs.docker.com/build/concepts/context/
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import stat
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from containerpkg.definitions.project import Image
from containerpkg.definitions.source import SourceTree
from containerpkg.errors import HostError
from containerpkg.files import sha256_file, sha256_text

# Read by containerpkg and not by the builder: a change of them alone must not build the image.
_NOT_IN_CONTEXT = frozenset({"image.yaml"})

# A checkout's permissions depend on the umask of whoever made it; the image's must not. Git knows
# whether a file is executable and nothing more.
_EXECUTABLE, _PLAIN = 0o755, 0o644

# What a prepare step writes has the permissions that it wants, but for this.
_UMASK = 0o022


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file, directory or symbolic link of a context."""

    name: str
    """Path inside the context, with ``/``."""

    path: Path
    mode: int
    """File type and permissions as in ``st_mode``."""

    digest: str
    """SHA-256 of a file's bytes or of a link's target, empty for a directory and for a file whose
    content is told by something else."""

    fetched: bool = False
    """Whether it is of a fetched source, whose revision tells what is in it."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The files of one build, sorted by name."""

    dockerfile: str
    """Name of the Dockerfile inside the context."""

    entries: tuple[Entry, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the image is labelled with beside what its Dockerfile says."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """What a change is told by: a digest of type, permissions and content for each name.

        A name's bytes that are no UTF-8 are escaped, and so are backslashes. Files of a fetched
        source have no digest of their own, see :attr:`source_names`.
        """
        return {
            _printable(entry.name): hashlib.sha256(
                f"{entry.mode:o} {entry.digest}".encode()
            ).hexdigest()
            for entry in self.entries
            if not entry.fetched
        }

    @property
    def source_names(self) -> str:
        """A digest of which files of a fetched source are taken; empty without one."""
        names = [f"{e.mode:o} {_printable(e.name)}\n" for e in self.entries if e.fetched]
        return sha256_text("".join(names)) if names else ""

    def write_tar(self, file: IO[bytes], *, generated: Path | None = None) -> None:
        """Write the context as a tar stream; ``generated`` is a folder whose files are added.

        Owners are root and times are zero, so that equal files give equal bytes. The labels are
        an instruction at the end of the Dockerfile, which every builder understands.
        """
        entries = self.entries
        if generated is not None:
            entries += tuple(_entries(generated, _walk(generated), checkout=False))
        with tarfile.open(fileobj=file, mode="w|", bufsize=1 << 18) as tar:
            for entry in entries:
                _add(tar, entry, _label(self.labels) if entry.name == self.dockerfile else "")


def load_context(folder: Path, dockerfile: str) -> Context:
    """Read the context in ``folder`` whose Dockerfile has the name ``dockerfile``.

    Raises :class:`HostError` for a file that cannot be read or is a socket, device or pipe.
    """
    names = _not_ignored(folder, dockerfile)
    return Context(dockerfile=dockerfile, entries=tuple(_entries(folder, names, checkout=True)))


def load_image_context(image: Image) -> Context:
    """Read the context of an image, with its source if it has one.

    The ``.dockerignore`` of the image's folder counts for all of the context. Where it has none
    and the source is the top of the context, the source's counts for the source.

    Raises :class:`HostError` as :func:`load_context` does.
    """
    source, tree = image.file.source, image.tree
    if source is None or tree is None:
        return load_context(image.folder, image.dockerfile.path.name)
    prefix = f"{source.place}/" if source.place else ""
    dockerfile = f"{prefix}{source.dockerfile}" if source.dockerfile else image.dockerfile.path.name
    own_names = _without(_not_ignored(image.folder, dockerfile), source.own_files)
    own = {entry.name: entry for entry in _entries(image.folder, own_names, checkout=True)}
    names = _source_names(image.folder, tree, prefix, dockerfile)
    found = _entries(tree.folder, names, checkout=True, hashed=tree.local)
    entries = [
        replace(entry, fetched=not tree.local)
        for entry in (
            *_leading_to(source.place, image.folder),
            *(replace(entry, name=f"{prefix}{entry.name}") for entry in found),
        )
        if not _covered(entry.name, own)
    ]
    return Context(
        dockerfile=dockerfile,
        entries=tuple(sorted((*own.values(), *entries), key=lambda entry: entry.name)),
        labels=source_labels(image, tree),
    )


def _without(names: list[str], gone: Collection[str]) -> list[str]:
    """``names`` but those in ``gone``, and but folders that had nothing else."""
    kept = [name for name in names if name not in gone]
    for parent in sorted({p.as_posix() for name in gone for p in Path(name).parents}, reverse=True):
        if not any(name.startswith(f"{parent}/") for name in kept):
            kept = [name for name in kept if name != parent]
    return kept


def source_labels(image: Image, tree: SourceTree) -> dict[str, str]:
    """What the image says of its source.

    https://github.com/opencontainers/image-spec/blob/main/annotations.md
    """
    labels = {
        "created": tree.created,
        "revision": tree.revision,
        "source": tree.origin,
        "version": image.version,
    }
    return {f"org.opencontainers.image.{name}": value for name, value in labels.items() if value}


def _label(labels: Mapping[str, str]) -> str:
    """One LABEL instruction; nothing in it needs an escape, which a Dockerfile may choose."""
    if not labels:
        return ""
    return "LABEL " + " ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "\n"


def _leading_to(place: str, folder: Path) -> Iterator[Entry]:
    """The folders that the source lies in."""
    for parent in (*reversed(Path(place).parents), Path(place)):
        if parent.name:
            mode = stat.S_IFDIR | _EXECUTABLE
            yield Entry(name=parent.as_posix(), path=folder, mode=mode, digest="")


def _covered(name: str, own: Mapping[str, Entry]) -> bool:
    """Whether the image's folder has the name, or something else than a folder above it."""
    above = (own.get(parent.as_posix()) for parent in Path(name).parents)
    return name in own or any(entry and not stat.S_ISDIR(entry.mode) for entry in above)


def _source_names(folder: Path, tree: SourceTree, prefix: str, dockerfile: str) -> list[str]:
    """The names in the source that the builder gets."""
    patterns = _patterns(folder, dockerfile)
    if patterns is None and not prefix:
        patterns = _patterns(tree.folder, dockerfile, within=tree.folder)
    names = list(tree.names) if tree.local else _walk(tree.folder, but=())
    if not patterns:
        return names
    from docker.utils.build import PatternMatcher

    matcher = PatternMatcher([*patterns, f"!{dockerfile}"])
    kept = {name for name in names if not matcher.matches(f"{prefix}{name}")}  # type: ignore[arg-type]
    for name in tuple(kept):
        kept.update(parent.as_posix() for parent in Path(name).parents)
    return [name for name in names if name in kept]


def _patterns(folder: Path, dockerfile: str, *, within: Path | None = None) -> list[str] | None:
    """What the ignore file of ``folder`` says, or None if it has none.

    With ``within``, a link that leads out of that folder is none.
    """
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        path = folder / name
        if within and not path.resolve().is_relative_to(within.resolve()):
            continue
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise HostError(f"{path} cannot be read: {error}") from error
        return [line.strip() for line in lines if line.strip() and line[0] != "#"]
    return None


def _not_ignored(folder: Path, dockerfile: str) -> list[str]:
    patterns = _patterns(folder, dockerfile)
    if patterns is None:
        return _walk(folder)
    # Imported here: the SDK costs a fifth of a second, and most folders have no such file.
    from docker.utils.build import exclude_paths

    try:
        kept = exclude_paths(str(folder), patterns, dockerfile=dockerfile)
    except OSError as error:
        raise _unreadable(error) from error
    return sorted(name for name in kept if name and name not in _NOT_IN_CONTEXT)


def _walk(folder: Path, *, but: Collection[str] = _NOT_IN_CONTEXT) -> list[str]:
    names: list[str] = []

    def refuse(error: OSError) -> None:
        raise _unreadable(error)

    for top, folders, files in os.walk(folder, onerror=refuse):
        relative = Path(top).relative_to(folder)
        names += [(relative / name).as_posix() for name in (*folders, *files)]
    return sorted(name for name in names if name not in but)


def _entries(
    folder: Path, names: Iterable[str], *, checkout: bool, hashed: bool = True
) -> Iterator[Entry]:
    for name in names:
        path = folder / name
        try:
            mode = path.lstat().st_mode
            digest = ""
            if stat.S_ISLNK(mode):
                digest = hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
            elif stat.S_ISREG(mode):
                digest = sha256_file(path) if checkout and hashed else ""
            elif not stat.S_ISDIR(mode):
                raise HostError(
                    f"{path} is neither a file, a directory nor a symbolic link",
                    hint="remove it, or name it in .dockerignore",
                )
        except OSError as error:
            raise _unreadable(error, path) from error
        mode = _normal(mode) if checkout else mode & ~_UMASK
        yield Entry(name=name, path=path, mode=mode, digest=digest)


def _normal(mode: int) -> int:
    executable = not stat.S_ISREG(mode) or mode & stat.S_IXUSR
    return stat.S_IFMT(mode) | (_EXECUTABLE if executable else _PLAIN)


def _printable(name: str) -> str:
    return os.fsencode(name.replace("\\", r"\\")).decode(errors="backslashreplace")


def _unreadable(error: OSError, path: Path | None = None) -> HostError:
    place = error.filename or path
    return HostError(
        f"{place} cannot be read: {error.strerror}",
        hint=f"check its permissions: ls -ld {shlex.quote(str(place))}",
    )


def _add(tar: tarfile.TarFile, entry: Entry, more: str = "") -> None:
    """Add a file; ``more`` is what it gets at its end."""
    info = tarfile.TarInfo(entry.name)
    info.mode = stat.S_IMODE(entry.mode)
    if more:
        # A backslash at the very end would take the next line into its instruction. A link becomes
        # the file that it leads to.
        whole = _read(entry.path).rstrip().removesuffix(b"\\") + b"\n" + more.encode()
        info.size, info.mode = len(whole), _PLAIN
        tar.addfile(info, io.BytesIO(whole))
    elif stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISLNK(entry.mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(entry.path)  # noqa: PTH115 - bytes that are no UTF-8 must survive
        tar.addfile(info)
    else:
        try:
            content = entry.path.open("rb")
        except OSError as error:
            raise _unreadable(error) from error
        with content:
            info.size = os.fstat(content.fileno()).st_size
            tar.addfile(info, content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(error) from error
