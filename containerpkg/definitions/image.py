"""``image.yaml``: what a Dockerfile cannot say of an image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from containerpkg.definitions.model import (
    Line,
    Model,
    Name,
    RelativePath,
    Text,
    Variable,
    Version,
)
from containerpkg.definitions.service import Service

PackageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=128)]
"""A name that RPM allows for a package."""


class ImageBuild(Model):
    """Settings for the build of one image; they come before the project's."""

    args: dict[Variable, Line] = {}
    network: Annotated[str, Field(pattern=r"^(default|host|none)$")] | None = None
    secrets: tuple[Line, ...] = ()
    """Identifiers of the project's secrets that this image's build gets."""


class ImageFile(Model):
    """The content of one ``image.yaml``."""

    summary: Line
    description: Text = ""
    license: Line
    """An SPDX expression for everything in the image."""

    url: Line | None = None
    version: Version | None = None
    """By default the project's version."""

    package: PackageName | None = None
    """By default NAME-container."""

    packaged: bool = True
    """Whether the image becomes a package; one that only serves as a base need not."""

    prepare: RelativePath | None = None
    """An executable in the image's folder that is run with an output folder as its only
    argument; what it writes there joins the build context."""

    build: ImageBuild = ImageBuild()
    services: dict[Name, Service] = {}
