"""The build context of an image: which files the builder gets, their digest, and the tar of them.

The files are those of the image's folder that ``.dockerignore`` lets through, and those that the
image's prepare step has generated.  https://docs.docker.com/build/concepts/context/
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from containerpkg.errors import HostError
from containerpkg.files import sha256_file

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
    """SHA-256 of a file's bytes or of a link's target, empty for a directory."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The files of one build, sorted by name."""

    dockerfile: str
    """Name of the Dockerfile inside the context."""

    entries: tuple[Entry, ...]

    @property
    def inputs(self) -> Mapping[str, str]:
        """What a change is told by: a digest of type, permissions and content for each name.

        A name's bytes that are no UTF-8 are escaped, and so are backslashes.
        """
        return {
            _printable(entry.name): hashlib.sha256(
                f"{entry.mode:o} {entry.digest}".encode()
            ).hexdigest()
            for entry in self.entries
        }

    def write_tar(self, file: IO[bytes], *, generated: Path | None = None) -> None:
        """Write the context as a tar stream; ``generated`` is a folder whose files are added.

        Owners are root and times are zero, so that equal files give equal bytes.
        """
        entries = self.entries
        if generated is not None:
            entries += tuple(_entries(generated, _walk(generated), checkout=False))
        with tarfile.open(fileobj=file, mode="w|", bufsize=1 << 18) as tar:
            for entry in entries:
                _add(tar, entry)


def load_context(folder: Path, dockerfile: str) -> Context:
    """Read the context in ``folder`` whose Dockerfile has the name ``dockerfile``.

    Raises :class:`HostError` for a file that cannot be read or is a socket, device or pipe.
    """
    names = _not_ignored(folder, dockerfile)
    return Context(dockerfile=dockerfile, entries=tuple(_entries(folder, names, checkout=True)))


def _not_ignored(folder: Path, dockerfile: str) -> list[str]:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        try:
            lines = (folder / name).read_text().splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise HostError(f"{folder / name} cannot be read: {error}") from error
        # Imported here: the SDK costs a fifth of a second, and most folders have no such file.
        from docker.utils.build import exclude_paths

        patterns = [line.strip() for line in lines if line.strip() and line[0] != "#"]
        try:
            kept = exclude_paths(str(folder), patterns, dockerfile=dockerfile)
        except OSError as error:
            raise _unreadable(error) from error
        return sorted(name for name in kept if name and name not in _NOT_IN_CONTEXT)
    return _walk(folder)


def _walk(folder: Path) -> list[str]:
    names: list[str] = []

    def refuse(error: OSError) -> None:
        raise _unreadable(error)

    for top, folders, files in os.walk(folder, onerror=refuse):
        relative = Path(top).relative_to(folder)
        names += [(relative / name).as_posix() for name in (*folders, *files)]
    return sorted(name for name in names if name not in _NOT_IN_CONTEXT)


def _entries(folder: Path, names: list[str], *, checkout: bool) -> Iterator[Entry]:
    for name in names:
        path = folder / name
        try:
            mode = path.lstat().st_mode
            digest = ""
            if stat.S_ISLNK(mode):
                digest = hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
            elif stat.S_ISREG(mode):
                digest = sha256_file(path) if checkout else ""
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


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mode = stat.S_IMODE(entry.mode)
    if stat.S_ISDIR(entry.mode):
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
