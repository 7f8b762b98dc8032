"""Renders the units of a whole project and has podman and systemd read them, before any build."""

from __future__ import annotations

from containerpkg import process
from containerpkg.definitions.project import Project
from containerpkg.errors import PackageError, Problem
from containerpkg.packages.targets import TARGETS
from containerpkg.units.check import check_units
from containerpkg.units.quadlet import UnitFile, render_units

# No image is built yet, and a unit reads the same with any digest.
_ANY_DIGEST = "sha256:" + "0" * 64


def check_project_units(project: Project, *, run: process.Run = process.run) -> tuple[Problem, ...]:
    """What is wrong with the units of ``project``; a program that is not there finds nothing."""
    problems: list[Problem] = []
    units: dict[str, UnitFile] = {}
    for image in project.images:
        try:
            rendered = render_units(
                image.name,
                image.file.services,
                package=image.package,
                repository=image.repository,
                tag=image.tag,
                digest=_ANY_DIGEST,
                podman=TARGETS[project.file.target].podman,
                project=project.root,
            )
        except PackageError as error:
            path = (image.folder / "image.yaml").relative_to(project.root)
            problems.append(Problem(path=path, message=error.message, hint=error.hint or ""))
            continue
        units |= {unit.path: unit for unit in rendered}
    return (*problems, *check_units(units.values(), run=run).problems)
