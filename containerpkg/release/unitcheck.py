"""Renders the units of images and has podman and systemd read them, before a host has to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from containerpkg import process
from containerpkg.definitions.project import Image, Project
from containerpkg.errors import PackageError, Problem
from containerpkg.packages.targets import TARGETS
from containerpkg.units.check import check_units
from containerpkg.units.quadlet import UnitFile, render_units

# Before a build there is no digest, and a unit reads the same with any.
_ANY_DIGEST = "sha256:" + "0" * 64


def find_unit_problems(
    project: Project, images: Iterable[Image], *, run: process.Run = process.run
) -> tuple[Problem, ...]:
    """What is wrong with the units of ``images``; a program that is not there finds nothing.

    Paths are those of ``image.yaml`` in the project, or of the unit on a host.
    """
    problems: list[Problem] = []
    units: dict[str, UnitFile] = {}
    for image in images:
        try:
            rendered = render_units(
                image.name,
                image.file.services,
                summary=image.file.summary,
                package=image.package,
                repository=image.repository,
                tag=image.tag,
                digest=_ANY_DIGEST,
                podman=TARGETS[project.file.target].podman,
                project=project.root,
            )
        except PackageError as error:
            path = Path("images", image.name, "image.yaml")
            problems.append(Problem(path=path, message=error.message, hint=error.hint or ""))
        else:
            units |= {unit.path: unit for unit in rendered}
    if units:
        problems += check_units(units.values(), run=run).problems
    return tuple(problems)
