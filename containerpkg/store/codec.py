"""Compression of layers, and the way back from whatever an engine hands over."""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Protocol, cast

import zstandard

from containerpkg.definitions.project import Layers

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's way of asking for a gzip header; it carries no time and no name

# Each thread holds a job of its own; more of them than this no stream of images keeps busy.
_MOST_THREADS = 4

# zstd's own choice, four windows, costs a third more memory for 0.4 % less output.
_SMALLEST_JOB = 21

# A few kilobytes may unpack to gigabytes.
_LARGEST_PIECE = 1 << 20

DAMAGED = (zlib.error, zstandard.ZstdError)
"""What a decoder raises for damaged input."""


class Encoder(Protocol):
    """Turns plain bytes into compressed ones, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready after ``data``; may be empty."""

    def flush(self) -> bytes:
        """The rest."""


def encoder(form: Layers) -> Encoder:
    """An encoder whose output depends on ``form`` and the input alone, not on this machine."""
    if form.compression == "gzip":
        return zlib.compressobj(form.level, zlib.DEFLATED, _GZIP_WINDOW)
    # The output is the same for every number of threads but zero, so never ask for zero.
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    window = zstandard.ZstdCompressionParameters.from_level(form.level).window_log
    job_size = 1 << max(window, _SMALLEST_JOB)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        form.level, threads=threads, job_size=job_size
    )
    return _Zstd(zstandard.ZstdCompressor(compression_params=parameters).compressobj(), job_size)


class _Zstd:
    """Zstd whose output does not depend on when its threads get to work.

    At the end of whole jobs the library ends the frame in the last one if it still waits, else in
    an empty block behind it; here it never waits.
    """

    def __init__(self, job: zstandard.ZstdCompressionObj, job_size: int) -> None:
        self._job, self._job_size = job, job_size
        self._size = 0

    def compress(self, data: bytes, /) -> bytes:
        self._size += len(data)
        return self._job.compress(data)

    def flush(self) -> bytes:
        out = b""
        if self._size and self._size % self._job_size == 0:
            out = self._job.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        return out + self._job.flush()


def plain(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The uncompressed bytes of ``chunks``, which hold gzip, zstd or what is plain already.

    The pieces are bounded, however far the input unpacks. The first chunk must have 4 bytes, if
    there is more than one. Raises one of ``DAMAGED``; input that is cut gives what it holds.
    """
    remaining = iter(chunks)
    first = next(remaining, b"")
    together = itertools.chain((first,), remaining)
    if first.startswith(_GZIP_MAGIC):
        yield from _gunzip(together)
    elif first.startswith(_ZSTD_MAGIC):
        source = cast("IO[bytes]", _Source(together))
        reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        while piece := reader.read(_LARGEST_PIECE):
            yield piece
    else:
        yield from together


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Gzip of one or more members, as parallel compressors write it."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:
                member = zlib.decompressobj(_GZIP_WINDOW)
            yield member.decompress(rest, _LARGEST_PIECE)
            rest = member.unconsumed_tail or member.unused_data
    yield member.flush()


class _Source:
    """Chunks as something to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int) -> memoryview:
        while not self._rest and (chunk := next(self._chunks, None)) is not None:
            self._rest = memoryview(chunk)
        out, self._rest = self._rest[:size], self._rest[size:]
        return out
