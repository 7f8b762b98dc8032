"""The reader of our output (a pager, head) that has seen enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ReaderGoneError(Exception):
    """Nobody reads what we print; click would make status 1, an error, of a BrokenPipeError."""


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Raise :class:`ReaderGoneError` instead of BrokenPipeError."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error
