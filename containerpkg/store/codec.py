"""Compression of layers, and the way back from whatever an engine hands over."""

from __future__ import annotations

import os
import zlib
from typing import Protocol

import zstandard

from containerpkg.definitions.project import Layers

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's way of asking for a gzip header; it carries no time and no name

# zstd's own choice, four windows, costs a third more memory for 0.4 % less output.
_SMALLEST_JOB = 21

DAMAGED = (zlib.error, zstandard.ZstdError)
"""What a decoder raises for damaged input."""


class Encoder(Protocol):
    """Turns plain bytes into compressed ones, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready after ``data``; may be empty."""

    def flush(self) -> bytes:
        """The rest."""


class Decoder(Protocol):
    """Turns what an engine hands over into plain bytes, piece by piece."""

    def decompress(self, data: bytes, /) -> bytes:
        """What is ready after ``data``."""


def encoder(form: Layers) -> Encoder:
    """An encoder whose output depends on ``form`` and the input alone, not on this machine."""
    if form.compression == "gzip":
        return zlib.compressobj(form.level, zlib.DEFLATED, _GZIP_WINDOW)
    # The output is the same for every number of threads but zero, so never ask for zero.
    threads = len(os.sched_getaffinity(0))
    window = zstandard.ZstdCompressionParameters.from_level(form.level).window_log
    parameters = zstandard.ZstdCompressionParameters.from_level(
        form.level, threads=threads, job_size=1 << max(window, _SMALLEST_JOB)
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


def decoder(start: bytes) -> Decoder:
    """The decoder for data that begins with ``start`` (at least 4 bytes): gzip, zstd or plain."""
    if start.startswith(_GZIP_MAGIC):
        return _Gzip()
    if start.startswith(_ZSTD_MAGIC):
        return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    return _Plain()


class _Plain:
    def decompress(self, data: bytes, /) -> bytes:
        return data


class _Gzip:
    """Gzip of one or more members, as parallel compressors write it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)

    def decompress(self, data: bytes, /) -> bytes:
        out = [self._member.decompress(data)]
        while self._member.eof and (rest := self._member.unused_data):
            self._member = zlib.decompressobj(_GZIP_WINDOW)
            out.append(self._member.decompress(rest))
        return b"".join(out)
