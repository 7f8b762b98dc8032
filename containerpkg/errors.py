"""The error family: what went wrong in one sentence, what to do next, and the exit status.

Every error that a person can cause or mend is one of these. The command line turns it into
``containerpkg: error: MESSAGE`` and ``hint: HINT`` and leaves with ``exit_status``; anything else
that escapes is a defect of containerpkg itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal


class ContainerpkgError(Exception):
    """A failure that a person can understand and act on.

    ``message`` names the thing and the place in one sentence, ``hint`` the next step.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ContainerpkgError):
    """The command line asks for something that does not exist or does not go together."""

    exit_status = 2


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong in a project's files, with its place.

    ``line`` counts from 1 and is 0 where the problem is the whole file; ``key`` is the dotted
    path of a YAML key, empty where there is none.
    """

    path: Path
    line: int = 0
    key: str = ""
    message: str
    hint: str = ""
    severity: Literal["error", "warning", "note"] = "error"

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class DefinitionError(ContainerpkgError):
    """The project's own files are wrong; ``problems`` holds each with file, line and key."""

    exit_status = 3

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        first = self.problems[0]
        more = len(self.problems) - 1
        message = str(first)
        if more:
            message += f" (and {more} more: run 'containerpkg check')"
        super().__init__(message, hint=first.hint or None)


class ToolError(ContainerpkgError):
    """A program that is needed is missing, too old, or cannot be started."""

    exit_status = 4


class EngineError(ContainerpkgError):
    """The container engine does not answer, or refuses."""

    exit_status = 5


class BuildError(ContainerpkgError):
    """An image, or a step that prepares its context, did not build."""

    exit_status = 6


class StoreError(ContainerpkgError):
    """The content store lacks something, or what it holds is damaged."""

    exit_status = 7


class PackageError(ContainerpkgError):
    """A package cannot be made."""

    exit_status = 8


class RepositoryError(ContainerpkgError):
    """A yum repository cannot be written or is damaged."""

    exit_status = 9


NO_SPACE = (
    "free some space ('df -h' tells where) and run the command again: it goes on where it stopped"
)
"""The hint for a full disk."""


class HostError(ContainerpkgError):
    """This machine stands in the way: disk full, no permission, a file that cannot be read."""

    exit_status = 10


class SourceError(ContainerpkgError):
    """The source of an image cannot be had: not reached, not what it should be, not patched."""

    exit_status = 12


class DriftError(ContainerpkgError):
    """What would be built is not what ``containerpkg.lock`` says."""

    exit_status = 13


class LockedError(ContainerpkgError):
    """Another run works on the same store or output folder."""

    exit_status = 11
