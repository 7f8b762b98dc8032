"""``image.yaml``: what a Dockerfile cannot say of an image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from containerpkg.definitions.model import (
    Line,
    Model,
    Name,
    RelativePath,
    Text,
    Value,
    Variable,
    Version,
    matching,
)
from containerpkg.definitions.service import Service
from containerpkg.definitions.source import Source

PackageName = Annotated[
    str,
    matching(
        r"^[A-Za-z0-9][A-Za-z0-9._+-]*$",
        "must be a package name (letters, digits and . _ + -)",
        max_length=128,
    ),
]
"""A name that RPM allows for a package."""

UserName = Annotated[
    str,
    matching(
        r"^[a-z_][a-z0-9_-]*$",
        "must be lower-case letters, digits, _ and - and must not begin with a digit or -",
        max_length=31,
    ),
]
"""The name of a user and its group."""

UserId = Annotated[int, Field(ge=1, le=60000)]
"""The number of a user or a group that is not root's."""

Payload = Literal["layers", "archive"]


class HostUser(Model):
    """A user that the host gets, so that files and processes of the containers have a name."""

    uid: UserId
    """Its number, the same as in the image; numbers in volumes last, so choose it once."""

    gid: UserId | None = None
    """The number of its group, which has the user's name; by default the same."""

    description: (
        Annotated[
            str,
            matching(
                r"^[A-Za-z0-9][A-Za-z0-9 .,()/+-]*$",
                "must be letters, digits, blanks and . , ( ) / + - only",
            ),
        ]
        | None
    ) = None
    """Its full name."""


class ImageBuild(Model):
    """Settings for the build of one image; they come before the project's."""

    args: dict[Variable, Value] = {}
    """Build arguments; they win over the project's."""

    network: Literal["default", "host", "none"] | None = None
    """The network of RUN instructions; by default the project's."""

    secrets: tuple[Line, ...] = ()
    """Identifiers of the project's secrets that this image's build gets."""


class Neighbour(Model):
    """A Quadlet unit NAME.image of another deployment, which takes its image from this package."""

    reference: (
        Annotated[
            str,
            matching(
                r"^[a-z0-9][a-z0-9._:/-]*/[a-z0-9._/-]+:[A-Za-z0-9_][A-Za-z0-9_.-]*$",
                "must be HOST/PATH:TAG, like quay.io/example/shop:1.0",
                max_length=255,
            ),
        ]
        | None
    ) = None
    """What that deployment calls the image where it does not name the unit; by default the
    reference that it has here."""


class ImageFile(Model):
    """The content of one ``image.yaml``."""

    summary: Line
    """What the image is, in one line."""

    description: Text = ""
    """More of it, in paragraphs; by default it names the image's reference."""

    license: Line
    """An SPDX expression for everything in the image."""

    url: Line | None = None
    """Where the software lives; by default the project's address."""

    version: Version | None = None
    """By default the project's version."""

    package: PackageName | None = None
    """By default NAME-container."""

    packaged: bool = True
    """Whether the image becomes a package; one that only serves as a base need not."""

    payload: Payload | None = None
    """layers shares packages of layers with other images, archive needs no other package: all of
    the image in one file. By default what the target has: archive for el7, else layers."""

    source: Source | None = None
    """The program that the image is built from, where it is not in the image's folder."""

    prepare: RelativePath | None = None
    """An executable in the image's folder that is run with an output folder as its only
    argument; what it writes there joins the build context."""

    build: ImageBuild = ImageBuild()
    """Settings for the build of this image alone."""

    users: dict[UserName, HostUser] = {}
    """Users that the host gets, by name."""

    services: dict[Name, Service] = {}
    """Units by name; each runs one container of this image."""

    neighbours: dict[Name, Neighbour] = {}
    """Quadlet units NAME.image of other deployments, by name, that take their image from this
    package instead of a registry; they need not be installed. Podman 5 and newer."""
