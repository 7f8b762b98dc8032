"""Reads a package once from its first byte to its last, and tells what its bytes really are.

Memory stays the same whatever the package's size: content is hashed as it passes, and only the
small files that describe an image are kept. The payload is a cpio archive in the "new ASCII" form,
or in rpm's own where a file is larger than 4 GiB.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import IO, Protocol, cast

import zstandard

from containerpkg.files import CHUNK
from containerpkg.packages.layer import BLOBS
from containerpkg.packages.rpmfile import Header, Headers, Tag, only, read_headers
from containerpkg.packages.unpacking import ArchivedImage, read_archive
from containerpkg.units.quadlet import IMAGES

_GHOST = 1 << 6

# How headers number digest algorithms, as OpenPGP does; none stands for the oldest.
_ALGORITHMS = {0: "md5", 1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}

_DESCRIPTION = re.compile(rf"{re.escape(IMAGES)}/[^/]+/(index|image|manifest)\.json")
_ARCHIVE = re.compile(rf"{re.escape(IMAGES)}/[^/]+/image\.tar\.(zst|gz)")
_MANIFEST_PROVIDE = re.compile(r"oci-manifest\(sha256:([0-9a-f]{64})\)")
_BLOB = re.compile(rf"{re.escape(BLOBS)}/([0-9a-f]{{64}})")

# A manifest, an index: far more than any has.
_DESCRIPTION_MOST = 4 << 20

_NAME_MOST = 1 << 16
_MODE_MOST = 0xFFFF


class _Reader(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a package is. ``broken`` says what in it is not what its own header says it is."""

    path: Path
    nevra: str
    size: int
    sha256: str
    """Of the whole file, 64 hexadecimal digits."""

    signatures: bytes
    """OpenPGP packets that sign ``signed``; empty for an unsigned package."""

    signed: bytes = field(repr=False)
    """The header, which holds the digest of everything else."""

    provides: frozenset[str]
    requires: frozenset[str]
    files: int
    blobs: Mapping[str, int]
    """Size of each blob whose bytes are right, by its ``sha256:`` digest."""

    archives: Mapping[str, tuple[ArchivedImage, ...]]
    """The images in each docker-archive, by its path."""

    descriptions: Mapping[str, bytes] = field(repr=False)
    """The JSON files that describe the images inside, and their manifests, by path."""

    broken: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _File:
    """What a header says of one file; ``digest`` is empty for what has none."""

    mode: int
    size: int
    digest: str
    link: str
    ghost: bool


class _Hashed:
    """A file that hashes what is read of it."""

    def __init__(self, file: IO[bytes], *digests: _Hash) -> None:
        self._file, self.digests = file, list(digests)

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        for digest in self.digests:
            digest.update(data)
        return data


class _Member:
    """One file of the payload, ``left`` bytes of which are to come; what is read is hashed."""

    def __init__(self, stream: _Reader, name: str, size: int, algorithms: set[str]) -> None:
        self._stream, self._name, self.left = stream, name, size
        self._digests = {
            kind: hashlib.new(kind, usedforsecurity=False) for kind in algorithms | {"sha256"}
        }

    def read(self, size: int, /) -> bytes:
        """Exactly ``size`` bytes, fewer at the end alone; ValueError if they are not there."""
        data = bytearray()
        wanted = min(size, self.left)
        while len(data) < wanted:
            more = self._stream.read(wanted - len(data))
            if not more:
                raise ValueError(f"its payload is cut short in {self._name}")
            data += more
        self.left -= wanted
        for digest in self._digests.values():
            digest.update(data)
        return bytes(data)

    def hexdigest(self, algorithm: str) -> str:
        """Of what was read."""
        return self._digests[algorithm].hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What is collected on the way through a payload."""

    blobs: dict[str, int] = field(default_factory=dict)
    archives: dict[str, tuple[ArchivedImage, ...]] = field(default_factory=dict)
    descriptions: dict[str, bytes] = field(default_factory=dict)


def read_contents(path: Path) -> Contents:
    """Read the package in ``path``.

    Raises :class:`PackageError` for what is not a package, and OSError. Damage behind the headers
    is no error here but told in ``Contents.broken``.
    """
    whole, payload = hashlib.sha256(), hashlib.sha256()
    broken: list[str] = []
    found = _Found()
    with path.open("rb") as file:
        raw = _Hashed(file, whole)
        headers = read_headers(cast("IO[bytes]", raw), path)
        main = headers.main
        raw.digests.append(payload)
        files: dict[str, _File] = {}
        signatures = b""
        provides: tuple[str, ...] = ()
        requires: tuple[str, ...] = ()
        try:
            signatures = headers.signatures
            provides, requires = main.strings(Tag.PROVIDENAME), main.strings(Tag.REQUIRENAME)
            files = _listed(main)
            manifests = {f"{BLOBS}/{m[1]}" for p in provides if (m := _MANIFEST_PROVIDE.match(p))}
            broken.extend(_walk(raw, headers, files, manifests, found))
        except (ValueError, IndexError) as error:
            broken.append(str(error))
        except (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, BadGzipFile) as error:
            broken.append(f"its payload cannot be unpacked: {error}")
        while raw.read(CHUNK):
            pass
        size = file.tell()
    broken[:0] = [*_header_problem(headers), *_payload_problem(main, payload.hexdigest())]
    return Contents(
        path=path,
        nevra=headers.nevra,
        size=size,
        sha256=whole.hexdigest(),
        signatures=signatures,
        signed=main.raw,
        provides=frozenset(provides),
        requires=frozenset(requires),
        files=len(files),
        blobs=found.blobs,
        archives=found.archives,
        descriptions=found.descriptions,
        broken=tuple(broken),
    )


def _header_problem(headers: Headers) -> list[str]:
    """What is not signed has this digest alone; rpm before 4.14 wrote an older kind."""
    try:
        said = headers.signature.strings(Tag.SIG_SHA256)
    except (ValueError, IndexError) as error:
        return [str(error)]
    if said and hashlib.sha256(headers.main.raw).hexdigest() not in said:
        return ["its header is not the one that it was built with"]
    return []


def _payload_problem(main: Header, found: str) -> list[str]:
    """Old versions of rpm wrote no digest of the payload, only those of the files."""
    try:
        if (said := main.strings(Tag.PAYLOADDIGEST)) and found not in said:
            return ["its payload is not the one that its header names"]
    except (ValueError, IndexError) as error:
        return [str(error)]
    return []


def _listed(main: Header) -> dict[str, _File]:
    directories = main.strings(Tag.DIRNAMES)
    names = main.strings(Tag.BASENAMES)
    sizes = main.numbers(Tag.LONGFILESIZES) or main.numbers(Tag.FILESIZES)
    modes = main.numbers(Tag.FILEMODES)
    if max(modes, default=0) > _MODE_MOST:
        raise ValueError("its header gives a file a mode that none has")
    columns = zip(
        main.numbers(Tag.DIRINDEXES),
        names,
        modes,
        sizes,
        main.strings(Tag.FILEDIGESTS),
        main.strings(Tag.FILELINKTOS),
        main.numbers(Tag.FILEFLAGS),
        strict=True,
    )
    return {
        directories[directory] + name: _File(
            mode=mode, size=size, digest=digest, link=link, ghost=bool(flags & _GHOST)
        )
        for directory, name, mode, size, digest, link, flags in columns
    }


def _walk(
    raw: _Hashed,
    headers: Headers,
    files: Mapping[str, _File],
    manifests: set[str],
    found: _Found,
) -> Iterator[str]:
    """Read the payload; fill ``found``, give what is wrong."""
    number = (*headers.main.numbers(Tag.FILEDIGESTALGO), 0)[0]
    if number not in _ALGORITHMS:
        raise ValueError(f"its files have digests of an unknown kind ({number})")
    algorithm = _ALGORITHMS[number]
    missing = {name for name, file in files.items() if not file.ghost}
    paths = list(files)
    stream = _unpacked(raw, headers.main)
    while (entry := _read_entry(stream, paths, files)) is not None:
        name, size = entry
        file = files.get(name)
        if file is None:
            yield f"{name} is in it, and its header does not list it"
        missing.discard(name)
        kept = name in manifests or _DESCRIPTION.fullmatch(name)
        member = _Member(stream, name, size, {algorithm})
        content = bytearray()
        archived: tuple[ArchivedImage, ...] | str = ()
        if _ARCHIVE.fullmatch(name):
            try:
                archived = read_archive(member)
            except ValueError as error:
                archived = str(error)
        while data := member.read(CHUNK):
            if (kept or (file and stat.S_ISLNK(file.mode))) and size <= _DESCRIPTION_MOST:
                content += data
        _skip(stream, -size % 4)
        if file is None:
            continue
        if stat.S_ISLNK(file.mode):
            same = content.decode(errors="surrogateescape") == file.link
        elif stat.S_ISREG(file.mode):
            same = member.hexdigest(algorithm) == file.digest
        else:
            same = size == 0
        if not same:
            yield f"{name} in it is not the one that its header names"
        elif kept:
            found.descriptions[name] = bytes(content)
        if isinstance(archived, str):
            yield f"its archive {name} is no whole image: {archived}"
        elif archived:
            found.archives[name] = archived
        if stat.S_ISREG(file.mode) and (blob := _BLOB.fullmatch(name)):
            digest = member.hexdigest("sha256")
            if digest == blob[1]:
                found.blobs[f"sha256:{digest}"] = size
            else:
                yield f"its blob sha256:{blob[1]} has other bytes (sha256:{digest})"
    for name in sorted(missing):
        yield f"{name} is missing in it"


def _unpacked(raw: _Hashed, main: Header) -> _Reader:
    compressor = only(main.strings(Tag.PAYLOADCOMPRESSOR) or ("none",))
    source = cast("IO[bytes]", raw)
    match compressor:
        case "none" | "":
            return raw
        case "gzip":
            return GzipFile(fileobj=source, mode="rb")
        case "xz" | "lzma":
            return lzma.LZMAFile(source, mode="rb")
        case "zstd":
            return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    raise ValueError(f"its payload is compressed by {compressor}, which is unknown here")


def _read_entry(
    stream: _Reader, paths: list[str], files: Mapping[str, _File]
) -> tuple[str, int] | None:
    """Path and size of the next file; None at the end of the archive."""
    magic = _exactly(stream, 6)
    if magic == b"07070X":
        path = paths[int(_exactly(stream, 8), 16)]
        _skip(stream, 2)
        return path, files[path].size
    if magic not in {b"070701", b"070702"}:
        raise ValueError("its payload is not a cpio archive")
    fields = _exactly(stream, 104)
    size, length = (int(fields[8 * n : 8 * n + 8], 16) for n in (6, 11))
    if length > _NAME_MOST:
        raise ValueError("its payload has a name that is longer than any path")
    name = _exactly(stream, length)[:-1].decode(errors="surrogateescape")
    _skip(stream, -(110 + length) % 4)
    if name == "TRAILER!!!":
        return None
    return name.removeprefix("."), size


def _exactly(stream: _Reader, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise ValueError("its payload is cut short")
        data += more
    return data


def _skip(stream: _Reader, size: int) -> None:
    if size:
        _exactly(stream, size)
