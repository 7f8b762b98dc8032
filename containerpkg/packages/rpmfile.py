"""Reads the headers of an RPM file: who it says it is, and the signature of that.

https://rpm-software-management.github.io/rpm/manual/format_v4.html
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO, TypeVar

from containerpkg.errors import PackageError

_LEAD = 96
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"

# Far more than any package has; what is read from a file is not believed.
_MOST = 64 << 20

_Value = TypeVar("_Value", int, str)


class Tag(IntEnum):
    """The entries of a header that somebody here asks for."""

    SIG_DSA = 267
    SIG_RSA = 268
    SIG_SHA256 = 273
    SIG_OPENPGP = 278
    NAME = 1000
    VERSION = 1001
    RELEASE = 1002
    EPOCH = 1003
    ARCH = 1022
    FILESIZES = 1028
    FILEMODES = 1030
    FILEDIGESTS = 1035
    FILELINKTOS = 1036
    FILEFLAGS = 1037
    PROVIDENAME = 1047
    REQUIRENAME = 1049
    DIRINDEXES = 1116
    BASENAMES = 1117
    DIRNAMES = 1118
    PAYLOADCOMPRESSOR = 1125
    LONGFILESIZES = 5008
    FILEDIGESTALGO = 5011
    PAYLOADDIGEST = 5092
    PAYLOADDIGESTALGO = 5093


# Widths of the number types: char, int8, int16, int32, int64.
_NUMBERS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q"}
_STRINGS = {6, 8, 9}
_BINARY = 7


@dataclass(frozen=True, kw_only=True)
class Header:
    """One header structure; ``raw`` is all of its bytes, which are what is signed."""

    raw: bytes
    store: bytes
    entries: Mapping[int, tuple[int, int, int]]
    """Type, place in the store and number of values, by tag."""

    def numbers(self, tag: Tag) -> tuple[int, ...]:
        """The values of a number entry; none if it is not there."""
        kind, at, count = self.entries.get(tag, (4, 0, 0))
        form = _NUMBERS.get(kind)
        if form is None:
            raise ValueError(f"entry {tag} is no number")
        try:
            return struct.unpack_from(f">{count}{form}", self.store, at)
        except struct.error as error:
            raise ValueError(f"entry {tag} is cut short") from error

    def strings(self, tag: Tag) -> tuple[str, ...]:
        """The values of a text entry; none if it is not there."""
        kind, at, count = self.entries.get(tag, (6, 0, 0))
        if kind not in _STRINGS:
            raise ValueError(f"entry {tag} is no text")
        values = []
        for _ in range(count):
            end = self.store.index(b"\0", at)
            values.append(self.store[at:end].decode(errors="surrogateescape"))
            at = end + 1
        return tuple(values)

    def binary(self, tag: Tag) -> bytes | None:
        """The bytes of a binary entry; None if it is not there."""
        kind, at, count = self.entries.get(tag, (_BINARY, 0, -1))
        if kind != _BINARY:
            raise ValueError(f"entry {tag} is not binary")
        return self.store[at : at + count] if count >= 0 else None


@dataclass(frozen=True, kw_only=True)
class Headers:
    """The two headers of a package; the payload begins at ``payload``."""

    signature: Header
    main: Header
    payload: int

    @property
    def nevra(self) -> str:
        """``NAME-[EPOCH:]VERSION-RELEASE.ARCH``"""
        name, version, release, arch = (
            only(self.main.strings(tag)) for tag in (Tag.NAME, Tag.VERSION, Tag.RELEASE, Tag.ARCH)
        )
        epoch = "".join(f"{number}:" for number in self.main.numbers(Tag.EPOCH))
        return f"{name}-{epoch}{version}-{release}.{arch}"

    @property
    def signatures(self) -> bytes:
        """The OpenPGP packets that sign ``main.raw``; empty for an unsigned package."""
        for tag in (Tag.SIG_RSA, Tag.SIG_DSA):
            if packet := self.signature.binary(tag):
                return packet
        try:
            packets = self.signature.strings(Tag.SIG_OPENPGP)
            return b"".join(base64.b64decode(text, validate=True) for text in packets)
        except binascii.Error as error:
            raise ValueError(f"its signature is damaged: {error}") from error


def only(values: tuple[_Value, ...]) -> _Value:
    """The one value that an entry must have; ValueError if it has none or several."""
    (value,) = values
    return value


def load_headers(path: Path) -> Headers:
    """The headers of the package in ``path``; nothing else of it is read.

    Raises :class:`PackageError` for what is not a package, and OSError.
    """
    with path.open("rb") as file:
        return read_headers(file, path)


def read_headers(file: IO[bytes], path: Path) -> Headers:
    """The headers at the beginning of ``file``, which stands at the payload afterwards.

    Raises :class:`PackageError`, naming ``path``, for what is not a package.
    """
    try:
        if file.read(_LEAD)[:4] != _LEAD_MAGIC:
            raise ValueError("it does not begin as one")
        signature = _read_header(file)
        padding = -len(signature.raw) % 8
        file.read(padding)
        main = _read_header(file)
        headers = Headers(
            signature=signature,
            main=main,
            payload=_LEAD + len(signature.raw) + padding + len(main.raw),
        )
        headers.nevra  # noqa: B018 - a package without a name is none
    except (ValueError, struct.error) as error:
        raise PackageError(f"{path} is not a package that can be read: {error}") from error
    return headers


def _read_header(file: IO[bytes]) -> Header:
    intro = file.read(16)
    if len(intro) < 16 or intro[:4] != _HEADER_MAGIC:
        raise ValueError("a header is missing")
    count, size = struct.unpack(">II", intro[8:])
    if count * 16 + size > _MOST:
        raise ValueError("a header is larger than any package has")
    rest = file.read(count * 16 + size)
    if len(rest) < count * 16 + size:
        raise ValueError("a header is cut short")
    entries: dict[int, tuple[int, int, int]] = {}
    for number in range(count):
        tag, kind, at, values = struct.unpack_from(">IIII", rest, 16 * number)
        entries.setdefault(tag, (kind, at, values))
    return Header(raw=intro + rest, store=rest[16 * count :], entries=entries)
