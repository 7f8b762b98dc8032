"""Renders the units of images and has podman and systemd read them, before a host has to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from containerpkg import process
from containerpkg.definitions.project import Image, Project
from containerpkg.definitions.reading import PROJECT_FILE
from containerpkg.errors import PackageError, Problem
from containerpkg.packages.image import check_payload, has_archive
from containerpkg.packages.targets import TARGETS
from containerpkg.units.check import GENERATORS, check_units
from containerpkg.units.flavour import render_units
from containerpkg.units.quadlet import UnitFile
from containerpkg.units.sysconfig import render_sysconfig

# Before a build there is no digest, and a unit reads the same with any.
_ANY_DIGEST = "sha256:" + "0" * 64
_ANY_ARCHIVE = "/image.tar"


def find_unit_problems(
    project: Project,
    images: Iterable[Image],
    *,
    generators: Sequence[Path] = GENERATORS,
    run: process.Run = process.run,
) -> tuple[Problem, ...]:
    """What is wrong with the units of ``images`` on the project's target.

    A warning says what is left out for the target, a note what nobody here could check.

    Paths are those of files in the project, or of the unit on a host.
    """
    target = TARGETS[project.file.target]
    problems: list[Problem] = []
    units: dict[str, UnitFile] = {}
    for image in images:
        path = Path("images", image.name, "image.yaml")
        if image.file.neighbours and not target.neighbours:
            problems.append(
                Problem(
                    path=path,
                    key="neighbours",
                    message=f"left out for the target '{target.name}': only Quadlet of podman 5 "
                    "and newer reads drop-ins",
                    severity="warning",
                )
            )
        try:
            check_payload(image, target)
            rendered = render_units(
                image.name,
                image.file.services,
                flavour=target.units,
                engine=target.engine,
                systemd=target.systemd,
                summary=image.file.summary,
                package=image.package,
                repository=image.repository,
                tag=image.tag,
                digest=_ANY_DIGEST,
                image_id=_ANY_DIGEST,
                archive=_ANY_ARCHIVE if has_archive(image, target) else None,
                neighbours=image.file.neighbours,
                project=project.root,
            )
            for name, service in image.file.services.items():
                render_sysconfig(name, service.environment, project=project.root)
        except PackageError as error:
            problems.append(Problem(path=path, message=error.message, hint=error.hint or ""))
        else:
            units |= {unit.path: unit for unit in rendered}
    if units:
        checked = check_units(units.values(), podman=target.engine, generators=generators, run=run)
        problems += checked.problems
        if checked.unchecked:
            problems.append(
                Problem(path=Path(PROJECT_FILE), message=checked.unchecked, severity="note")
            )
    return tuple(problems)
