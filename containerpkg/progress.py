"""What is told about long work while it goes on: the core reports here, and never prints."""

from __future__ import annotations

from typing import Literal, Protocol

Outcome = Literal["done", "kept", "failed", "skipped"]


class Progress(Protocol):
    """Receives the events of a run; calls may come from several threads."""

    def start(self, task: str, text: str, *, total: int | None = None) -> None:
        """``task`` (a unique name such as ``build redis``) begins; ``total`` is in bytes."""

    def update(self, task: str, text: str) -> None:
        """A new line about ``task``, for example the build step that runs now."""

    def advance(self, task: str, amount: int) -> None:
        """``amount`` more bytes of ``task`` are through."""

    def finish(self, task: str, outcome: Outcome, text: str) -> None:
        """``task`` ended."""

    def note(self, text: str) -> None:
        """A line that belongs to no task."""


class Silent:
    """Swallows everything; the default for library use and tests."""

    def start(self, task: str, text: str, *, total: int | None = None) -> None:
        """Ignore it."""

    def update(self, task: str, text: str) -> None:
        """Ignore it."""

    def advance(self, task: str, amount: int) -> None:
        """Ignore it."""

    def finish(self, task: str, outcome: Outcome, text: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""
