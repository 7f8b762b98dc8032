"""Finds what makes a project's files contradict each other or the files beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from containerpkg.definitions import graph
from containerpkg.definitions.dockerfile import ImageUse
from containerpkg.definitions.edges import Edge
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.project import ProjectFile
from containerpkg.definitions.reading import Reading
from containerpkg.definitions.reference import Reference
from containerpkg.definitions.service import Service, published
from containerpkg.definitions.text import suggestion
from containerpkg.definitions.yaml import Located
from containerpkg.errors import Problem

CA_SECRET = "ca-bundle"  # noqa: S105 - the identifier of a secret, not its value

_RESERVED_PACKAGES = ("containerpkg-runtime", "oci-layer-")


def find_inconsistencies(reading: Reading) -> tuple[Problem, ...]:
    """Every error that no file shows by itself; paths are absolute."""
    return (
        *_parent_problems(reading),
        *_cycle_problems(reading),
        *_package_problems(reading),
        *_unit_name_problems(reading),
        *_host_path_problems(reading),
        *_user_problems(reading),
        *(
            problem
            for name, file in reading.files.items()
            for problem in (
                *_prepare_problems(file, reading.folders[name]),
                *_source_problems(file, reading.folders[name]),
                *_secret_problems(file, reading.project),
                *_config_source_problems(file, reading.folders[name]),
                *_port_problems(file),
                *_target_problems(file),
            )
        ),
        *_ca_bundle_problems(reading),
    )


def missing_image(reading: Reading, use: ImageUse) -> str | None:
    """The name below the project's registry that ``use`` means, if no image has it."""
    if reading.project is None:
        return None
    namespace = Reference.parse(f"{reading.project.model.registry}/x").repository.removesuffix("x")
    repository = Reference.parse(use.reference).repository
    name = repository.removeprefix(namespace)
    if name == repository or "/" in name or name in reading.folders:
        return None
    return name


def _parent_problems(reading: Reading) -> Iterator[Problem]:
    for name, uses in reading.uses.items():
        for edge in uses.edges:
            digest = Reference.parse(edge.reference).digest
            if digest:
                yield Problem(
                    path=edge.path,
                    line=edge.line,
                    message=f"{edge.instruction} {edge.reference} names an image of this project "
                    "by digest, which is not known before it is built",
                    hint=f"write it without '@{digest}'",
                )
        for use in uses.external:
            wanted = missing_image(reading, use)
            if wanted is None:
                continue
            yield Problem(
                path=reading.dockerfiles[name].path,
                line=use.line,
                message=f"{use.instruction} {use.reference}: "
                f"there is no image '{wanted}' in images/",
                hint=suggestion(wanted, reading.folders, all_known="images"),
            )


def _cycle_problems(reading: Reading) -> Iterator[Problem]:
    edges: dict[tuple[str, str], Edge] = {}
    for uses in reading.uses.values():
        for edge in uses.edges:
            edges.setdefault((edge.child, edge.parent), edge)
    parents = {
        name: tuple(edge.parent for edge in uses.edges) for name, uses in reading.uses.items()
    }
    for cycle in graph.find_cycles(parents):
        steps = [edges[step] for step in pairwise(cycle)]
        places = ", ".join(
            f"{edge.path.relative_to(reading.root)}:{edge.line} {edge.instruction} {edge.reference}"
            for edge in steps
        )
        yield Problem(
            path=steps[0].path,
            line=steps[0].line,
            message=f"images are built from each other: {' -> '.join(cycle)} ({places})",
            hint="let one of them be built from something else",
        )


def _package_problems(reading: Reading) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, file in reading.files.items():
        if not file.model.packaged:
            continue
        package = file.model.package or f"{name}-container"
        if package.startswith(_RESERVED_PACKAGES):
            yield file.problem(("package",), f"'{package}' is a name that containerpkg itself uses")
        elif package in first:
            yield file.problem(
                ("package",),
                f"the package '{package}' is already that of the image '{first[package]}'",
                hint="give one of them another 'package:'",
            )
        first.setdefault(package, name)


def _unit_name_problems(reading: Reading) -> Iterator[Problem]:
    """Every unit that Quadlet makes of a file needs a name of its own, among all images."""
    first: dict[str, str] = {}
    for image, file in reading.files.items():
        for keys, unit, what in _units(image, file.model):
            # Services of an image may well share a volume.
            if (other := first.setdefault(unit, what)) != what:
                yield file.problem(
                    keys,
                    f"{unit}.service is already the unit of {other}",
                    hint="unit names are shared by all images of a project; rename one",
                )


def _units(image: str, file: ImageFile) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """The key behind each unit of an image, the unit's name, and what it is the unit of."""
    whose = f"the image '{image}'"
    if file.services:
        yield (), f"{image}-image", whose
    for name in file.neighbours:
        yield ("neighbours", name), f"{name}-image", f"the neighbour '{name}' of {whose}"
    for name, service in file.services.items():
        keys = ("services", name)
        yield keys, name, f"the service '{name}' of {whose}"
        for volume in service.volumes:
            unit = f"{image}-{volume}-volume"
            yield (*keys, "volumes", volume), unit, f"the volume '{volume}' of {whose}"
        for index, network in enumerate(service.networks):
            unit = f"{image}-{network}-network"
            yield (*keys, "networks", index), unit, f"the network '{network}' of {whose}"


def _host_path_problems(reading: Reading) -> Iterator[Problem]:
    first: dict[str, tuple[str, str, str, str]] = {}
    for name, file in reading.files.items():
        for service_name, service in file.model.services.items():
            for index, config in enumerate(service.config):
                path = config.host_path(service_name)
                mine = (name, config.source, config.mode, service_name)
                other = first.setdefault(path, mine)
                # Two services of one image may well share one file.
                if other[:3] == mine[:3]:
                    continue
                yield file.problem(
                    ("services", service_name, "config", index, "path"),
                    f"{path} is already a file of the service '{other[3]}' "
                    f"of the image '{other[0]}'",
                    hint="give one of them another 'path:'",
                )


def _user_problems(reading: Reading) -> Iterator[Problem]:
    """A user has the same numbers in all images, and no other has its own."""
    by_name: dict[str, tuple[tuple[int, int], str]] = {}
    by_uid: dict[int, tuple[str, str]] = {}
    for image, file in reading.files.items():
        for name, user in file.model.users.items():
            numbers = (user.uid, user.gid or user.uid)
            other, where = by_name.setdefault(name, (numbers, image))
            holder, place = by_uid.setdefault(user.uid, (name, image))
            if other != numbers:
                yield file.problem(
                    ("users", name), f"the user has other numbers in the image '{where}'"
                )
            elif holder != name:
                yield file.problem(
                    ("users", name, "uid"),
                    f"{user.uid} is already the user '{holder}' of the image '{place}'",
                )


def _prepare_problems(file: Located[ImageFile], folder: Path) -> Iterator[Problem]:
    prepare = file.model.prepare
    if prepare is None:
        return
    problem = _inside_problem(file, ("prepare",), folder, prepare)
    if problem:
        yield problem
    elif not os.access(folder / prepare, os.X_OK):
        yield file.problem(
            ("prepare",),
            f"{prepare} is not executable",
            hint=f"chmod +x {folder.parent.name}/{folder.name}/{prepare}",
        )


def _source_problems(file: Located[ImageFile], folder: Path) -> Iterator[Problem]:
    source = file.model.source
    if source is None:
        return
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("source", "patches", index), name) for index, name in enumerate(source.patches)
    ]
    if source.archive and "://" not in source.archive:
        named.append((("source", "archive"), source.archive))
    for keys, name in named:
        if problem := _inside_problem(file, keys, folder, name):
            yield problem


def _config_source_problems(file: Located[ImageFile], folder: Path) -> Iterator[Problem]:
    for name, service in file.model.services.items():
        for index, config in enumerate(service.config):
            keys = ("services", name, "config", index, "source")
            problem = _inside_problem(file, keys, folder, config.source)
            if problem:
                yield problem


def _inside_problem(
    file: Located[ImageFile], keys: tuple[str | int, ...], folder: Path, name: str
) -> Problem | None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return file.problem(keys, f"{name} leads out of the image's folder")
    if not path.exists():
        return file.problem(keys, f"there is no file {name} in the image's folder")
    if not path.is_file():
        return file.problem(keys, f"{name} is not a regular file")
    return None


def _secret_problems(
    file: Located[ImageFile], project: Located[ProjectFile] | None
) -> Iterator[Problem]:
    if project is None:
        return
    known = project.model.build.secrets
    for index, secret in enumerate(file.model.build.secrets):
        if secret in known or (secret == CA_SECRET and project.model.build.ca_bundle):
            continue
        hint = suggestion(secret, known, all_known="its secrets")
        yield file.problem(
            ("build", "secrets", index),
            f"containerpkg.yaml defines no secret '{secret}'",
            hint=hint or f"define it there: build: secrets: {secret}: {{env: NAME}}",
        )


def _ca_bundle_problems(reading: Reading) -> Iterator[Problem]:
    project = reading.project
    if project is None:
        return
    if CA_SECRET in project.model.build.secrets:
        yield project.problem(
            ("build", "secrets", CA_SECRET),
            "this name belongs to the CA bundle",
            hint="use 'ca_bundle:' or another name",
        )
    bundle = project.model.build.ca_bundle
    if bundle and not (reading.root / bundle).is_file():
        yield project.problem(("build", "ca_bundle"), f"there is no file {bundle}")


def _port_problems(file: Located[ImageFile]) -> Iterator[Problem]:
    taken: list[tuple[str, str, str, str]] = []
    for name, service in file.model.services.items():
        for index, port in enumerate(service.ports):
            address, number, protocol = published(port)
            for other_address, other_number, other_protocol, other in taken:
                clash = address == other_address or not address or not other_address
                if clash and (number, protocol) == (other_number, other_protocol):
                    yield file.problem(
                        ("services", name, "ports", index),
                        f"the host port {number}/{protocol} is already published "
                        f"by the service '{other}'",
                    )
                    break
            taken.append((address, number, protocol, name))


def _target_problems(file: Located[ImageFile]) -> Iterator[Problem]:
    for name, service in file.model.services.items():
        first: set[str] = set()
        for keys, target in _targets(service):
            normal = target.rstrip("/") or "/"
            if normal in first:
                yield file.problem(
                    ("services", name, *keys), f"something else is already mounted on {normal}"
                )
            first.add(normal)


def _targets(service: Service) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for volume, target in service.volumes.items():
        yield ("volumes", volume), target
    for index, mount in enumerate(service.mounts):
        yield ("mounts", index, "target"), mount.target
    for index, config in enumerate(service.config):
        yield ("config", index, "target"), config.target
    for name, target in service.secret_targets.items():
        yield ("secrets", name), target
    for index, target in enumerate(service.tmpfs):
        yield ("tmpfs", index), target
