"""``containerpkg.yaml``: what all images of a project share, and the loaded project itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.model import Line, Model, Name, Variable, Version

Namespace = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*(:\d{1,5})?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$",
        max_length=200,
    ),
]
"""A registry host and a path below it, for example quay.io/foreman."""

TargetName = Literal["el8", "el9", "el10", "fedora"]


class Secret(Model):
    """Where a build secret comes from; its value never enters the definition."""

    file: Line | None = None
    env: Variable | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("must have either 'file' or 'env'")
        return self


class ProjectBuild(Model):
    """How images are built."""

    builder: Literal["auto", "buildkit", "classic"] = "auto"
    """auto takes BuildKit through 'docker buildx' where it is there, else the classic builder."""

    args: dict[Variable, Line] = {}
    """Build arguments that every image gets which declares them."""

    network: Literal["default", "host", "none"] = "default"
    proxy: bool = True
    """Hand http_proxy and its kin from the environment to the build."""

    ca_bundle: Line | None = None
    """A PEM file that builds see as the secret 'ca-bundle'."""

    secrets: dict[Name, Secret] = {}


class Layers(Model):
    """How layers are compressed, once, when they enter the store."""

    compression: Literal["zstd", "gzip"] = "zstd"
    level: Annotated[int, Field(ge=1, le=22)] = 3

    @model_validator(mode="after")
    def _level_exists(self) -> Layers:
        if self.compression == "gzip" and self.level > 9:
            raise ValueError("gzip has the levels 1 to 9")
        return self


class Repository(Model):
    """The yum repository that is published."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$")] = "containerpkg"
    name: Line = "Container packages"
    baseurl: Line | None = None
    """The address in the .repo file; by default the folder it was made in."""


class ProjectFile(Model):
    """The content of ``containerpkg.yaml``."""

    registry: Namespace
    vendor: Line
    packager: Line | None = None
    url: Line | None = None
    version: Version = "1.0"
    release: Annotated[int, Field(ge=0)] = 1
    target: TargetName = "el9"
    build: ProjectBuild = ProjectBuild()
    layers: Layers = Layers()
    repository: Repository = Repository()
    output: Line = "out"
    store: Line = ".containerpkg"


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of the project: its folder, its Dockerfile and its ``image.yaml``."""

    name: str
    folder: Path
    dockerfile: Dockerfile
    file: ImageFile
    repository: str
    """Registry namespace and name, for example quay.io/foreman/foreman."""

    version: str
    parents: tuple[str, ...]
    """Names of the images it is built from, sorted."""

    parent_references: tuple[str, ...]
    """The references by which its Dockerfile names those parents, sorted."""

    @property
    def tag(self) -> str:
        """The version as a registry tag, which has no ``~``, ``^`` and ``+``."""
        return self.version.translate(str.maketrans("~^+", "---"))

    @property
    def reference(self) -> str:
        """``REPOSITORY:TAG``"""
        return f"{self.repository}:{self.tag}"

    @property
    def package(self) -> str:
        """The name of the image package."""
        return self.file.package or f"{self.name}-container"


@dataclass(frozen=True, kw_only=True)
class Project:
    """A whole project, loaded and found consistent."""

    root: Path
    file: ProjectFile
    images: tuple[Image, ...]
    """Every image, parents before children, by name where there is no order."""

    def image(self, name: str) -> Image:
        """The image called ``name``; raises KeyError."""
        for image in self.images:
            if image.name == name:
                return image
        raise KeyError(name)

    @property
    def store(self) -> Path:
        """The folder of the content store."""
        return self.root / self.file.store

    @property
    def output(self) -> Path:
        """The folder that packages and the repository go to."""
        return self.root / self.file.output
