"""Writes the files of a bundle as a tar archive or an ISO image, whole or cut into parts.

The same files and time give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Literal

from containerpkg import process
from containerpkg.errors import RepositoryError, UsageError
from containerpkg.files import CHUNK, atomic, sha256_file
from containerpkg.process import CommandFailed, Run

Format = Literal["tar", "iso"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a bundle: its name there, and its bytes or where they are."""

    name: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def write_tar(
    files: Sequence[Entry],
    out: IO[bytes],
    *,
    top: str,
    time: int,
    advance: Callable[[int], None],
) -> None:
    """Write ``files`` below the folder ``top``, all of them root's and of ``time``."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        folders = {f"{top}/{parent}" for file in files for parent in Path(file.name).parents}
        for name in sorted({top, *(folder.removesuffix("/.") for folder in folders)}):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, time
            tar.addfile(member)
        for file in files:
            member = tarfile.TarInfo(f"{top}/{file.name}")
            member.size, member.mtime = file.size, time
            if isinstance(file.content, bytes):
                tar.addfile(member, BytesIO(file.content))
            else:
                with file.content.open("rb") as source:
                    tar.addfile(member, source)
            advance(file.size)


def write_iso(
    files: Sequence[Entry], path: Path, *, label: str, time: int, run: Run = process.run
) -> None:
    """Have xorriso write ``files`` to the ISO 9660 image ``path``, with Rock Ridge and Joliet.

    Raises :class:`ToolError` if xorriso is missing, and :class:`RepositoryError` if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="containerpkg-") as folder:
        for file in files:
            place = Path(folder) / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(file.content, bytes):
                place.write_bytes(file.content)
                place.chmod(0o644)
            else:
                place.symlink_to(file.content.absolute())
        date = datetime.fromtimestamp(time, UTC).strftime("%Y%m%d%H%M%S00")
        volume = re.sub(r"[^A-Z0-9_]", "_", label.upper())[:32]
        argv = ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(path), "-V", volume]
        argv += ["-iso-level", "3", "-r", "-J", "-joliet-long", "-f"]
        argv += [f"--modification-date={date}", "--set_all_file_dates", date, folder]
        try:
            run(argv, env={"SOURCE_DATE_EPOCH": str(time), "LC_ALL": "C.UTF-8", "TZ": "UTC"})
        except CommandFailed as error:
            raise RepositoryError(
                f"the image {path.name} could not be made:\n{error.tail}"
            ) from error


def write_bundle(
    files: Sequence[Entry],
    output: Path,
    *,
    form: Format,
    top: str,
    time: int,
    split: int | None = None,
    advance: Callable[[int], None],
    run: Run = process.run,
) -> tuple[Path, ...]:
    """Write the bundle to ``output``, or in parts of ``split`` bytes beside it; what was written.

    Each file appears when it is whole; the list of checksums of parts, ``output.sha256``, last.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if form == "iso":
        with tempfile.TemporaryDirectory(prefix=".containerpkg-", dir=output.parent) as folder:
            image = Path(folder) / "image.iso"
            write_iso(files, image, label=top, time=time, run=run)
            if split is None:
                image.chmod(0o644)
                # A stick may be pulled out as soon as we say that it is done.
                with image.open("rb") as written:
                    os.fsync(written.fileno())
                image.rename(output)
                return (output,)
            with image.open("rb") as source, _parts(output, split) as parts:
                while data := source.read(CHUNK):
                    parts.write(data)
        return parts.written
    if split is None:
        with atomic(output) as file:
            write_tar(files, file, top=top, time=time, advance=advance)
        return (output,)
    with _parts(output, split) as parts:
        write_tar(files, parts, top=top, time=time, advance=advance)  # type: ignore[arg-type]
    return parts.written


class _Parts:
    """A file that is cut into parts as it is written; see :func:`_parts`."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._limit = folder, size
        self._whole = hashlib.sha256()
        self._left = 0
        self._file: IO[bytes] | None = None
        self.names: list[Path] = []
        self.written: tuple[Path, ...] = ()

    def write(self, data: bytes) -> int:
        self._whole.update(data)
        rest = memoryview(data)
        while rest:
            if self._left == 0:
                self._next()
            assert self._file
            step = rest[: self._left]
            self._file.write(step)
            self._left -= len(step)
            rest = rest[len(step) :]
        return len(data)

    def close(self) -> None:
        if self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def digest(self) -> str:
        return self._whole.hexdigest()

    def _next(self) -> None:
        self.close()
        if len(self.names) == 999:
            raise UsageError(
                f"the bundle has more than 999 parts of {self._limit} bytes",
                hint="name a larger size with --split",
            )
        path = self._folder / f"{len(self.names) + 1:03}"
        self._file = path.open("wb")
        self._left = self._limit
        self.names.append(path)


@contextmanager
def _parts(output: Path, size: int) -> Iterator[_Parts]:
    """Write ``output.001`` and so on, and ``output.sha256``; parts of an earlier time go."""
    with tempfile.TemporaryDirectory(prefix=".containerpkg-", dir=output.parent) as folder:
        parts = _Parts(Path(folder), size)
        try:
            yield parts
        finally:
            parts.close()
        sums = [f"{sha256_file(path)}  {output.name}.{path.name}\n" for path in parts.names]
        sums.append(f"{parts.digest()}  {output.name}\n")
        for old in output.parent.glob(f"{output.name}.[0-9][0-9][0-9]"):
            old.unlink()
        targets = [output.with_name(f"{output.name}.{path.name}") for path in parts.names]
        for path, target in zip(parts.names, targets, strict=True):
            path.rename(target)
        listing = output.with_name(f"{output.name}.sha256")
        with atomic(listing) as file:
            file.write("".join(sums).encode())
        parts.written = (*targets, listing)
