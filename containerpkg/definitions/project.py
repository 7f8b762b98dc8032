"""``containerpkg.yaml``: what all images of a project share, and the loaded project itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from containerpkg.definitions.dockerfile import Dockerfile
from containerpkg.definitions.image import ImageFile
from containerpkg.definitions.model import Line, Model, Name, Value, Variable, Version, matching
from containerpkg.definitions.source import SourceTree

Namespace = Annotated[
    str,
    matching(
        r"^[a-z0-9]+([.-][a-z0-9]+)*(:\d{1,5})?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$",
        "must be a registry host and a lower-case path below it, like quay.io/foreman",
        max_length=200,
    ),
]
"""A registry host and a path below it, for example quay.io/foreman."""

TargetName = Literal[
    "el7",
    "el8", "el8-podman", "el8-docker",
    "el9", "el9-podman", "el9-docker",
    "el10", "el10-podman", "el10-docker",
    "fedora", "fedora-podman", "fedora-docker",
]  # fmt: skip


EngineName = Literal["auto", "docker", "podman", "buildah"]


class Secret(Model):
    """Where a build secret comes from; its value never enters the definition."""

    file: Line | None = None
    """A file that holds it; relative to the project's folder."""

    env: Variable | None = None
    """An environment variable that holds it."""

    @model_validator(mode="after")
    def _one_origin(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("must have either 'file' or 'env'")
        return self


class ProjectBuild(Model):
    """How images are built."""

    engine: EngineName = "auto"
    """Who builds and keeps the images. auto takes the first that works of docker, podman and
    buildah; where DOCKER_HOST is set, it takes docker."""

    builder: Literal["auto", "buildkit", "classic"] = "auto"
    """The builder of docker: auto takes BuildKit through 'docker buildx' where it is there, else
    the classic builder."""

    isolation: Literal["auto", "oci", "chroot"] = "auto"
    """How podman and buildah confine RUN instructions. chroot needs neither an OCI runtime nor a
    network of its own; auto leaves it to them and to BUILDAH_ISOLATION."""

    args: dict[Variable, Value] = {}
    """Build arguments that every image gets which declares them."""

    network: Literal["default", "host", "none"] = "default"
    """The network of RUN instructions."""

    proxy: bool = True
    """Hand http_proxy and its kin from the environment to the build."""

    ca_bundle: Line | None = None
    """A PEM file that builds see as the secret 'ca-bundle'."""

    secrets: dict[Name, Secret] = {}
    """Build secrets by identifier; an image gets those that its own 'secrets' name."""


class Layers(Model):
    """How layers are compressed, once, when they enter the store."""

    compression: Literal["zstd", "gzip"] = "zstd"
    """The algorithm; Docker before 23 cannot load zstd."""

    level: Annotated[int, Field(ge=1, le=22)] = 3
    """The effort: 1 to 22 for zstd, 1 to 9 for gzip."""

    @model_validator(mode="after")
    def _level_exists(self) -> Layers:
        if self.compression == "gzip" and self.level > 9:
            raise ValueError("gzip has the levels 1 to 9")
        return self


class Repository(Model):
    """The yum repository that is published."""

    id: Annotated[str, matching(r"^[A-Za-z0-9._:-]+$", "must be letters, digits and . _ : -")] = (
        "containerpkg"
    )
    """The section of the .repo file, and its file name."""

    name: Line = "Container packages"
    """What dnf shows for it."""

    baseurl: Line | None = None
    """The address in the .repo file; by default the folder it was made in."""


class Signing(Model):
    """Who signs packages and metadata; without it neither is signed."""

    key: Line
    """The fingerprint, the key ID or the mail address of a secret key that GnuPG has."""

    home: Line | None = None
    """GnuPG's folder; relative to the project's folder. By default that of the user."""

    passphrase_file: Line | None = None
    """A file whose first line is the key's passphrase; relative to the project's folder. Without
    it the variable CONTAINERPKG_SIGNING_PASSPHRASE is taken, and else gpg-agent has to know."""


class ProjectFile(Model):
    """The content of ``containerpkg.yaml``."""

    registry: Namespace
    """The registry namespace; an image is called by it and the name of its folder."""

    vendor: Line
    """The Vendor of every package."""

    packager: Line | None = None
    """The Packager of every package, a name and a mail address; by default the vendor."""

    url: Line | None = None
    """The URL of every package whose image has none."""

    version: Version = "1.0"
    """The version of every image that has none."""

    release: Annotated[int, Field(ge=0)] = 1
    """The first part of every package's release."""

    target: TargetName = "el9"
    """The family of hosts that packages are made for. Units are for Quadlet; with ``-podman`` or
    ``-docker`` they start that engine themselves."""

    build: ProjectBuild = ProjectBuild()
    """Settings for the builds of all images."""

    layers: Layers = Layers()
    """How layers are compressed."""

    repository: Repository = Repository()
    """Settings of the yum repository."""

    signing: Signing | None = None
    """Who signs packages and metadata."""

    output: Line = "out"
    """The folder that packages and the repository go to."""

    store: Line = ".containerpkg"
    """The folder of the content store."""


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

    tree: SourceTree | None = None
    """Its source on this machine; None if it has none, or if that is not fetched."""

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
