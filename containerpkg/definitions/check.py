"""Everything that can be found wrong in a project without building: ``containerpkg check``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from containerpkg.definitions.advice import find_warnings
from containerpkg.definitions.consistency import find_inconsistencies
from containerpkg.definitions.reading import read_project
from containerpkg.definitions.source import SourceTree
from containerpkg.errors import Problem


class ProblemData(TypedDict):
    """One problem of ``check --json``; ``line`` is None where it is the whole file."""

    severity: str
    file: str
    line: int | None
    key: str | None
    message: str
    hint: str | None


def find_problems(root: Path, trees: Mapping[str, SourceTree] | None = None) -> tuple[Problem, ...]:
    """Every error and warning of the project in ``root``, sorted by file and line.

    Paths are relative to ``root``. Raises nothing for what is written in the files.
    """
    reading = read_project(root.resolve(), trees)
    found = (*reading.problems, *find_inconsistencies(reading), *find_warnings(reading))
    return tuple(sorted(reading.relative(problem) for problem in found))


def problems_data(problems: Sequence[Problem]) -> list[ProblemData]:
    """The problems as data."""
    return [
        {
            "severity": problem.severity,
            "file": str(problem.path),
            "line": problem.line or None,
            "key": problem.key or None,
            "message": problem.message,
            "hint": problem.hint or None,
        }
        for problem in problems
    ]
