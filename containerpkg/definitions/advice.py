"""Finds what is allowed in a project and yet probably not meant: the warnings of ``check``."""

from __future__ import annotations

from collections.abc import Iterator

from containerpkg.definitions.consistency import CA_SECRET, missing_image
from containerpkg.definitions.dockerfile import PLATFORM_ARGUMENTS
from containerpkg.definitions.reading import Reading
from containerpkg.definitions.reference import DEFAULT_DOMAIN, Reference
from containerpkg.errors import Problem

# The builder knows these without an ARG.
_UNDECLARED = frozenset(
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
) | {"SOURCE_DATE_EPOCH", *PLATFORM_ARGUMENTS}


def find_warnings(reading: Reading) -> tuple[Problem, ...]:
    """Every warning, with absolute paths."""
    return (
        *_argument_warnings(reading),
        *_secret_warnings(reading),
        *_base_warnings(reading),
        # What cannot be read may well be its child.
        *(() if reading.problems else _useless_warnings(reading)),
        *_volume_warnings(reading),
    )


def _argument_warnings(reading: Reading) -> Iterator[Problem]:
    everywhere: set[str] = set()
    for name, dockerfile in reading.dockerfiles.items():
        declared = {argument.name for argument in dockerfile.arguments}
        everywhere |= declared
        file = reading.files.get(name)
        for argument in file.model.build.args if file else ():
            if file and argument not in declared and not _is_predefined(argument):
                yield file.problem(
                    ("build", "args", argument),
                    f"the {dockerfile.path.name} has no 'ARG {argument}'",
                    severity="warning",
                )
    for argument in reading.project.model.build.args if reading.project else ():
        if reading.project and argument not in everywhere and not _is_predefined(argument):
            yield reading.project.problem(
                ("build", "args", argument),
                f"no image has an 'ARG {argument}'",
                severity="warning",
            )


def _is_predefined(argument: str) -> bool:
    return argument in _UNDECLARED or argument.startswith("BUILDKIT_")


def _secret_warnings(reading: Reading) -> Iterator[Problem]:
    given: set[str] = set()
    for name, file in reading.files.items():
        secrets = file.model.build.secrets
        given.update(secrets)
        dockerfile = reading.dockerfiles.get(name)
        if dockerfile is None:
            continue
        for secret in dockerfile.secrets:
            if secret not in secrets and secret != CA_SECRET:
                yield Problem(
                    path=dockerfile.path,
                    message=f"RUN --mount=type=secret asks for '{secret}', "
                    "which the build does not get",
                    hint=f"name it in image.yaml: build: secrets: [{secret}]",
                    severity="warning",
                )
    for secret in reading.project.model.build.secrets if reading.project else ():
        if reading.project and secret not in given:
            yield reading.project.problem(
                ("build", "secrets", secret), "no image uses this secret", severity="warning"
            )


def _base_warnings(reading: Reading) -> Iterator[Problem]:
    registry = reading.project.model.registry if reading.project else ""
    for name, uses in reading.uses.items():
        for use in uses.external:
            reference = Reference.parse(use.reference)
            own = reference.path.removeprefix("library/")
            if reference.domain == DEFAULT_DOMAIN and own in reading.folders:
                message = (
                    f"{use.instruction} {use.reference} is {reference}, not this project's image"
                )
                hint = f"for images/{own} write {registry}/{own}"
            elif reference.digest is None and missing_image(reading, use) is None:
                message = f"{use.instruction} {use.reference} can be another image tomorrow"
                hint = "add its digest: NAME:TAG@sha256:…"
            else:
                continue
            yield Problem(
                path=reading.dockerfiles[name].path,
                line=use.line,
                message=message,
                hint=hint,
                severity="warning",
            )


def _useless_warnings(reading: Reading) -> Iterator[Problem]:
    parents = {edge.parent for uses in reading.uses.values() for edge in uses.edges}
    for name, file in reading.files.items():
        if not (file.model.services or file.model.neighbours or name in parents):
            yield file.problem(
                (),
                "the image has no service and no neighbour, and no other image is built from it",
                hint="add 'services:', or remove the image",
                severity="warning",
            )


def _volume_warnings(reading: Reading) -> Iterator[Problem]:
    for image, file in reading.files.items():
        dockerfile = reading.dockerfiles.get(image)
        for name, service in file.model.services.items() if dockerfile else ():
            assert dockerfile
            for volume in dockerfile.volumes:
                if service.uncovered([volume.path]):
                    yield Problem(
                        path=dockerfile.path,
                        line=volume.line,
                        message=f"VOLUME {volume.path} has no name in the service '{name}', "
                        "so podman deletes what is in it at each stop",
                        hint="in image.yaml add it to 'volumes:', or to 'tmpfs:' if that is meant",
                        severity="warning",
                    )
