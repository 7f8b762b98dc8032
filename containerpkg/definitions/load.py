"""From a folder to a :class:`Project` that is whole and consistent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from containerpkg.definitions import graph
from containerpkg.definitions.consistency import find_inconsistencies
from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.reading import PROJECT_FILE, Reading, read_project
from containerpkg.definitions.source import SourceTree
from containerpkg.errors import DefinitionError, UsageError


def find_root(start: Path) -> Path:
    """The folder with a ``containerpkg.yaml``, absolute: ``start`` or the nearest above it.

    Raises :class:`UsageError` if there is none.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / PROJECT_FILE).is_file():
            return candidate
    raise UsageError(
        f"there is no {PROJECT_FILE} in {folder} or in a folder above it",
        hint="change to the folder of a project, or name it with --directory",
    )


def load_project(start: Path, trees: Mapping[str, SourceTree] | None = None) -> Project:
    """Load the project that ``start`` lies in; ``trees`` are the sources that have been fetched.

    Raises :class:`UsageError` if it lies in none, and :class:`DefinitionError` with every problem
    of all its files, their paths relative to the project's folder.
    """
    return consistent_project(read_project(find_root(start), trees))


def consistent_project(reading: Reading) -> Project:
    """The project that was read; raises as :func:`load_project` does."""
    problems = (*reading.problems, *find_inconsistencies(reading))
    if problems:
        raise DefinitionError([reading.relative(problem) for problem in problems])
    return _project(reading)


def _project(reading: Reading) -> Project:
    assert reading.project is not None
    settings = reading.project.model
    uses = reading.uses
    parents = {
        name: tuple(sorted({edge.parent for edge in uses[name].edges})) for name in reading.folders
    }
    images = tuple(
        Image(
            name=name,
            folder=reading.folders[name],
            dockerfile=reading.dockerfiles[name],
            file=reading.files[name].model,
            repository=f"{settings.registry}/{name}",
            version=reading.files[name].model.version or settings.version,
            parents=parents[name],
            parent_references=tuple(sorted({edge.reference for edge in uses[name].edges})),
            tree=reading.trees.get(name),
        )
        for name in graph.build_order(parents)
    )
    return Project(root=reading.root, file=settings, images=images)
