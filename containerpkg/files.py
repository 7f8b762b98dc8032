"""Files that are whole or not there: atomic writes, locks, digests and links."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from containerpkg.errors import LockedError

CHUNK = 1 << 20

_UNFINISHED = ".containerpkg-"


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 of ``content`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_text(text: str) -> str:
    """The SHA-256 of ``text`` in UTF-8 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def atomic(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Write ``path`` beside its place and rename it there once it is complete and on disk.

    On any exception the half-written file is removed and ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what a killed :func:`atomic` left in ``folder`` and below; its owner calls it."""
    for top, _, names in os.walk(folder):
        for name in names:
            if name.startswith(_UNFINISHED):
                (Path(top) / name).unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``content`` in one step."""
    with atomic(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def locked(path: Path, *, what: str, wait: bool = False) -> Iterator[None]:
    """Hold ``path`` as an exclusive lock for the block; the kernel frees it if we are killed.

    Raises :class:`LockedError`, naming ``what`` and the process that has it, if it is taken;
    with ``wait`` it waits until it is free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise LockedError(
                f"{what} is in use by another containerpkg (process {owner})",
                hint="wait until it has ended, or choose another folder with --store and --output",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def make_public(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for everyone to read whatever the umask."""
    if not folder.is_dir():
        make_public(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def link_or_copy(source: Path, target: Path) -> None:
    """Put ``source`` at ``target`` as a hard link, or as a copy where links cannot reach."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
            raise
        shutil.copyfile(source, target)


@contextmanager
def piped(write: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """A stream of what ``write`` writes from a thread of its own.

    An exception in ``write`` comes out at the end of the block. A reader that stops early ends
    the writer.
    """
    reading, writing = os.pipe()
    failure: list[BaseException] = []

    def feed() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=CHUNK) as pipe:
                write(pipe)
        except BrokenPipeError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by the reader's thread
            failure.append(error)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            yield pipe
    finally:
        thread.join()
        if failure:
            raise failure[0]
